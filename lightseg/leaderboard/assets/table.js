// The table of one group: a row per model, headers that sort, a line below a row that lists its runs.

const PAGE = 100; // rows drawn at once, so that sorting thousands stays fast
const collator = new Intl.Collator("en", { numeric: true });
const COST_AXES = {
  madds: { label: "MAdds", unit: "M", axis: "Multiply-adds", title: "Multiply-adds of one image", scale: 1e6, digits: 1 },
  latency: { label: "Latency", unit: "ms", axis: "Latency, ms", title: "Median time of one image", scale: 1, digits: 1 },
  params: { label: "Params", unit: "M", axis: "Parameters", title: "Parameters", scale: 1e6, digits: 2 },
};

/** Columns: `key, label, unit, title`, `number` and `down` (sorted from the highest first), `value` to sort by, `cell` to show. */
function columnsOf(group, allMetrics) {
  const spread = group.rows.some((row) => row.std !== null);
  const number = (key, label, unit, title, value, digits) => (
    { key, label, unit, title, number: true, down: false, value, cell: (row) => fixed(value(row), digits) });
  const text = (key, label, title) => ({ key, label, title, number: false, down: false, value: (row) => row[key], cell: (row) => row[key] || NONE });
  const cost = (key) => {
    const { label, unit, title, scale, digits } = COST_AXES[key];
    return {
      ...number(key, label, unit, title, (row) => (row[key] === null ? null : row[key] / scale), digits),
      mark: key === "params" ? null : (row) => frontsOf(group, key).rows.has(row),
      markTitle: `On the Pareto front of ${group.metric} against ${label}`,
    };
  };
  const main = {
    ...number("mean", group.metric, "%", "Mean over the seeds ± sample standard deviation", (row) => row.mean, 1),
    down: true,
    cell: (row) => percent(row.mean),
    deviation: spread ? (row) => (row.std === null ? "" : `± ${percent(row.std)}`) : null,
  };
  const others = group.others.map(({ name, unit, lower }, i) => (
    { ...number(`other ${name}`, name, unit, name, (row) => row.others[i], 1), down: !lower, cell: (row) => inUnit(row.others[i], unit) }));
  const several = group.conditions > 1; // latencies under different measurement conditions are not ranked together
  const rank = several ? (row) => row.rank : null;
  const time = timeUnit(group.rows.map((row) => row.trained));
  const all = [
    text("backbone", "Backbone", "Backbone, and the settings that differ from the defaults"),
    main,
    number("n", "Seeds", "", "Runs that differ only in the seed", (row) => row.n, 0),
    text("head", "Head", "Head"),
    text("weights", "Weights", "Initial weights of the backbone"),
    { ...number("score", "Score", "", group.scoreTitle, (row) => row.score, 4), down: true, rank },
    cost("params"),
    cost("madds"),
    { ...cost("latency"), rank },
    ...(several ? [text("conditions", "Measured on", "Latencies are sorted, and have a front, per measurement conditions")] : []),
    number("memory", "Memory", "MB", "Peak memory of one image", (row) => row.memory, 1),
    ...(allMetrics ? others : []),
    number("trained", "Training", time.unit, "Wall time of one run", (row) => (row.trained === null ? null : row.trained / time.size), 1),
    { ...text("date", "Date", "Day of the latest run"), down: true },
  ];
  const optional = new Set(["score", "latency", "memory", "trained", "date"]);
  return all.filter((column) => !optional.has(column.key) || group.rows.some((row) => column.value(row) !== null));
}

/** The rows sorted by a column, rows without a value last. A column's `rank` divides the rows into sets that are sorted separately. */
function sortedRows(rows, column, down) {
  const sign = down ? -1 : 1;
  const rank = column.rank || (() => 0);
  const keyed = rows.map((row) => [column.value(row), row]);
  const hasValue = ([value]) => (column.number ? Number.isFinite(value) : Boolean(value));
  const missing = keyed.filter((pair) => !hasValue(pair));
  const present = keyed.filter(hasValue);
  const compare = column.number ? (a, b) => a - b : (a, b) => collator.compare(a, b);
  present.sort((a, b) => rank(a[1]) - rank(b[1]) || sign * compare(a[0], b[0]));
  return [...present, ...missing].map(([, row]) => row);
}

function headerCell(group, column) {
  const button = element("button", { type: "button", title: column.title }, column.label);
  if (column.unit) button.append(element("span", { class: "unit" }, ` ${column.unit}`));
  const sorts = group.sort.key === column.key;
  const cell = element("th", { scope: "col", class: column.number ? "number" : null, "data-key": column.key }, button);
  cell.setAttribute("aria-sort", sorts ? (group.sort.down ? "descending" : "ascending") : "none");
  button.addEventListener("click", () => {
    group.sort = { key: column.key, down: sorts ? !group.sort.down : column.down };
    group.from = 0;
    drawTable(group);
    group.table.querySelector(`th[data-key="${CSS.escape(column.key)}"] button`).focus({ preventScroll: true });
  });
  return cell;
}

function firstCell(row) {
  const button = element("button", { type: "button", class: "name", "aria-expanded": "false", title: "Runs, images and configuration" }, ...breakable(row.backbone));
  button.addEventListener("click", (event) => {
    event.stopPropagation();
    toggleRuns(row);
  });
  const setting = row.setting ? element("span", { class: "setting muted", title: row.setting }, row.setting) : null;
  return element("th", { scope: "row" }, button, ...(setting ? [setting] : []));
}

function rowElement(row, columns) {
  const cells = columns.slice(1).map((column) => {
    const cell = element("td", { class: column.number ? "number" : null }, column.cell(row));
    cell.dataset.key = column.key;
    if (column.deviation) cell.append(element("span", { class: "deviation muted" }, column.deviation(row)));
    return cell;
  });
  const line = element("tr", { class: "model" }, firstCell(row), ...cells);
  line.addEventListener("click", (event) => {
    if (!event.target.closest("a, button") && getSelection().isCollapsed) pick(row, false);
  });
  return line;
}

/** The line below a row: every run with its links, and values without a column. */
function runsElement(row, width) {
  const runs = row.runs.map((run) => {
    const links = run.links.map(([name, address]) => fileLink(name, address));
    return element("li", {}, element("span", { class: "run" }, `seed ${run.seed}: ${percent(run.value)} %`), ...links);
  });
  const facts = [
    ["Setting", row.setting],
    ["Cost measured", [row.input, row.measured].filter(Boolean).join(", ")],
    ...row.group.others.map(({ name, unit }, i) => [name, row.others[i] === null ? "" : `${inUnit(row.others[i], unit)} ${unit}`]),
  ].filter(([, value]) => value);
  const list = element("dl", {}, ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  const inside = element("div", { class: "inside" }, element("ul", {}, ...runs), list);
  return element("tr", { class: "runs" }, element("td", { colspan: width }, inside));
}

function toggleRuns(row) {
  row.open = !row.open;
  row.line.querySelector(".name").setAttribute("aria-expanded", String(row.open));
  if (row.open) row.line.after(runsElement(row, row.line.cells.length));
  else row.line.nextElementSibling.remove();
}

/** Draws the shown rows of the page with their marks. The elements of a row are made once. */
function drawTable(group) {
  const columns = columnsOf(group, state.allMetrics);
  const rows = orderedRows(group, columns);
  const drawn = rows.slice(group.from, group.from + PAGE);
  const best = Math.max(...group.shown.map((row) => (row.mean === null ? -Infinity : row.mean)));
  const lines = [];
  for (const row of drawn) {
    if (!row.line || row.lineMetrics !== state.allMetrics) {
      row.line = rowElement(row, columns);
      row.line.querySelector(".name").setAttribute("aria-expanded", String(Boolean(row.open)));
      row.lineMetrics = state.allMetrics;
    }
    row.line.classList.toggle("picked", row === state.picked);
    row.line.querySelector("[data-key=mean]").classList.toggle("best", row.mean === best);
    for (const column of columns.filter(({ mark }) => mark)) markCell(row, column);
    lines.push(row.line);
    if (row.open) lines.push(runsElement(row, columns.length));
  }
  group.head.replaceChildren(element("tr", {}, ...columns.map((column) => headerCell(group, column))));
  group.body.replaceChildren(...lines);
  group.pager.hidden = rows.length <= PAGE;
  if (!group.pager.hidden) group.pager.show(group.from, drawn.length, rows.length);
}

function orderedRows(group, columns) {
  const by = columns.find((column) => column.key === group.sort.key);
  return by ? sortedRows(group.shown, by, group.sort.down) : group.shown; // in the order of the data
}

/** Turns to the page of this row. */
function turnTo(row) {
  const i = orderedRows(row.group, columnsOf(row.group, state.allMetrics)).indexOf(row);
  row.group.from = i - (i % PAGE);
  drawTable(row.group);
}

/** "‹ 1–100 of 2000 ›" below a long table. */
function makePager(group) {
  const text = element("span", {});
  const turn = (sign, name, label) => {
    const button = element("button", { type: "button", "aria-label": label }, name);
    button.addEventListener("click", () => {
      group.from += sign * PAGE;
      drawTable(group);
    });
    return button;
  };
  const [back, on] = [turn(-1, "‹", "Previous rows"), turn(1, "›", "Next rows")];
  const pager = element("p", { class: "pager", hidden: "" }, back, text, on);
  pager.show = (from, count, all) => {
    text.textContent = `${from + 1}–${from + count} of ${all}`;
    back.disabled = from === 0;
    on.disabled = from + count >= all;
  };
  return pager;
}

function markCell(row, column) {
  const cell = row.line.querySelector(`[data-key="${column.key}"]`);
  if (!cell) return;
  const marked = column.mark(row);
  if (cell.classList.contains("front") === marked) return;
  cell.classList.toggle("front", marked);
  if (marked) cell.prepend(element("span", { class: "dot", role: "img", "aria-label": column.markTitle, title: column.markTitle }));
  else cell.querySelector(".dot").remove();
}

// Models x data sets: a column per group, so that no column mixes protocols.

/** For each backbone and weights: the best shown row of each group, over heads and settings. */
function bestRows(groups) {
  const models = new Map();
  for (const group of groups) {
    for (const row of group.shown) {
      if (row.mean === null) continue;
      const key = JSON.stringify([row.backbone, row.weights]);
      if (!models.has(key)) models.set(key, { backbone: row.backbone, weights: row.weights, cells: new Map() });
      const { cells } = models.get(key);
      if (!cells.has(group) || row.mean > cells.get(group).mean) cells.set(group, row);
    }
  }
  return [...models.values()];
}

function matrixColumns(groups) {
  const texts = [["backbone", "Backbone"], ["weights", "Weights"]].map(([key, label]) => (
    { key, label, number: false, down: false, value: (model) => model[key] }));
  const used = groups.filter((group) => group.shown.some((row) => row.mean !== null));
  return [...texts, ...used.map((group) => ({
    key: group.key,
    label: group.heading,
    above: `${group.metric} %`,
    title: `${group.task}: ${group.protocol}`,
    number: true,
    down: true,
    group,
    best: Math.max(...group.shown.map((row) => row.mean ?? -Infinity)),
    value: (model) => model.cells.get(group)?.mean ?? null,
  }))];
}

function matrixHeader(column, by, groups) {
  const button = element("button", { type: "button", title: column.title || column.label },
    column.above ? element("span", { class: "unit" }, column.above) : null, column.label);
  button.addEventListener("click", () => {
    state.matrixSort = { key: column.key, down: column === by ? !state.matrixSort.down : column.down };
    drawMatrix(groups);
    document.querySelector(`#matrix th[data-key="${CSS.escape(column.key)}"] button`).focus({ preventScroll: true });
  });
  const cell = element("th", { scope: "col", class: column.number ? "number" : null, "data-key": column.key }, button);
  cell.setAttribute("aria-sort", column !== by ? "none" : state.matrixSort.down ? "descending" : "ascending");
  return cell;
}

function matrixCell(column, model) {
  if (!column.group) return element("td", { "data-key": column.key }, model[column.key]);
  const row = model.cells.get(column.group);
  if (!row) return element("td", { class: "number muted" }, NONE);
  const about = [row.head, row.setting, row.n > 1 ? `${row.n} seeds, ± ${percent(row.std)} %` : ""];
  return element("td", { class: row.mean === column.best ? "number best" : "number", title: about.filter(Boolean).join(" · ") }, percent(row.mean));
}

function drawMatrix(groups) {
  const columns = matrixColumns(groups);
  let by = columns.find((column) => column.key === state.matrixSort.key);
  if (!by) {
    by = columns[2] || columns[0]; // the first data set
    state.matrixSort = { key: by.key, down: by.down };
  }
  const order = sortedRows(bestRows(groups), by, state.matrixSort.down);
  const head = element("tr", {}, ...columns.map((column) => matrixHeader(column, by, groups)));
  const body = order.map((model) => element("tr", {},
    element("th", { scope: "row" }, element("span", { class: "name" }, ...breakable(model.backbone)), element("span", { class: "below muted" }, model.weights)),
    ...columns.slice(1).map((column) => matrixCell(column, model))));
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
  document.getElementById("matrix").replaceChildren(
    element("h2", {}, "Models × data sets"),
    element("p", { class: "muted" }, "Each cell is the best row of that backbone with those weights. A column is one data set under one protocol; only numbers of one column compare."),
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Models and data sets" }, table),
  );
}

// The state of the page: the controls, the sections of the groups, and the picked row.

const board = JSON.parse(document.getElementById("leaderboard").textContent);
const state = { words: [], cost: "madds", allMetrics: false, picked: null, matrixSort: { key: null, down: false } };
const control = Object.fromEntries(["filter", "task", "data-set", "protocol", "cost", "view", "all-metrics"].map((id) => [id, document.getElementById(id)]));
const resized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const width = target.clientWidth; // 0 while hidden
    if (width === target.width) continue;
    target.width = width;
    drawPlot(target.group);
  }
});

function prepare(group) {
  for (const row of group.rows) {
    row.group = group;
    row.text = [row.backbone, row.head, row.weights, row.setting].join(" ").toLowerCase();
  }
  const best = group.rows.every((row, i) => i === 0 || row.mean <= group.rows[i - 1].mean);
  Object.assign(group, { shown: [], from: 0, sort: { key: best ? "mean" : null, down: true }, fronts: {} });
  group.plot = Object.assign(makePlot(group), { group });
  group.head = element("thead");
  group.body = element("tbody");
  group.pager = makePager(group);
  group.table = element("table", {}, group.head, group.body);
  group.section = element("section", { class: "group" },
    element("h2", {}, group.heading, " ", element("span", { class: "task" }, group.task)),
    element("p", { class: "muted" }, group.protocol),
    group.shared ? element("p", { class: "muted" }, `All rows: ${group.shared}`) : null,
    group.repeated ? element("p", { class: "muted" }, group.repeated) : null,
    element("div", { class: "card", hidden: group.rows.length > 1 ? null : "" }, legend(group), group.plot),
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Table: ${group.heading}` }, group.table),
    group.pager);
  return group.section;
}

function legend(group) {
  const entry = (name, text) => element("span", {}, element("i", { class: name }), text);
  return element("p", { class: "legend muted" },
    group.rows.some((row) => !row.scratch) ? entry("full", "pretrained") : null,
    group.rows.some((row) => row.scratch) ? entry("hollow", "from scratch") : null,
    entry("line", "Pareto front"));
}

function choices(select, values, all) {
  select.replaceChildren(element("option", { value: "" }, all), ...[...new Set(values)].map((value) => element("option", { value }, value)));
}

/** Applies the filters and draws the groups that changed. */
function update(redraw = false) {
  const wanted = { task: control.task.value, data: control["data-set"].value, protocol: control.protocol.value };
  let shown = 0;
  for (const group of board.groups) {
    const open = Object.entries(wanted).every(([key, value]) => !value || group[key] === value);
    const rows = open ? group.rows.filter((row) => state.words.every((word) => row.text.includes(word))) : [];
    const same = rows.length === group.shown.length && rows.every((row, i) => row === group.shown[i]);
    group.shown = rows;
    group.from = 0;
    group.section.hidden = rows.length === 0;
    shown += rows.length;
    if (rows.length === 0 || (same && !redraw)) continue;
    group.fronts = {};
    drawTable(group);
    drawPlot(group);
  }
  const matrix = control.view.value === "matrix";
  document.getElementById("groups").hidden = matrix;
  document.getElementById("matrix").hidden = !matrix;
  if (matrix) drawMatrix(board.groups);
  const all = board.groups.reduce((sum, group) => sum + group.rows.length, 0);
  document.getElementById("status").textContent = shown === all ? `${all} rows` : shown ? `${shown} of ${all} rows` : "No row matches.";
}

/** Marks a row and its point. scroll: also brings the row into view. */
function pick(row, scroll) {
  const before = state.picked;
  state.picked = row === before && !scroll ? null : row;
  for (const changed of [before, row]) {
    if (!changed) continue;
    changed.line?.classList.toggle("picked", changed === state.picked);
    changed.group.plot.points.find((point) => point.row === changed)?.dot.classList.toggle("picked", changed === state.picked);
  }
  if (!scroll) return;
  if (!row.line?.isConnected) turnTo(row);
  row.line.scrollIntoView({ block: "center" });
  row.line.querySelector(".name").focus({ preventScroll: true });
}

for (const [i, group] of board.groups.entries()) group.key = `group ${i}`;
document.getElementById("groups").append(...board.groups.map(prepare));
document.getElementById("summary").textContent = board.summary;
document.getElementById("notes").append(...board.notes.map((note) => element("p", {}, note)));
choices(control.task, board.groups.map((group) => group.task), "All tasks");
choices(control["data-set"], board.groups.map((group) => group.data), "All data sets");
choices(control.protocol, board.groups.map((group) => group.protocol), "All protocols");
control.cost.replaceChildren(...Object.entries(COST_AXES).map(([key, { label }]) => element("option", { value: key }, label)));
document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
control.filter.addEventListener("input", () => {
  state.words = control.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  update();
});
for (const id of ["task", "data-set", "protocol", "view"]) control[id].addEventListener("change", () => update());
control.cost.addEventListener("change", () => {
  state.cost = control.cost.value;
  for (const group of board.groups) if (group.shown.length) drawPlot(group);
});
control["all-metrics"].addEventListener("change", () => {
  state.allMetrics = control["all-metrics"].checked;
  update(true);
});
update(true);
for (const group of board.groups) resized.observe(group.plot);

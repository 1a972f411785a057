// The scatter plot of one group: accuracy against the chosen cost (logarithmic), with the Pareto front.

const MARGIN = { left: 46, right: 18, top: 26, bottom: 40 };
const MAX_DISTANCE = 24; // pixels from the pointer to the point that it selects
const canvas = document.createElement("canvas").getContext("2d");

/** A front per group of comparable rows: latencies compare under the same measurement conditions, other costs always. Sorted by cost. */
function paretoFronts(rows, cost) {
  const comparable = new Map();
  for (const row of rows) {
    if (row.mean === null || !(row[cost] > 0)) continue;
    const conditions = cost === "latency" ? row.measured : "";
    if (!comparable.has(conditions)) comparable.set(conditions, []);
    comparable.get(conditions).push(row);
  }
  return [...comparable.values()].map((sorted) => {
    sorted.sort((a, b) => a[cost] - b[cost] || b.mean - a.mean);
    const front = [];
    for (const row of sorted) {
      const last = front.at(-1);
      if (!last || row.mean > last.mean || (row.mean === last.mean && row[cost] === last[cost])) front.push(row);
    }
    return front;
  });
}

/** The fronts of a group's shown rows, and all rows on them; cached until the filter changes. */
function frontsOf(group, cost) {
  if (!group.fronts[cost]) {
    const lines = paretoFronts(group.shown, cost);
    group.fronts[cost] = { lines, rows: new Set(lines.flat()) };
  }
  return group.fronts[cost];
}

/** At most `maxTicks` round numbers between two positive numbers: 1, 2 and 5 times powers of ten, or the powers alone. */
function logTicks(low, high, maxTicks) {
  const decades = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) decades.push(power);
  for (const steps of [[1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
    const ticks = decades.flatMap((power) => steps.map((step) => Number(`${step}e${power}`)));
    const inside = ticks.filter((tick) => tick >= low && tick <= high);
    if (inside.length <= maxTicks) return inside;
  }
  const every = Math.ceil(decades.length / maxTicks);
  return decades.filter((_, i) => i % every === 0).map((power) => Number(`1e${power}`)).filter((tick) => tick >= low && tick <= high);
}

function linearTicks(low, high, maxTicks) {
  const rough = (high - low) / maxTicks;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = size * ([1, 2, 5, 10].find((factor) => factor * size >= rough) || 10);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high && ticks.length <= maxTicks; i++) ticks.push(i * step);
  return { ticks, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function scales(rows, cost, width, height) {
  const costs = rows.map((row) => row[cost]);
  const tops = rows.map((row) => 100 * (row.mean + (row.std || 0)));
  const bottoms = rows.map((row) => 100 * (row.mean - (row.std || 0)));
  const [low, high] = [Math.log10(Math.min(...costs)), Math.log10(Math.max(...costs))];
  const pad = Math.max(0.06 * (high - low), (0.5 - high + low) / 2); // at least half a decade: one tick or two
  const [bottom, top] = [Math.min(...bottoms), Math.max(...tops)];
  const room = Math.max(0.1 * (top - bottom), 1);
  const [x0, x1] = [low - pad, high + pad];
  const [y0, y1] = [Math.max(bottom - room, Math.min(bottom, 0)), Math.min(top + room, Math.max(top, 100))];
  return {
    x: (value) => MARGIN.left + ((Math.log10(value) - x0) / (x1 - x0)) * (width - MARGIN.left - MARGIN.right),
    y: (value) => height - MARGIN.bottom - ((100 * value - y0) / (y1 - y0 || 1)) * (height - MARGIN.top - MARGIN.bottom),
    across: logTicks(Math.max(10 ** x0, Number.MIN_VALUE), Math.min(10 ** x1, Number.MAX_VALUE), Math.max(2, Math.floor(width / 80))),
    up: linearTicks(y0, y1, 5),
  };
}

/** Names beside the points, the most accurate first, where they cover neither a point nor another name. */
function labels(rows, points, width, height) {
  const boxes = points.map(({ x, y }) => [x - 5, y - 5, x + 5, y + 5]);
  const free = ([a, b, c, d]) => a >= MARGIN.left && c <= width - 4 && b >= 14 && d <= height - MARGIN.bottom
    && boxes.every(([e, f, g, h]) => a >= g || c <= e || b >= h || d <= f);
  canvas.font = "12px system-ui, sans-serif";
  const texts = [];
  for (const { row, x, y } of points.filter((point) => rows.has(point.row)).sort((a, b) => b.row.mean - a.row.mean)) {
    const name = row.backbone.length > 28 ? `${row.backbone.slice(0, 27)}…` : row.backbone;
    const long = canvas.measureText(name).width;
    const starts = [[x - long - 8, y - 7], [x - long / 2, y - 21], [x + 8, y - 7], [x + 8, y + 2], [x - long / 2, y + 7]];
    const start = starts.find(([left, top]) => free([left, top, left + long, top + 14]));
    if (!start) continue;
    const [left, top] = start;
    boxes.push([left, top, left + long, top + 14]);
    texts.push(shape("text", { x: left, y: top + 11, class: "label" }, name));
  }
  return texts;
}

function describe(row, cost) {
  const { unit, axis } = COST_AXES[cost];
  const deviation = row.std === null ? "" : ` ± ${percent(row.std)}`;
  const conditions = cost === "latency" && row.group.conditions > 1 ? `, ${row.conditions}` : "";
  const seeds = row.n > 1 ? `, ${row.n} seeds` : "";
  return [
    row.backbone,
    `${row.group.metric} ${percent(row.mean)}${deviation} %${seeds}`,
    `${axis.split(",")[0]} ${short(row[cost], unit === "ms" ? "ms" : "")}${conditions}`,
    [row.head, row.weights, row.setting].filter(Boolean).join(" · "),
  ];
}

/** The circle of a row, made once: making thousands is slow. */
function dotOf(row, cost) {
  if (!row.dot) row.dot = shape("circle", { r: 5, tabindex: -1, role: "button" });
  if (row.dotCost !== cost) row.dot.setAttribute("aria-label", describe(row, cost).join(", "));
  row.dotCost = cost;
  return row.dot;
}

/** Draws the shown rows at the width that the ResizeObserver of the page has set; a hidden plot has none yet. */
function drawPlot(group) {
  const cost = state.cost;
  const box = group.plot;
  const width = box.width;
  if (!width) return;
  const height = width < 600 ? 260 : 320;
  const rows = group.shown.filter((row) => row.mean !== null && row[cost] > 0);
  box.hideTip();
  if (rows.length === 0) {
    box.drawing.replaceChildren(element("p", { class: "muted" }, `No row has ${COST_AXES[cost].axis.toLowerCase()}.`));
    return;
  }
  const { x, y, across, up } = scales(rows, cost, width, height);
  const { lines, rows: front } = frontsOf(group, cost);
  const right = width - MARGIN.right;
  const floor = height - MARGIN.bottom;
  const unit = cost === "latency" ? "ms" : "";
  const grid = [
    ...across.flatMap((tick) => [
      shape("line", { x1: x(tick), x2: x(tick), y1: MARGIN.top, y2: floor, class: "grid" }),
      shape("text", { x: x(tick), y: floor + 16, class: "tick", "text-anchor": "middle" }, short(tick, unit)),
    ]),
    ...up.ticks.flatMap((tick) => [
      shape("line", { x1: MARGIN.left, x2: right, y1: y(tick / 100), y2: y(tick / 100), class: "grid" }),
      shape("text", { x: MARGIN.left - 8, y: y(tick / 100) + 4, class: "tick", "text-anchor": "end" }, tick.toFixed(up.digits)),
    ]),
    shape("text", { x: 4, y: 14, class: "axis" }, `${group.metric}, %`),
    shape("text", { x: right, y: height - 6, class: "axis", "text-anchor": "end" }, `${COST_AXES[cost].axis} (log)`),
  ];
  const steps = lines.filter((line) => line.length > 1).map((line) => {
    const path = line.map((row, i) => (i ? `H${x(row[cost])}V${y(row.mean)}` : `M${x(row[cost])} ${y(row.mean)}`));
    return shape("path", { d: path.join(""), class: "front" });
  });
  const points = rows.map((row) => ({ row, x: x(row[cost]), y: y(row.mean) })).sort((a, b) => a.x - b.x || b.y - a.y);
  const spread = points.filter(({ row }) => row.std).map(({ row, x: at }) => `M${at} ${y(row.mean - row.std)}V${y(row.mean + row.std)}`);
  for (const [i, point] of points.entries()) {
    const { row } = point;
    const classes = ["point", front.has(row) ? "front" : "", row.scratch ? "scratch" : "", row === state.picked ? "picked" : ""];
    point.dot = fill(dotOf(row, cost), { cx: point.x, cy: point.y, class: classes.join(" "), tabindex: i ? -1 : 0 }, []);
  }
  const svg = shape("svg", { width, height, role: "group", "aria-label": `${group.metric} against ${COST_AXES[cost].axis}, ${rows.length} points; arrow keys go from one to the next` },
    ...grid, ...steps, shape("path", { d: spread.join(""), class: "whisker" }), ...points.filter(({ row }) => !front.has(row)).map(({ dot }) => dot),
    ...points.filter(({ row }) => front.has(row)).map(({ dot }) => dot), ...labels(front, points, width, height));
  box.drawing.replaceChildren(svg);
  box.points = points;
}

/** The empty plot of a group with its pointer and keyboard events; `drawPlot` fills it. */
function makePlot(group) {
  const tip = element("div", { class: "tip", role: "tooltip", hidden: "" });
  const drawing = element("div", {});
  const box = element("div", { class: "plot" }, drawing, tip);
  const named = () => box.points.find(({ dot }) => dot.classList.contains("named"));
  box.drawing = drawing;
  box.points = [];
  box.hideTip = () => {
    tip.hidden = true;
    for (const { dot } of box.points) dot.classList.remove("named");
  };
  const show = (point) => {
    box.hideTip();
    if (!point) return;
    point.dot.classList.add("named");
    tip.replaceChildren(...describe(point.row, state.cost).map((line) => element("span", {}, line)));
    tip.hidden = false;
    const left = Math.max(0, Math.min(point.x - tip.offsetWidth / 2, box.clientWidth - tip.offsetWidth));
    tip.style.left = `${left}px`;
    tip.style.top = `${point.y > tip.offsetHeight + 12 ? point.y - tip.offsetHeight - 12 : point.y + 12}px`;
  };
  const near = (event) => {
    const frame = drawing.getBoundingClientRect();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    let [nearest, shortest] = [null, MAX_DISTANCE];
    for (const point of box.points) {
      const distance = Math.hypot(point.x - x, point.y - y);
      if (distance < shortest) [nearest, shortest] = [point, distance];
    }
    return nearest;
  };
  drawing.addEventListener("pointermove", (event) => show(near(event)));
  drawing.addEventListener("pointerleave", box.hideTip);
  let tapped = null; // touch has no hover: the first tap names a point, the second goes to its row
  drawing.addEventListener("click", (event) => {
    const point = near(event);
    if (point && (event.pointerType !== "touch" || point === tapped)) pick(point.row, true);
    else show(point);
    tapped = point;
  });
  drawing.addEventListener("focusin", (event) => show(box.points.find(({ dot }) => dot === event.target)));
  drawing.addEventListener("focusout", box.hideTip);
  drawing.addEventListener("keydown", (event) => {
    const i = box.points.indexOf(named());
    const next = { ArrowRight: i + 1, ArrowUp: i + 1, ArrowLeft: i - 1, ArrowDown: i - 1, Home: 0, End: box.points.length - 1 }[event.key];
    if (event.key === "Escape") box.hideTip();
    if (i >= 0 && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      pick(box.points[i].row, true);
    }
    if (next === undefined || !box.points[next]) return;
    event.preventDefault();
    for (const point of box.points) point.dot.setAttribute("tabindex", point === box.points[next] ? 0 : -1);
    box.points[next].dot.focus();
  });
  return box;
}

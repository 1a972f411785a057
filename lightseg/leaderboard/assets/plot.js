// The scatter of one group: accuracy against the chosen cost, logarithmic, with the Pareto front.

const MARGIN = { left: 46, right: 18, top: 26, bottom: 40 };
const REACH = 24; // pixels from the pointer to the point it names
const pen = document.createElement("canvas").getContext("2d");

/** Fronts of rows whose costs compare: all of them, but latencies of one place alone. Each in the order of cost. */
function paretoFronts(rows, cost) {
  const places = new Map();
  for (const row of rows) {
    if (row.mean === null || !(row[cost] > 0)) continue;
    const place = cost === "latency" ? row.measured : "";
    if (!places.has(place)) places.set(place, []);
    places.get(place).push(row);
  }
  return [...places.values()].map((known) => {
    known.sort((a, b) => a[cost] - b[cost] || b.mean - a.mean);
    const front = [];
    for (const row of known) {
      const last = front.at(-1);
      if (!last || row.mean > last.mean || (row.mean === last.mean && row[cost] === last[cost])) front.push(row);
    }
    return front;
  });
}

/** Those of a group's shown rows, and all rows that stand on one; worked out once for a filter. */
function frontsOf(group, cost) {
  if (!group.fronts[cost]) {
    const lines = paretoFronts(group.shown, cost);
    group.fronts[cost] = { lines, rows: new Set(lines.flat()) };
  }
  return group.fronts[cost];
}

/** At most `most` of 1, 2 and 5 times powers of ten between two positive numbers, or of the powers alone. */
function logTicks(low, high, most) {
  const decades = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) decades.push(power);
  for (const steps of [[1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
    const ticks = decades.flatMap((power) => steps.map((step) => Number(`${step}e${power}`)));
    const inside = ticks.filter((tick) => tick >= low && tick <= high);
    if (inside.length <= most) return inside;
  }
  const every = Math.ceil(decades.length / most);
  return decades.filter((_, at) => at % every === 0).map((power) => Number(`1e${power}`)).filter((tick) => tick >= low && tick <= high);
}

function linearTicks(low, high, most) {
  const rough = (high - low) / most;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = size * ([1, 2, 5, 10].find((factor) => factor * size >= rough) || 10);
  const ticks = [];
  for (let at = Math.ceil(low / step); at * step <= high && ticks.length <= most; at++) ticks.push(at * step);
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

/** Names beside the points, the most accurate first, where they hide neither a point nor another name. */
function labels(rows, placed, width, height) {
  const boxes = placed.map(({ x, y }) => [x - 5, y - 5, x + 5, y + 5]);
  const free = ([a, b, c, d]) => a >= MARGIN.left && c <= width - 4 && b >= 14 && d <= height - MARGIN.bottom
    && boxes.every(([e, f, g, h]) => a >= g || c <= e || b >= h || d <= f);
  pen.font = "12px system-ui, sans-serif";
  const texts = [];
  for (const { row, x, y } of placed.filter((one) => rows.has(one.row)).sort((a, b) => b.row.mean - a.row.mean)) {
    const name = row.backbone.length > 28 ? `${row.backbone.slice(0, 27)}…` : row.backbone;
    const long = pen.measureText(name).width;
    const starts = [[x - long - 8, y - 7], [x - long / 2, y - 21], [x + 8, y - 7], [x + 8, y + 2], [x - long / 2, y + 7]];
    const at = starts.find(([left, top]) => free([left, top, left + long, top + 14]));
    if (!at) continue;
    boxes.push([at[0], at[1], at[0] + long, at[1] + 14]);
    texts.push(shape("text", { x: at[0], y: at[1] + 11, class: "label" }, name));
  }
  return texts;
}

function describe(row, cost) {
  const { unit, axis } = COSTS[cost];
  const deviation = row.std === null ? "" : ` ± ${percent(row.std)}`;
  const place = cost === "latency" && row.group.places > 1 ? `, ${row.place}` : "";
  const seeds = row.n > 1 ? `, ${row.n} seeds` : "";
  return [
    row.backbone,
    `${row.group.metric} ${percent(row.mean)}${deviation} %${seeds}`,
    `${axis.split(",")[0]} ${short(row[cost], unit === "ms" ? "ms" : "")}${place}`,
    [row.head, row.weights, row.setting].filter(Boolean).join(" · "),
  ];
}

/** The circle of a row, made once: of thousands that is what takes the time. */
function dotOf(row, cost) {
  if (!row.dot) row.dot = shape("circle", { r: 5, tabindex: -1, role: "button" });
  if (row.dotCost !== cost) row.dot.setAttribute("aria-label", describe(row, cost).join(", "));
  row.dotCost = cost;
  return row.dot;
}

/** Anew for the shown rows at the width that the page's ResizeObserver found; hidden, it waits for that. */
function drawPlot(group) {
  const cost = state.cost;
  const box = group.plot;
  const width = box.width;
  if (!width) return;
  const height = width < 600 ? 260 : 320;
  const rows = group.shown.filter((row) => row.mean !== null && row[cost] > 0);
  box.hideTip();
  if (rows.length === 0) {
    box.picture.replaceChildren(element("p", { class: "muted" }, `No row has ${COSTS[cost].axis.toLowerCase()}.`));
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
    shape("text", { x: right, y: height - 6, class: "axis", "text-anchor": "end" }, `${COSTS[cost].axis} (log)`),
  ];
  const steps = lines.filter((one) => one.length > 1).map((one) => {
    const path = one.map((row, at) => (at ? `H${x(row[cost])}V${y(row.mean)}` : `M${x(row[cost])} ${y(row.mean)}`));
    return shape("path", { d: path.join(""), class: "front" });
  });
  const placed = rows.map((row) => ({ row, x: x(row[cost]), y: y(row.mean) })).sort((a, b) => a.x - b.x || b.y - a.y);
  const spread = placed.filter(({ row }) => row.std).map(({ row, x: at }) => `M${at} ${y(row.mean - row.std)}V${y(row.mean + row.std)}`);
  for (const [at, one] of placed.entries()) {
    const classes = ["point", front.has(one.row) ? "front" : "", one.row.scratch ? "scratch" : "", one.row === state.picked ? "picked" : ""];
    one.dot = fill(dotOf(one.row, cost), { cx: one.x, cy: one.y, class: classes.join(" "), tabindex: at ? -1 : 0 }, []);
  }
  const svg = shape("svg", { width, height, role: "group", "aria-label": `${group.metric} against ${COSTS[cost].axis}, ${rows.length} points; arrow keys go from one to the next` },
    ...grid, ...steps, shape("path", { d: spread.join(""), class: "whisker" }), ...placed.filter((one) => !front.has(one.row)).map((one) => one.dot),
    ...placed.filter((one) => front.has(one.row)).map((one) => one.dot), ...labels(front, placed, width, height));
  box.picture.replaceChildren(svg);
  box.placed = placed;
}

/** The empty plot of a group and what the pointer and the keyboard do in it; `drawPlot` fills it. */
function makePlot(group) {
  const tip = element("div", { class: "tip", role: "tooltip", hidden: "" });
  const picture = element("div", { class: "picture" });
  const box = element("div", { class: "plot" }, picture, tip);
  const named = () => box.placed.find((one) => one.dot.classList.contains("named"));
  box.picture = picture;
  box.placed = [];
  box.hideTip = () => {
    tip.hidden = true;
    for (const one of box.placed) one.dot.classList.remove("named");
  };
  const show = (one) => {
    box.hideTip();
    if (!one) return;
    one.dot.classList.add("named");
    tip.replaceChildren(...describe(one.row, state.cost).map((line) => element("span", {}, line)));
    tip.hidden = false;
    const left = Math.max(0, Math.min(one.x - tip.offsetWidth / 2, box.clientWidth - tip.offsetWidth));
    tip.style.left = `${left}px`;
    tip.style.top = `${one.y > tip.offsetHeight + 12 ? one.y - tip.offsetHeight - 12 : one.y + 12}px`;
  };
  const near = (event) => {
    const frame = picture.getBoundingClientRect();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    let [found, least] = [null, REACH];
    for (const one of box.placed) {
      const distance = Math.hypot(one.x - x, one.y - y);
      if (distance < least) [found, least] = [one, distance];
    }
    return found;
  };
  picture.addEventListener("pointermove", (event) => show(near(event)));
  picture.addEventListener("pointerleave", box.hideTip);
  let tapped = null; // a finger does not hover: its first tap names a point, its second goes to the row
  picture.addEventListener("click", (event) => {
    const one = near(event);
    if (one && (event.pointerType !== "touch" || one === tapped)) pick(one.row, true);
    else show(one);
    tapped = one;
  });
  picture.addEventListener("focusin", (event) => show(box.placed.find((one) => one.dot === event.target)));
  picture.addEventListener("focusout", box.hideTip);
  picture.addEventListener("keydown", (event) => {
    const at = box.placed.indexOf(named());
    const go = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, Home: 0, End: box.placed.length - 1 }[event.key];
    if (event.key === "Escape") box.hideTip();
    if (at >= 0 && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      pick(box.placed[at].row, true);
    }
    if (go === undefined || !box.placed[go]) return;
    event.preventDefault();
    for (const one of box.placed) one.dot.setAttribute("tabindex", one === box.placed[go] ? 0 : -1);
    box.placed[go].dot.focus();
  });
  return box;
}

// Charts as SVG of a fixed view box, which scale with their card.

const SIZE = { width: 560, height: 300, left: 52, right: 20, top: 30, bottom: 42 };

function nice(limit, count) {
  const rough = limit / count;
  const size = 10 ** Math.floor(Math.log10(rough));
  return size * [1, 2, 5, 10].find((factor) => factor * size >= rough);
}

function ticksTo(limit, count) {
  const step = Math.max(1, nice(limit, count));
  return Array.from({ length: Math.floor(limit / step) + 1 }, (_, i) => i * step);
}

function chart(label, ...children) {
  return shape("svg", { class: "chart", viewBox: `0 0 ${SIZE.width} ${SIZE.height}`, role: "img", "aria-label": label }, ...children);
}

function frame(x, y, across, up, names) {
  const floor = SIZE.height - SIZE.bottom;
  const right = SIZE.width - SIZE.right;
  return [
    ...up.flatMap((tick) => [
      shape("line", { x1: SIZE.left, x2: right, y1: y(tick), y2: y(tick), class: "grid-line" }),
      shape("text", { x: SIZE.left - 7, y: y(tick) + 4, "text-anchor": "end" }, short(tick)),
    ]),
    ...across.map((tick) => shape("text", { x: x(tick), y: floor + 17, "text-anchor": "middle" }, short(tick))),
    shape("text", { x: 4, y: 16, class: "axis" }, names.up),
    shape("text", { x: right, y: SIZE.height - 6, class: "axis", "text-anchor": "end" }, names.across),
  ];
}

/** Image sizes: a circle for each, its area the number of images. network: [height, width] of the training images. */
function sizeChart(sizes, network) {
  const widest = Math.max(...sizes.map(([width]) => width), network ? network[1] : 0) * 1.05;
  const highest = Math.max(...sizes.map(([, height]) => height), network ? network[0] : 0) * 1.08;
  const most = Math.max(...sizes.map(([, , count]) => count));
  const x = (value) => SIZE.left + (value / widest) * (SIZE.width - SIZE.left - SIZE.right);
  const y = (value) => SIZE.height - SIZE.bottom - (value / highest) * (SIZE.height - SIZE.top - SIZE.bottom);
  const circles = sizes.map(([width, height, count]) =>
    shape("circle", { cx: x(width), cy: y(height), r: 2.5 + 9 * Math.sqrt(count / most) }, shape("title", {}, `${width}x${height}: ${count}`)));
  const mark = network
    ? [
        shape("path", { d: `M${x(0)} ${y(network[0])}H${x(network[1])}V${y(0)}`, class: "mark" }),
        shape("text", { x: x(network[1]) - 4, y: y(0) - 6, class: "mark-name", "text-anchor": "end" }, `training ${network[1]}x${network[0]}`),
      ]
    : [];
  return chart("image sizes", ...frame(x, y, ticksTo(widest, 6), ticksTo(highest, 5), { across: "width, px", up: "height, px" }), ...mark, ...circles);
}

/** Box sizes in half octaves, with lines at the strides. */
function boxChart({ edges, counts, marks, network }) {
  const used = counts.flatMap((count, i) => (count ? [i] : []));
  const values = marks.map(([value]) => value);
  const low = Math.min(edges[used[0]], ...values) / 1.2;
  const high = Math.max(edges[used.at(-1) + 1], ...values) * 1.2;
  const most = Math.max(...counts) * 1.05;
  const x = (value) => SIZE.left + (Math.log2(value / low) / Math.log2(high / low)) * (SIZE.width - SIZE.left - SIZE.right);
  const y = (value) => SIZE.height - SIZE.bottom - (value / most) * (SIZE.height - SIZE.top - SIZE.bottom);
  const powers = Array.from({ length: 15 }, (_, i) => 2 ** (i - 1)).filter((value) => value >= low && value <= high);
  const bars = used.map((i) =>
    shape("rect", { x: x(edges[i]) + 1, width: x(edges[i + 1]) - x(edges[i]) - 2, y: y(counts[i]), height: y(0) - y(counts[i]), class: "bar" },
      shape("title", {}, `${edges[i].toFixed(1)} to ${edges[i + 1].toFixed(1)} px: ${counts[i]}`)));
  const lines = marks.flatMap(([value, name]) => [
    shape("line", { x1: x(value), x2: x(value), y1: SIZE.top, y2: y(0), class: "mark" }),
    shape("text", { x: x(value) + 3, y: SIZE.top - 3, class: "mark-name", "text-anchor": "middle" }, marks.length > 1 ? name.replace("stride ", "") : name),
  ]);
  const across = `side (root of the area), px ${network ? "at the network's size" : "of the image"}`;
  return chart("box sizes", ...frame(x, y, powers, ticksTo(most, 5), { across, up: marks.length > 1 ? "boxes; red: strides" : "boxes" }), ...bars, ...lines);
}

// Fills the sections of the page from the report.

const report = JSON.parse(document.getElementById("report").textContent);
const section = (id) => document.getElementById(id);
const NUMBER = new Intl.NumberFormat("en");

function image(address, text) {
  return element("img", { src: address, alt: text, loading: "lazy" });
}

function heading(id, text, note) {
  section(id).append(element("h2", {}, text), note ? element("p", { class: "muted" }, note) : "");
}

function drawFindings() {
  const counts = ["error", "warning", "note"].map((level) => [level, report.findings.filter((one) => one.level === level).length]);
  const said = counts.filter(([, count]) => count).map(([level, count]) => `${count} ${level}${count > 1 ? "s" : ""}`).join(", ");
  heading("findings", "Findings", said || "Nothing suspicious.");
  for (const { level, text, examples } of report.findings) {
    const figures = examples.map((example) =>
      element("figure", {},
        element("div", { class: "pair" }, ...example.images.map((address, i) => image(address, example.names[i] || example.names[0]))),
        ...example.names.map((name) => element("figcaption", {}, name)),
        example.text ? element("figcaption", {}, example.text) : null));
    section("findings").append(
      element("div", { class: `card finding ${level}` }, element("span", { class: "level" }, level), element("span", {}, text),
        figures.length ? element("div", { class: "examples" }, ...figures) : null));
  }
}

function drawSamples() {
  if (!report.samples.length) return;
  heading("samples", "Training samples", "With their labels, as on disk and after augmentation.");
  const figures = report.samples.map(({ name, labels, before, after }) =>
    element("figure", {},
      element("div", { class: "pair" }, image(before, `${name}, on disk`), image(after, `${name}, after augmentation`)),
      element("figcaption", {}, [name, labels].filter(Boolean).join(" · "))));
  section("samples").append(element("div", { class: "grid" }, ...figures));
}

function bars(counts, most) {
  const height = 7 * counts.length;
  const rects = counts.map((count, i) =>
    shape("rect", { x: 0, y: 7 * i, height: 6, width: count ? Math.max(0.4, (100 * count) / most[i]) : 0, class: i ? "" : "first" }));
  return shape("svg", { width: "100%", height, viewBox: `0 0 100 ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, ...rects);
}

function drawClasses() {
  const classes = report.classes;
  if (!classes) return;
  const sampled = classes.splits.filter((split) => report.splits[split].counted.includes("of"));
  const note = sampled.map((split) => `${split}: ${report.splits[split].counted} masks were counted`).join("; ");
  heading("classes", `${classes.rows.length} ${classes.unit === "keypoints" ? "keypoints" : "classes"}`, note);
  const totals = classes.splits.map((_, i) => Math.max(1, classes.rows.reduce((sum, row) => sum + row.counts[i], 0)));
  const most = classes.splits.map((_, i) => Math.max(1, ...classes.rows.map((row) => row.counts[i])));
  const columns = classes.splits.flatMap((split) =>
    [`${split} ${classes.unit}`, "%", ...(classes.unit === classes.samples ? [] : [`${split} ${classes.samples}`])]);
  const head = element("tr", {}, element("th", {}, classes.unit === "keypoints" ? "keypoint" : "class"), element("th", {}, classes.splits.join(" / ")),
    ...columns.map((name) => element("th", { class: "number" }, name)));
  const rows = [...classes.rows].sort((a, b) => b.counts[0] - a.counts[0]).map((row) => {
    const cells = classes.splits.flatMap((_, i) => [
      element("td", { class: row.counts[i] ? "number" : "number none" }, NUMBER.format(row.counts[i])),
      element("td", { class: "number" }, percent(row.counts[i] / totals[i])),
      ...(classes.unit === classes.samples ? [] : [element("td", { class: "number" }, NUMBER.format(row.images[i]))]),
    ]);
    const swatch = element("span", { class: "swatch" });
    swatch.style.background = row.color;
    return element("tr", {}, element("th", {}, swatch, row.name), element("td", { class: "bars" }, bars(row.counts, most)), ...cells);
  });
  section("classes").append(element("div", { class: "scroll long" },
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows))));
}

function drawCharts(id, title, draw) {
  const cards = Object.entries(report.splits).flatMap(([name, split]) => {
    const drawn = draw(split);
    return drawn ? [element("div", { class: "card" }, element("h3", {}, name), drawn)] : [];
  });
  if (!cards.length) return;
  heading(id, title);
  section(id).append(element("div", { class: "charts" }, ...cards));
}

document.title = `${report.title}: data`;
section("title").append(report.title, element("span", { class: "muted" }, ` ${report.task}`));
section("summary").textContent = report.summary;
drawFindings();
drawSamples();
drawClasses();
drawCharts("sizes", "Image sizes", (split) => (split.sizes.length ? sizeChart(split.sizes, report.network) : null));
drawCharts("boxes", "Box sizes", (split) => (split.boxes ? boxChart(split.boxes) : null));

// Models x data sets: a column a group, so that numbers of different protocols never share one.

function drawMatrix(groups) {
  const rows = new Map(); // backbone -> group -> its best shown row
  for (const group of groups) {
    for (const row of group.shown) {
      if (row.mean === null) continue;
      const cells = rows.get(row.backbone) || rows.set(row.backbone, new Map()).get(row.backbone);
      if (!cells.has(group) || row.mean > cells.get(group).mean) cells.set(group, row);
    }
  }
  const used = groups.filter((group) => group.shown.some((row) => row.mean !== null));
  const best = new Map(used.map((group) => [group, Math.max(...group.shown.map((row) => row.mean ?? -Infinity))]));
  const sort = state.matrixSort;
  const by = used.includes(sort.group)
    ? { number: true, value: ([, cells]) => cells.get(sort.group)?.mean ?? null }
    : { number: false, value: ([name]) => name };
  const order = sortedRows([...rows], by, sort.down);
  const heading = (group, label, below) => {
    const button = element("button", { type: "button", title: group ? group.protocol : "Backbone" }, label);
    if (below) button.append(element("span", { class: "unit" }, below));
    const sorts = sort.group === group || (group === null && !used.includes(sort.group));
    button.addEventListener("click", () => {
      state.matrixSort = { group, down: sorts ? !sort.down : group !== null };
      drawMatrix(groups);
      [...document.querySelectorAll("#matrix thead button")][group ? used.indexOf(group) + 1 : 0].focus({ preventScroll: true });
    });
    const cell = element("th", { scope: "col", class: group ? "number" : null }, button);
    cell.setAttribute("aria-sort", sorts ? (sort.down ? "descending" : "ascending") : "none");
    return cell;
  };
  const head = element("tr", {}, heading(null, "Backbone", ""), ...used.map((group) => heading(group, group.heading, `${group.metric} %`)));
  const body = order.map(([name, cells]) => element("tr", {}, element("th", { scope: "row" }, element("span", { class: "name" }, name)),
    ...used.map((group) => {
      const row = cells.get(group);
      if (!row) return element("td", { class: "number muted" }, NONE);
      const about = [row.head, row.weights, row.setting, row.n > 1 ? `${row.n} seeds, ± ${percent(row.std)} %` : ""];
      return element("td", { class: row.mean === best.get(group) ? "number best" : "number", title: about.filter(Boolean).join(" · ") }, percent(row.mean));
    })));
  const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
  document.getElementById("matrix").replaceChildren(
    element("h2", {}, "Models × data sets"),
    element("p", { class: "muted" }, "Each cell: the best row of that backbone. A column is one data set under one protocol; columns do not compare."),
    element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Models and data sets" }, table),
  );
}

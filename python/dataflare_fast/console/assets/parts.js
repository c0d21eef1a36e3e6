// Parts that several pages show: tiles, badges, empty places, tables of rows. Not here: where they stand.

import { h, say } from "./dom.js";

/** Named numbers. `update` takes [value, line below] for each. */
export function tiles(names) {
  const cells = names.map((name) => {
    const value = document.createTextNode("–");
    const below = h("span", { class: "below" });
    return { value, below, element: h("div", { class: "sheet tile" }, h("dt", {}, name), h("dd", {}, value, below)) };
  });
  const element = h("dl", { class: "tiles" }, cells.map((cell) => cell.element));
  const update = (values) =>
    values.forEach(([value, below], index) => {
      if (cells[index].value.data !== value) cells[index].value.data = value;
      say(cells[index].below, below ?? "");
    });
  return { element, update };
}

export function empty(title, text, ...more) {
  return h(
    "div",
    { class: "sheet empty" },
    h("svg", { viewBox: "0 0 64 40", "aria-hidden": "true" }, h("path", { d: "M4 28c10 0 10-18 20-18s10 18 20 18 8-12 16-12" })),
    h("h2", {}, title),
    h("p", {}, text),
    more,
  );
}

/** Hidden columns of the engine have names that begin with a control character. */
const printable = (name) => name.replace(/[\u0000-\u001f]/g, "");

/** Columns and rows as Polars gave them. */
export function rowsTable(columns, values, caption) {
  const numeric = columns.map((column) => /^(U?Int|Float|Decimal)/.test(column.type));
  const cell = (value, index) =>
    h("td", { class: numeric[index] ? "number" : null }, value === null ? h("span", { class: "soft" }, "null") : typeof value === "object" ? JSON.stringify(value) : String(value));
  return h(
    "div",
    { class: "wide", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", { class: "hidden-text" }, caption),
      h("thead", {}, h("tr", {}, columns.map((column, index) => h("th", { scope: "col", class: numeric[index] ? "number" : null, title: column.type }, printable(column.name))))),
      h("tbody", {}, values.map((row) => h("tr", {}, row.map(cell)))),
    ),
  );
}

// Lines over the last minutes. Not here: which numbers.

import { h, put, say } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 100;

/** The path through points (null: a gap), and the area below it, scaled into a box. */
function paths(values, width, height, most) {
  let line = "";
  let area = "";
  let from = null;
  let last = 0;
  values.forEach((value, index) => {
    if (value === null || value === undefined) {
      if (from !== null) area += `L${last} ${height}L${from} ${height}Z`;
      from = null;
      return;
    }
    const x = values.length < 2 ? width : (index / (values.length - 1)) * width;
    const y = height - (Math.max(0, value) / most) * height * 0.92;
    const step = `${from === null ? "M" : "L"}${x.toFixed(1)} ${y.toFixed(1)}`;
    line += step;
    area += step;
    from = from ?? x.toFixed(1);
    last = x.toFixed(1);
  });
  if (from !== null) area += `L${last} ${height}L${from} ${height}Z`;
  return [line, area];
}

export function chart(title, format) {
  const now = h("span", { class: "now" });
  const area = h("path", { class: "area" });
  const line = h("path", { class: "line" });
  const most = h("span");
  const since = h("span");
  const picture = h(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
    h("line", { class: "grid", x1: 0, x2: WIDTH, y1: 8, y2: 8 }),
    h("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }),
    area,
    line,
  );
  const element = h(
    "section",
    { class: "sheet chart" },
    h("div", { class: "head" }, h("h3", {}, title), now),
    picture,
    h("div", { class: "axis" }, since, most),
  );
  const update = (values, seconds) => {
    const known = values.filter((value) => value !== null && value !== undefined);
    const top = Math.max(...known, 0) || 1;
    const [lineText, areaText] = paths(values, WIDTH, HEIGHT, top);
    put(line, "d", lineText);
    put(area, "d", areaText);
    const newest = known.length ? format(known[known.length - 1]) : "–";
    say(now, newest);
    say(most, known.length ? `at most ${format(top)}` : "");
    say(since, seconds > 90 ? `last ${Math.round(seconds / 60)} min` : `last ${Math.round(seconds)} s`);
    put(picture, "aria-label", `${title}: now ${newest}, at most ${format(top)}`);
  };
  return { element, update };
}

export function spark() {
  const area = h("path", { class: "area" });
  const line = h("path", { class: "line" });
  const element = h("svg", { class: "spark", viewBox: "0 0 130 30", "aria-hidden": "true" }, area, line);
  const update = (values) => {
    const [lineText, areaText] = paths(values, 130, 29, Math.max(...values, 0) || 1);
    put(line, "d", lineText);
    put(area, "d", areaText);
  };
  return { element, update };
}

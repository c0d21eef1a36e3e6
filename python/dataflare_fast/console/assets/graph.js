// The steps of a job from the top to the bottom, coloured by what they spend their time with. Elements are made when
// the steps change, and only changed afterwards. Not here: the numbers of one step (job.js).

import { h, put, say } from "./dom.js";
import { rate, share } from "./format.js";

const NODE = { width: 236, height: 74 };
const ACROSS = 26;
const DOWN = 50;
const BAR = NODE.width - 24;
const LETTERS = 27;

const short = (text) => (text.length <= LETTERS ? text : `${text.slice(0, LETTERS - 1)}…`);

/** How much of its time a step works: at its limit, busy, or waiting (for rows, or for room). */
export function mostly(step) {
  if (step.at_its_limit) return "limit";
  return step.busy_share >= 0.3 ? "busy" : "waits";
}

function places(steps) {
  const levels = new Map();
  for (const step of steps) {
    levels.set(step.task, Math.max(-1, ...step.inputs.map((one) => levels.get(one) ?? 0)) + 1);
  }
  const rows = new Map();
  for (const step of steps) {
    const level = levels.get(step.task);
    rows.set(level, [...(rows.get(level) ?? []), step.task]);
  }
  const widest = Math.max(1, ...[...rows.values()].map((row) => row.length));
  const width = widest * (NODE.width + ACROSS) + ACROSS;
  const place = new Map();
  for (const [level, row] of rows) {
    row.forEach((task, index) => {
      const left = (width - row.length * (NODE.width + ACROSS) + ACROSS) / 2;
      place.set(task, { x: left + index * (NODE.width + ACROSS), y: 14 + level * (NODE.height + DOWN) });
    });
  }
  return { place, width, height: rows.size * (NODE.height + DOWN) - DOWN + 28 };
}

export function graph(choose) {
  const element = h("div", { class: "graph-box" });
  let shape = "";
  let nodes = new Map();
  let edges = [];

  function build(steps) {
    if (steps.length === 0) {
      element.replaceChildren();
      return;
    }
    const { place, width, height } = places(steps);
    nodes = new Map();
    edges = [];
    const picture = h("svg", { class: "graph", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "The steps of this job" });
    for (const step of steps) {
      for (const from of step.inputs) {
        const above = place.get(from);
        const below = place.get(step.task);
        const x1 = above.x + NODE.width / 2;
        const y1 = above.y + NODE.height;
        const x2 = below.x + NODE.width / 2;
        const y2 = below.y;
        const middle = (y1 + y2) / 2;
        const path = h("path", { class: `edge${step.exchanged ? " exchanged" : ""}`, d: `M${x1} ${y1}C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}` });
        const text = h("text", { class: "rate", x: (x1 + x2) / 2 + 9, y: middle + 4 });
        edges.push({ from, path, text, steps: steps.filter((one) => one.inputs.includes(from)).length });
        picture.append(path);
      }
    }
    for (const step of steps) {
      const at = place.get(step.task);
      const bars = ["busy", "rest"].map((name) => h("rect", { class: `share-${name}`, y: NODE.height - 16, height: 6 }));
      const flag = h("g", { class: "flag-box" }, h("rect", { class: "flag", x: NODE.width - 88, y: -9, width: 80, height: 18, rx: 9 }), h("text", { class: "flag-text", x: NODE.width - 80, y: 4 }, "bottleneck"));
      const hover = h("title");
      const kind = h("text", { class: "kind", x: 12, y: 43 });
      const pick = () => choose(step.task);
      const node = h(
        "g",
        {
          class: "node",
          transform: `translate(${at.x} ${at.y})`,
          tabindex: 0,
          role: "button",
          onclick: pick,
          onkeydown: (event) => {
            if (event.key === "Enter" || event.key === " ") {
              event.preventDefault();
              pick();
            }
          },
        },
        hover,
        h("rect", { class: "box", width: NODE.width, height: NODE.height, rx: 10 }),
        h("rect", { class: "wash", width: NODE.width, height: NODE.height, rx: 10 }),
        h("text", { class: "title", x: 12, y: 24 }, short(step.operator)),
        kind,
        bars,
        flag,
      );
      nodes.set(step.task, { node, bars, flag, hover, kind });
      picture.append(node);
    }
    picture.append(...edges.map((edge) => edge.text));
    element.replaceChildren(picture);
  }

  function update(steps, bottleneck, chosen) {
    const now = JSON.stringify(steps.map((step) => [step.task, step.inputs, step.operator]));
    if (now !== shape) {
      shape = now;
      build(steps);
    }
    const byTask = new Map(steps.map((step) => [step.task, step]));
    for (const step of steps) {
      const { node, bars, flag, hover, kind } = nodes.get(step.task);
      const state = mostly(step);
      const isBottleneck = bottleneck !== null && bottleneck.task === step.task;
      put(node, "class", `node ${state}${chosen === step.task ? " chosen" : ""}`);
      put(node, "aria-pressed", chosen === step.task);
      const words = `${step.operator}, ${step.kind}: ${share(step.busy_share)} busy, ${rate(step.rows_in_per_s)} rows in per second${isBottleneck ? ", the bottleneck" : ""}`;
      put(node, "aria-label", words);
      say(hover, words);
      say(kind, `${step.kind} · ${share(step.busy_share)} busy`);
      put(flag, "visibility", isBottleneck ? "visible" : "hidden");
      let x = 12;
      [step.busy_share, 1 - step.busy_share].forEach((part, index) => {
        put(bars[index], "x", x.toFixed(1));
        put(bars[index], "width", (part * BAR).toFixed(1));
        x += part * BAR;
      });
    }
    for (const edge of edges) {
      const rows = byTask.get(edge.from)?.rows_out_per_s ?? 0;
      put(edge.path, "class", edge.path.getAttribute("class").replace(" moving", "") + (rows > 0 ? " moving" : ""));
      say(edge.text, `${rate(rows)} /s`);
    }
  }

  return { element, update };
}

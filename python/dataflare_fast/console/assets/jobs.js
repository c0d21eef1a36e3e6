// The page of all jobs. Not here: one of them (job.js).

import { listen } from "./api.js";
import { spark } from "./chart.js";
import { h, keyed, put, say } from "./dom.js";
import { bytes, count, duration, rate, stateText, tone } from "./format.js";
import { empty, tiles } from "./parts.js";

const LOOKS = 90;

export function jobsPage(content) {
  const numbers = tiles(["Running", "Rows in per second", "Rows out per second", "Memory of jobs", "Need a look"]);
  const body = h("tbody");
  const table = h(
    "div",
    { class: "sheet wide" },
    h(
      "table",
      { class: "jobs-table" },
      h("caption", { class: "hidden-text" }, "All jobs"),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("th", { scope: "col" }, "Job"),
          h("th", { scope: "col" }, "State"),
          h("th", { scope: "col" }, "Rows in"),
          ["In /s", "Out /s", "Lag", "Checkpoint", "Restarts"].map((name) => h("th", { scope: "col", class: "number" }, name)),
        ),
      ),
      body,
    ),
  );
  const nothing = empty(
    "No job yet",
    "A job is a Python file that builds a lazy sink. Name it in the configuration of the service, or add it from the command line.",
    h("pre", {}, h("code", {}, "dataflare start jobs/orders.py:sink")),
  );
  content.append(h("div", { class: "head" }, h("h1", {}, "Jobs")), numbers.element, table);
  const pasts = new Map();

  const rows = keyed(body, (job) => {
    const badge = h("span", { class: "badge" });
    const why = h("span", { class: "why" });
    const line = spark();
    const cell = (label) => h("td", { class: "number", "data-label": label });
    const cells = { into: cell("in /s"), out: cell("out /s"), lag: cell("lag"), checkpoint: cell("checkpoint"), restarts: cell("restarts") };
    const element = h(
      "tr",
      {},
      h("td", {}, h("a", { class: "row-link", href: `#/job/${encodeURIComponent(job.name)}` }, job.name), why),
      h("td", {}, badge),
      h("td", { class: "spark-cell" }, line.element),
      Object.values(cells),
    );
    return { element, badge, why, line, cells };
  });

  const show = (jobs) => {
    const running = jobs.filter((job) => job.state === "running");
    const sum = (name) => running.reduce((total, job) => total + (job[name] ?? 0), 0);
    const trouble = jobs.filter((job) => ["bad", "warn"].includes(tone(job)));
    numbers.update([
      [`${running.length} of ${jobs.length}`, ""],
      [rate(sum("rows_in_per_s")), ""],
      [rate(sum("rows_out_per_s")), ""],
      [bytes(sum("memory_bytes")), ""],
      [count(trouble.length), trouble.map((job) => job.name).slice(0, 3).join(", ")],
    ]);
    if (jobs.length === 0) table.replaceWith(nothing);
    else if (nothing.isConnected) nothing.replaceWith(table);
    rows(jobs, (job) => job.name, (row, job) => {
      const past = [...(pasts.get(job.name) ?? []), job.rows_in_per_s ?? 0].slice(-LOOKS);
      pasts.set(job.name, past);
      row.line.update(past);
      put(row.badge, "class", `badge ${tone(job)}`);
      say(row.badge, stateText(job));
      const reason = job.reason ?? (job.bottleneck ? `${job.bottleneck.operator}: ${job.bottleneck.reason}` : "");
      say(row.why, reason);
      put(row.why, "class", job.state === "failed" ? "why bad" : "why");
      say(row.cells.into, rate(job.rows_in_per_s ?? 0));
      say(row.cells.out, rate(job.rows_out_per_s ?? 0));
      say(row.cells.lag, duration(job.lag_s));
      say(row.cells.checkpoint, job.checkpoint_age_s === null || job.checkpoint_age_s === undefined ? "none" : `${duration(job.checkpoint_age_s)} ago`);
      say(row.cells.restarts, count(job.restarts));
    });
  };
  return listen(null, { jobs: show });
}

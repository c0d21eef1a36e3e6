// The page of one job: what it does now, and its tabs. Not here: what the tabs beside the overview show (tabs.js).

import { listen } from "./api.js";
import { actions } from "./actions.js";
import { chart } from "./chart.js";
import { h, put, say } from "./dom.js";
import { bytes, count, duration, moment, rate, share, stateText, tone } from "./format.js";
import { graph } from "./graph.js";
import { tiles } from "./parts.js";
import { checkpointsTab, lettersTab, logTab, metricsTab, planTab, stateTab } from "./tabs.js";

const TABS = {
  overview: ["Overview", null],
  checkpoints: ["Checkpoints", checkpointsTab],
  state: ["State", stateTab],
  letters: ["Dead letters", lettersTab],
  metrics: ["Metrics", metricsTab],
  log: ["Log", logTab],
  plan: ["Plan", planTab],
};

export function jobPage(content, name, tab) {
  const badge = h("span", { class: "badge" });
  const buttons = actions(name);
  const calloutTitle = h("strong");
  const calloutText = h("p");
  const callout = h("section", { class: "sheet callout", role: "status" }, calloutTitle, calloutText);
  const numbers = tiles(["Rows in per second", "Rows out per second", "Event-time lag", "Rows that wait", "State", "Last checkpoint"]);
  const lettersCount = h("span", { class: "count", hidden: true });
  const links = Object.entries(TABS).map(([key, [text]]) =>
    h("a", { href: `#/job/${encodeURIComponent(name)}/${key}`, "aria-current": key === tab ? "page" : null }, text, key === "letters" ? lettersCount : null),
  );
  const [, make] = TABS[tab] ?? TABS.overview;
  const inside = make ? make(name) : overview();
  content.append(
    h("div", { class: "head" }, h("h1", {}, name), badge, h("span", { class: "grow" }), buttons.element),
    callout,
    numbers.element,
    h("nav", { class: "tabs", "aria-label": "About this job" }, links),
    h("div", { class: "stack" }, inside.element),
  );
  const show = (job) => {
    put(badge, "class", `badge ${tone(job)}`);
    say(badge, stateText(job));
    buttons.update(job);
    const [title, text, look] = verdict(job);
    say(calloutTitle, title);
    say(calloutText, text);
    put(callout, "class", `sheet callout ${look}`);
    const age = job.checkpoint_age_s;
    numbers.update([
      [rate(job.rows_in_per_s ?? 0), `${count(job.rows_in ?? 0)} rows`],
      [rate(job.rows_out_per_s ?? 0), `${count(job.rows_out ?? 0)} rows`],
      [duration(job.lag_s), `${count(job.rows_late ?? 0)} late rows`],
      [count(job.pending_rows), (job.waits ?? []).join("; ")],
      [bytes(job.state_bytes ?? 0), `${bytes(job.memory_bytes ?? 0)} process`],
      [age === null || age === undefined ? "none" : `${duration(age)} ago`, job.checkpoint_epoch ? `number ${job.checkpoint_epoch}, took ${duration(job.checkpoint_duration_s)}` : ""],
    ]);
    lettersCount.hidden = !job.dead_letters;
    say(lettersCount, count(job.dead_letters ?? 0));
    inside.update?.(job);
  };
  return listen(name, { job: show, jobs: (jobs) => jobs.some((job) => job.name === name) || say(calloutText, "The service has no such job.") });
}

/** One sentence about how the job is. */
function verdict(job) {
  if (job.state === "failed") return ["Failed", job.reason ?? "", "bad"];
  if (job.state === "backing off") {
    const left = Math.max(0, (job.retry_at_s ?? 0) - Date.now() / 1000);
    return ["Starts again soon", `${job.reason ?? ""}. Next start in ${duration(left)}; started again ${count(job.restarts)} times so far.`, "warn"];
  }
  if (job.state !== "running") return [job.state[0].toUpperCase() + job.state.slice(1), job.reason ?? resting(job), "warn"];
  if (job.reason) return ["Takes a while", job.reason, "warn"];
  if (job.bottleneck) return [`Bottleneck: ${job.bottleneck.operator}`, `Because ${job.bottleneck.reason}.`, "warn"];
  if (job.checkpoint_failure) return ["Checkpoints fail", job.checkpoint_failure, "bad"];
  return ["All is well", "No step holds the others up.", ""];
}

function resting(job) {
  if (job.state === "finished") return "Its input has ended, and everything is written.";
  if (job.state === "paused") return "It goes on from its savepoint when it is resumed.";
  if (job.state === "stopped") return "It goes on from its newest checkpoint when it is started.";
  return "";
}

function overview() {
  let chosen = null;
  let newest = null;
  const facts = h("dl", { class: "facts" });
  const title = h("h2");
  const kind = h("p", { class: "soft" });
  const bars = ["busy", "rest"].map((one) => h("rect", { class: `share-${one}`, height: 10 }));
  const shares = h("svg", { class: "shares graph", viewBox: "0 0 300 10", preserveAspectRatio: "none", role: "img" }, bars);
  const detail = h("section", { class: "sheet padded stack", "aria-label": "The chosen step" }, h("div", {}, title, kind), shares, facts);
  const splitsBody = h("tbody");
  const splits = h(
    "section",
    { class: "sheet", hidden: true },
    h("div", { class: "wide" }, h("table", {}, h("caption", { class: "hidden-text" }, "Splits of the sources"), h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Source"), h("th", { scope: "col" }, "Split"), ["Offset", "Waiting", "Lag"].map((one) => h("th", { scope: "col", class: "number" }, one)))), splitsBody)),
  );
  const picture = graph((task) => {
    chosen = task;
    if (newest) update(newest);
  });
  const charts = {
    into: chart("Rows in per second", rate),
    out: chart("Rows out per second", rate),
    lag: chart("Event-time lag", duration),
    state: chart("State", bytes),
  };
  const legend = h("div", { class: "legend padded" }, h("span", { class: "is-busy" }, "busy"), h("span", { class: "is-limit" }, "at its limit"), h("span", {}, "waiting"));
  const element = h(
    "div",
    { class: "stack" },
    h("div", { class: "split" }, h("section", { class: "sheet", "aria-label": "Graph of the job" }, picture.element, legend), h("div", { class: "stack" }, detail, splits)),
    h("div", { class: "charts" }, Object.values(charts).map((one) => one.element)),
  );

  function update(job) {
    newest = job;
    const steps = job.operators;
    const step = steps.find((one) => one.task === chosen) ?? steps.find((one) => one.task === job.bottleneck?.task) ?? steps.reduce((most, one) => (one.busy_share > (most?.busy_share ?? -1) ? one : most), null);
    picture.update(steps, job.bottleneck ?? null, step?.task ?? null);
    detail.hidden = !step;
    if (step) show(step);
    splits.hidden = job.splits.length === 0;
    splitsBody.replaceChildren(
      ...job.splits.slice(0, 200).map((one) =>
        h("tr", {}, h("td", {}, one.source), h("td", { class: "mono" }, one.split), h("td", { class: "number mono" }, one.offset ?? "–"), h("td", { class: "number" }, count(one.pending_rows)), h("td", { class: "number" }, one.ended ? "ended" : count(one.lag))),
      ),
    );
    const past = job.history;
    const seconds = past.length > 1 ? past[past.length - 1].at_s - past[0].at_s : 0;
    charts.into.update(past.map((one) => one.rows_in_per_s), seconds);
    charts.out.update(past.map((one) => one.rows_out_per_s), seconds);
    charts.lag.update(past.map((one) => one.lag_s), seconds);
    charts.state.update(past.map((one) => one.state_bytes), seconds);
  }

  function show(step) {
    say(title, step.operator);
    say(kind, `${step.kind}, on ${step.workers} ${step.workers === 1 ? "worker" : "workers"}`);
    put(shares, "aria-label", `${share(step.busy_share)} busy`);
    let x = 0;
    [step.busy_share, 1 - step.busy_share].forEach((part, index) => {
      put(bars[index], "x", (x * 300).toFixed(1));
      put(bars[index], "width", (part * 300).toFixed(1));
      x += part;
    });
    const lines = [
      ["Busy", share(step.busy_share)],
      ["Rows in", `${count(step.rows_in)}  (${rate(step.rows_in_per_s)} /s)`],
      ["Rows out", `${count(step.rows_out)}  (${rate(step.rows_out_per_s)} /s)`],
      ["Rows per batch", step.batches_in ? count(step.rows_in / step.batches_in) : "–"],
      ["Late rows · dead letters", `${count(step.rows_late)} · ${count(step.dead_letters)}`],
      ["State", bytes(step.state_bytes)],
      ["Watermark", moment(step.watermark_s)],
      ["Behind the clock", duration(step.event_time_lag_s)],
    ];
    if (facts.children.length !== lines.length * 2) facts.replaceChildren(...lines.flatMap(([term]) => [h("dt", {}, term), h("dd")]));
    lines.forEach(([term, text], index) => {
      say(facts.children[index * 2], term);
      say(facts.children[index * 2 + 1], text);
    });
  }
  return { element, update };
}

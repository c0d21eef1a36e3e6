// What lies on disks: checkpoints, state, dead letters, the log; and the plan and the query's own metrics. Asked for when
// the tab is open, and again when a checkpoint was committed. Not here: the overview (job.js).

import { confirmed, get, jobPath, note, post } from "./api.js";
import { h, say } from "./dom.js";
import { bytes, count, moment } from "./format.js";
import { empty, rowsTable } from "./parts.js";

/** Runs `load` now and whenever `sign(job)` changes; a failure becomes a text. */
function loaded(element, load, sign = () => "") {
  let seen = null;
  const run = async () => {
    try {
      await load();
    } catch (error) {
      element.replaceChildren(empty("Not to be had", error.message));
    }
  };
  return {
    element,
    update(job) {
      const now = String(sign(job));
      if (now === seen) return;
      seen = now;
      run();
    },
    run,
  };
}

export function checkpointsTab(name) {
  const element = h("div", { class: "stack" });
  const restore = async (epoch) => {
    const text = `The job goes back to checkpoint ${epoch}. Rows since then are read again, and sinks that are not exactly once get them a second time. Later checkpoints are given up.`;
    if (!(await confirmed(`Restore checkpoint ${epoch}?`, text, "Restore"))) return;
    try {
      await post(`${jobPath(name)}/restore`, { epoch });
      note(`Going back to checkpoint ${epoch}.`);
    } catch (error) {
      note(error.message, true);
    }
  };
  const load = async () => {
    const found = await get(`${jobPath(name)}/checkpoints`);
    if (found.length === 0) {
      element.replaceChildren(empty("No checkpoint yet", "The first one is written after the interval of the job, or with Checkpoint now."));
      return;
    }
    const largest = Math.max(...found.map((one) => one.state_bytes), 1);
    const row = (one) =>
      h(
        "tr",
        {},
        h("td", {}, h("strong", {}, `${one.epoch}`), one.finished ? " (finished)" : ""),
        h("td", {}, moment(one.written_at_s)),
        h("td", { class: "number" }, count(one.attempt)),
        h("td", { class: "number" }, bytes(one.state_bytes)),
        h("td", {}, h("svg", { class: "spark graph", viewBox: "0 0 130 30", "aria-hidden": "true" }, h("rect", { class: "share-rest", x: 0, y: 10, rx: 4, height: 10, width: Math.max(2, (one.state_bytes / largest) * 130) }))),
        h("td", { class: "number" }, count(one.parallelism)),
        h("td", { class: "number" }, count(one.splits)),
        h("td", { class: "number" }, h("button", { type: "button", onclick: () => restore(one.epoch), "aria-label": `Restore checkpoint ${one.epoch}` }, "Restore")),
      );
    const hidden = (text) => h("span", { class: "hidden-text" }, text);
    const heads = ["Checkpoint", "Written", "Attempt", "State", hidden("Compared"), "Workers", "Splits", hidden("Restore")];
    const numeric = new Set([2, 3, 5, 6, 7]);
    element.replaceChildren(
      h("div", { class: "sheet wide" }, h("table", {}, h("caption", { class: "hidden-text" }, "Kept checkpoints"), h("thead", {}, h("tr", {}, heads.map((text, index) => h("th", { scope: "col", class: numeric.has(index) ? "number" : null }, text)))), h("tbody", {}, found.map(row)))),
    );
  };
  return loaded(element, load, (job) => `${job.checkpoint_epoch}/${job.state}`);
}

export function stateTab(name) {
  const element = h("div", { class: "stack" });
  const table = h("select", { id: "state-table" });
  const column = h("select", { id: "state-column" });
  const equals = h("input", { id: "state-equals", placeholder: "any", autocomplete: "off" });
  const page = h("div");
  const told = h("p", { class: "soft", role: "status" });
  const back = h("button", { type: "button" }, "Earlier rows");
  const on = h("button", { type: "button" }, "Later rows");
  const size = 50;
  let offset = 0;
  let tables = [];

  const columns = () => {
    const found = tables.find((one) => one.table === table.value)?.columns ?? [];
    column.replaceChildren(h("option", { value: "" }, "all rows"), ...found.map((one) => h("option", { value: one.name }, `${one.name} (${one.type})`)));
  };
  const show = async () => {
    const query = new URLSearchParams({ table: table.value, offset, limit: size });
    if (column.value && equals.value) {
      query.set("column", column.value);
      query.set("equals", equals.value);
    }
    try {
      const found = await get(`${jobPath(name)}/state?${query}`);
      page.replaceChildren(rowsTable(found.columns, found.values, `Rows of ${table.value}`));
      const last = offset + found.values.length;
      say(told, found.rows ? `Rows ${count(offset + 1)} to ${count(last)} of ${count(found.rows)}, as of checkpoint ${found.epoch}` : `No such row in checkpoint ${found.epoch}`);
      back.disabled = offset === 0;
      on.disabled = last >= found.rows;
    } catch (error) {
      note(error.message, true);
    }
  };
  const again = () => {
    offset = 0;
    show();
  };
  table.addEventListener("change", () => {
    columns();
    again();
  });
  const form = h(
    "form",
    {
      class: "filters",
      onsubmit: (event) => {
        event.preventDefault();
        again();
      },
    },
    h("label", {}, "Table", table),
    h("label", {}, "Column", column),
    h("label", {}, "is", equals),
    h("button", { type: "submit", class: "main" }, "Look up"),
  );
  back.addEventListener("click", () => {
    offset = Math.max(0, offset - size);
    show();
  });
  on.addEventListener("click", () => {
    offset += size;
    show();
  });
  const load = async () => {
    const found = await get(`${jobPath(name)}/state`);
    tables = found.tables;
    if (tables.length === 0) {
      element.replaceChildren(empty("No state", "Checkpoint " + found.epoch + " holds offsets only: no step of this job remembers rows."));
      return;
    }
    table.replaceChildren(...tables.map((one) => h("option", { value: one.table }, `${one.table} (${bytes(one.bytes)})`)));
    table.value = tables.reduce((most, one) => (one.bytes > most.bytes ? one : most)).table;
    columns();
    element.replaceChildren(form, h("div", { class: "sheet" }, page), h("div", { class: "head" }, told, h("span", { class: "grow" }), back, on, h("button", { type: "button", onclick: again }, "Newest checkpoint")));
    await show();
  };
  return loaded(element, load);
}

export function lettersTab(name) {
  const element = h("div", { class: "stack" });
  const load = async () => {
    const { sinks } = await get(`${jobPath(name)}/dead-letters?limit=200`);
    if (sinks.length === 0) {
      element.replaceChildren(empty("No dead letters are kept", "Give the job a sink of frame.stream.errors() and on_error: dead_letter, and rows that cannot be computed are here with their reason."));
      return;
    }
    const part = (sink) => {
      const head = h("div", { class: "padded head" }, h("h2", {}, `${count(sink.rows)} rows`), h("code", { class: "soft" }, `${sink.sink} ${sink.path ?? ""}`));
      if (sink.rows === 0) return empty("No row has failed", sink.note ?? "Everything could be computed so far.");
      const order = sink.columns.map((_, index) => index).sort((a, b) => Number(sink.columns[b].name.startsWith("_error")) - Number(sink.columns[a].name.startsWith("_error")));
      return h("section", { class: "sheet" }, head, rowsTable(order.map((index) => sink.columns[index]), sink.values.toReversed().map((row) => order.map((index) => row[index])), "Rows that could not be computed, newest first"));
    };
    element.replaceChildren(...sinks.map(part));
  };
  return loaded(element, load, (job) => `${job.checkpoint_epoch}/${job.dead_letters}`);
}

export function logTab(name) {
  const lines = h("ol", { class: "log", tabindex: 0, "aria-label": "Log" });
  const search = h("input", { type: "search", id: "log-search", placeholder: "a text", autocomplete: "off" });
  const element = h("div", { class: "stack" }, h("form", { class: "filters", onsubmit: (event) => event.preventDefault() }, h("label", {}, "Lines with", search)), h("div", { class: "sheet" }, lines));
  const load = async () => {
    const query = new URLSearchParams({ lines: 500, ...(search.value ? { search: search.value } : {}) });
    const found = await get(`${jobPath(name)}/log?${query}`);
    const atEnd = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 30;
    lines.replaceChildren(
      ...found.map((one) =>
        h(
          "li",
          {},
          one.at ? h("time", { datetime: one.at }, one.at.slice(11, 23)) : null,
          one.level ? h("span", { class: `level ${one.level}` }, one.level) : null,
          h("span", {}, one.text, Object.entries(one.facts ?? {}).map(([key, value]) => h("span", { class: "fact" }, ` ${key}=${value}`))),
        ),
      ),
    );
    if (found.length === 0) lines.replaceChildren(h("li", { class: "soft" }, search.value ? "No line has this text." : "Nothing was written yet."));
    if (atEnd) lines.scrollTop = lines.scrollHeight;
  };
  const own = loaded(element, load, (job) => `${job.state}/${job.attempt}/${Math.floor((job.uptime_s ?? 0) / 2)}`);
  search.addEventListener("input", own.run);
  return own;
}

export function planTab(name) {
  const element = h("div", { class: "stack" });
  const load = async () => {
    const { text } = await get(`${jobPath(name)}/plan`);
    element.replaceChildren(text ? h("section", { class: "sheet", "aria-label": "Plan" }, h("pre", { class: "plan", tabindex: 0 }, text)) : empty("No plan yet", "The job has not come so far that it planned its query."));
  };
  return loaded(element, load, (job) => job.attempt);
}

export function metricsTab() {
  const element = h("div", { class: "stack" });
  const update = (job) => {
    if (job.metrics.length === 0) {
      element.replaceChildren(empty("The query counts nothing of its own", "Write .stream.metric(\"orders_total\", pl.len(), by=\"country\") anywhere in the query; it is here, and on /metrics."));
      return;
    }
    const part = (metric) => {
      const values = metric.kind === "histogram" ? ["le", "count", "sum"] : ["value"];
      const columns = [...metric.by.map((one) => ({ name: one, type: "String" })), ...values.map((one) => ({ name: one, type: "Float64" }))];
      const rows = metric.rows.slice(0, 200).map((row) => row.map((one) => (typeof one === "number" ? (Number.isInteger(one) ? count(one) : one.toPrecision(6)) : one)));
      const body = metric.rows.length ? rowsTable(columns, rows, metric.name) : h("p", { class: "padded soft" }, `${count(metric.label_sets)} label sets are too many to show.`);
      return h("section", { class: "sheet" }, h("div", { class: "padded head" }, h("h2", { class: "mono" }, metric.name), h("span", { class: "badge calm" }, metric.kind)), body);
    };
    element.replaceChildren(...job.metrics.map(part));
  };
  return { element, update };
}


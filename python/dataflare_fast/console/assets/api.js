// Asks the service, and listens to it. Not here: what is done with the answers.

import { h, say } from "./dom.js";

const ROOT = "/api/v1";

export const jobPath = (name) => `/jobs/${encodeURIComponent(name)}`;

async function ask(path, options) {
  const answer = await fetch(ROOT + path, options);
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.detail ?? answer.statusText);
  return found;
}

export const get = (path) => ask(path, {});

export const post = (path, body) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) });

/** A line at the corner, also for screen readers. */
export function note(text, bad = false) {
  const line = h("div", { class: bad ? "note bad" : "note" }, text);
  document.getElementById("notes").append(line);
  setTimeout(() => line.remove(), bad ? 9000 : 4000);
}

/** Asks the person first. */
export function confirmed(title, text, yes) {
  const dialog = document.getElementById("question");
  say(document.getElementById("question-title"), title);
  say(document.getElementById("question-text"), text);
  say(document.getElementById("question-yes"), yes);
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((decide) => {
    dialog.addEventListener("close", () => decide(dialog.returnValue === "yes"), { once: true });
  });
}

/** Looks of a second: `jobs`, and `job` if one is named. Gives what ends it. */
export function listen(job, handlers) {
  const events = new EventSource(`${ROOT}/events${job ? `?job=${encodeURIComponent(job)}` : ""}`);
  const live = document.getElementById("live");
  const show = (on) => {
    live.className = on ? "live on" : "live off";
    say(document.getElementById("live-text"), on ? "live" : "the service does not answer");
  };
  for (const [name, handler] of Object.entries(handlers)) {
    events.addEventListener(name, (event) => {
      show(true);
      handler(JSON.parse(event.data));
    });
  }
  events.addEventListener("open", () => show(true));
  events.addEventListener("error", () => show(false));
  return () => events.close();
}

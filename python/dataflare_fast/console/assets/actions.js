// What one may ask of a job in its state. Not here: the API.

import { confirmed, jobPath, note, post } from "./api.js";
import { h } from "./dom.js";

async function act(job, word, said) {
  try {
    await post(`${jobPath(job)}/${word}`);
    note(said);
  } catch (error) {
    note(error.message, true);
  }
}

const ALL = {
  start: { text: "Start", main: true, said: "Starting." },
  resume: { text: "Resume", main: true, said: "Going on." },
  savepoint: { text: "Checkpoint now", said: "A checkpoint is on its way." },
  pause: { text: "Pause", said: "Pausing with a savepoint." },
  restart: {
    text: "Restart",
    said: "Restarting.",
    ask: ["Restart this job?", "It stops with a savepoint and goes on from there. No row is lost or comes twice."],
  },
  stop: {
    text: "Stop",
    danger: true,
    said: "Stopping with a savepoint.",
    ask: ["Stop this job?", "It writes a savepoint and stays down until somebody starts it. Open windows stay open in the savepoint."],
  },
};

function possible(job) {
  if (job.wanted === "pause") return ["resume", "stop"];
  if (job.state === "running") return ["savepoint", "pause", "restart", "stop"];
  if (job.state === "starting" || job.state === "backing off" || job.state === "waiting") return ["stop"];
  if (job.state === "stopping") return [];
  return ["start"];
}

/** The buttons of a job; made anew only when other ones are possible. */
export function actions(name) {
  const element = h("div", { class: "buttons", role: "group", "aria-label": "Actions" });
  let shown = "";
  const update = (job) => {
    const words = possible(job);
    if (words.join() === shown) return;
    shown = words.join();
    element.replaceChildren(
      ...words.map((word) => {
        const { text, main, danger, said, ask } = ALL[word];
        const run = async () => {
          if (!ask || (await confirmed(ask[0], ask[1], text))) await act(name, word, said);
        };
        return h("button", { type: "button", class: main ? "main" : danger ? "danger" : null, onclick: run }, text);
      }),
    );
  };
  return { element, update };
}

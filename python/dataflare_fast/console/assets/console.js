// The console: which page the address names, the theme, the way back. Not here: the pages.

import { h, say } from "./dom.js";
import { jobPage } from "./job.js";
import { jobsPage } from "./jobs.js";

const THEMES = ["system", "light", "dark"];
const system = matchMedia("(prefers-color-scheme: dark)");
let leave = null;

function theme() {
  return THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "system";
}

function paint() {
  const chosen = theme();
  const dark = chosen === "dark" || (chosen === "system" && system.matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  say(document.getElementById("theme"), `Theme: ${chosen}`);
}

document.getElementById("theme").addEventListener("click", () => {
  localStorage.setItem("theme", THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
  paint();
});
system.addEventListener("change", paint);
paint();

function crumbs(parts) {
  const items = parts.map(([text, address]) =>
    h("li", {}, address ? h("a", { href: address }, text) : h("span", { "aria-current": "page" }, text)),
  );
  document.getElementById("crumbs").replaceChildren(...items);
}

function route() {
  const [, kind, name, tab] = location.hash.replace(/^#/, "").split("/");
  const content = document.getElementById("content");

  leave?.();
  content.replaceChildren();
  if (kind === "job" && name) {
    const job = decodeURIComponent(name);
    document.title = `${job} · DataFlare`;
    crumbs([["Jobs", "#/"], [job, null]]);
    leave = jobPage(content, job, tab ?? "overview");
  } else {
    document.title = "Jobs · DataFlare";
    crumbs([["Jobs", null]]);
    leave = jobsPage(content);
  }
  content.focus({ preventScroll: true });
  scrollTo(0, 0);
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("content").focus();
});
addEventListener("hashchange", route);
route();

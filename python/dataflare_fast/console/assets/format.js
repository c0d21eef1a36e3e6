// Numbers as people read them. Not here: where they come from.

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export const count = (value) => (value === null || value === undefined ? "–" : WHOLE.format(value));

/** Rows a second: 12, 3.4 k, 1.2 M. */
export function rate(value) {
  if (value === null || value === undefined) return "–";
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e4, "k"]]) {
    if (value >= size) {
      const shown = value / (unit === "k" ? 1e3 : size);
      return `${shown >= 100 ? shown.toFixed(0) : shown.toFixed(1)} ${unit}`;
    }
  }
  return count(value);
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  for (const [size, unit] of [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (value >= size) return `${(value / size).toFixed(value >= 100 * size ? 0 : 1)} ${unit}`;
  }
  return `${value} B`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const sign = seconds < 0 ? "−" : "";
  const s = Math.abs(seconds);
  if (s < 1) return `${sign}${Math.round(s * 1000)} ms`;
  if (s < 100) return `${sign}${s.toFixed(1)} s`;
  if (s < 7200) return `${sign}${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
  if (s < 172800) return `${sign}${Math.floor(s / 3600)} h ${Math.round((s % 3600) / 60)} min`;
  return `${sign}${WHOLE.format(s / 86400)} days`;
}

export const share = (value) => `${Math.round(value * 100)} %`;

export function moment(unix) {
  if (unix === null || unix === undefined) return "–";
  return new Date(unix * 1000).toISOString().replace("T", " ").slice(0, 19) + " UTC";
}

/** The colour of a state. */
export function tone(job) {
  if (job.state === "failed") return "bad";
  if (job.state === "backing off" || job.state === "waiting") return "warn";
  if (job.state === "running") return "good";
  return "calm";
}

export const stateText = (job) => job.state;

// How the server does: what needs somebody's eye first, then plots of the last hour.

import { find, make } from "./admin-dom.js";
import { Plot } from "./admin-plot.js";
import { bytes, count, duration, percent, rate } from "./admin-units.js";

const HOUR_MS = 3_600_000;

// Beyond these, people notice.
const SLOW_KEPT_S = 0.25;
const SLOW_DELIVERY_S = 0.5;
const LATE_LOOP_S = 0.1;

/**
 * What is wrong, by the newest sample, and by the last minute.
 * @param {Record<string, any>[]} samples
 * @returns {{level: "good" | "warning" | "bad", text: string}[]}
 */
export function findingsOf(samples) {
  const now = samples.at(-1);
  if (!now) return [{ level: "good", text: "The first figures come within a few seconds." }];
  const lately = samples.filter((sample) => sample.at > now.at - 60_000);
  const worst = (field) => Math.max(0, ...lately.map((sample) => sample[field] ?? 0));
  const found = [];
  const add = (level, text) => found.push({ level, text });
  if (!now.is_up) add("bad", "Messages are not kept: the engine does not work. See the server's log, and `hubbub doctor`.");
  if (worst("kept_p99") > SLOW_KEPT_S) add("warning", `Messages are kept slowly: 1 in 100 took ${duration(worst("kept_p99"))}. The disk, or Redis, is slow.`);
  if (worst("delivered_p99") > SLOW_DELIVERY_S) add("warning", `Messages arrive late: 1 in 100 took ${duration(worst("delivered_p99"))} to be written to all.`);
  if (worst("lag_p99") > LATE_LOOP_S) add("warning", `The server is busy: in the last minute it came to things up to ${duration(worst("lag_p99"))} late.`);
  if (now.slow || now.behind) add("warning", `${count(now.slow)} clients read slowly, ${count(now.behind)} memberships are fed from the log.`);
  if (worst("refused") >= 1) add("warning", `Up to ${rate(worst("refused"))} requests a second were refused in the last minute.`);
  return found.length ? found : [{ level: "good", text: "All is well." }];
}

const plots = [
  new Plot("Connections", count, ["connections"], [], 10),
  new Plot("Rooms in use", count, ["rooms"], [], 10),
  new Plot("Messages a second", rate, ["messages"], [], 1),
  new Plot("Deliveries a second", rate, ["deliveries"], [], 1),
  new Plot("Kept in", duration, ["kept_p99", "kept_p50"], ["99 %", "50 %"], 0.005),
  new Plot("Delivered in", duration, ["delivered_p99", "delivered_p50"], ["99 %", "50 %"], 0.005),
  new Plot("Slow clients", count, ["slow"], [], 10),
  new Plot("Refused a second", rate, ["refused"], [], 1),
  new Plot("Memory", bytes, ["memory"], [], 64 << 20),
  new Plot("Processors in use", percent, ["cpu"], [], 1),
  new Plot("Late by, 99 %", duration, ["lag_p99"], [], 0.01),
];

let samples = [];

export const overview = {
  open() {
    find("plots").replaceChildren(...plots.map((plot) => plot.element));
  },

  /** Ask for what is new, and show it. */
  async refresh(chat) {
    const stats = await chat.request("admin_stats", { since: samples.at(-1)?.at ?? 0 });
    const added = stats.samples.map((values) => Object.fromEntries(stats.fields.map((field, index) => [field, values[index]])));
    samples = [...samples, ...added];
    samples = samples.filter((sample) => sample.at > samples.at(-1).at - HOUR_MS);
    for (const plot of plots) plot.update(samples);
    showFindings(findingsOf(samples));
    const workers = samples.at(-1)?.workers ?? 1;
    const processes = workers > 1 ? `, ${workers} processes` : "";
    find("about").textContent = `Hubbub ${stats.version}, engine: ${stats.engine}${processes}; a sample every ${stats.every} s.`;
  },
};

/** Write only what differs: each write is read out. */
function showFindings(findings) {
  const list = find("findings");
  const text = findings.map((each) => each.text).join("\n");
  if (list.dataset.text === text) return;
  list.dataset.text = text;
  list.replaceChildren(...findings.map(({ level, text: line }) => make("li", { className: `is-${level}` }, line)));
}

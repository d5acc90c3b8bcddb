// The newest lines of the audit log.

import { find, make } from "./admin-dom.js";
import { cell, showTable } from "./admin-table.js";
import { day } from "./admin-units.js";

// What has a column; all else is written behind.
const COLUMNS = new Set(["time", "act", "actor", "outcome"]);
const GOOD = new Set(["ok", "done"]);

export const audit = {
  open(chat) {
    find("audit").querySelector("[data-refresh]").addEventListener("click", () => audit.refresh(chat));
  },

  async refresh(chat) {
    const { lines } = await chat.request("admin_audit", { limit: 100 });
    showTable(find("audit").querySelector(".rows"), {
      caption: "Audit log, the newest first",
      heads: [["Time"], ["Who"], ["What"], ["Outcome"], ["More"]],
      rows: lines.map(row),
      more: null,
      empty: "Nothing was noted yet.",
    });
  },
};

function row(line) {
  const more = Object.entries(line).filter(([name]) => !COLUMNS.has(name));
  const outcome = String(line.outcome ?? "");
  return make(
    "tr",
    {},
    cell("Time", day(line.time)),
    cell("Who", String(line.actor ?? "")),
    cell("What", String(line.act ?? "")),
    cell("Outcome", make("span", { className: GOOD.has(outcome) ? "state" : "state is-bad" }, outcome)),
    cell("More", more.map(([name, value]) => `${name} ${value}`).join(", ")),
  );
}

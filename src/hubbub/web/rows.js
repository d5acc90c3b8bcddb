// What stands in the log, line by line: days, dividers, and messages in groups.

import { dayWords, isSameDay } from "./times.js";

const GROUP_MS = 5 * 60_000;

// `entries` come from a timeline, `unsent` from the outbox. Each row has an id
// that stays with it, so that a message keeps its place on the page (and its
// reader's focus) when it turns from pending to sent.
export function rowsOf({ entries, unsent, user, now }) {
  const rows = [];
  let last = null;
  for (const message of [...entries.map((entry) => kept(entry, user)), ...unsent.map((entry) => written(entry, user))]) {
    if (message.kind === "message" && !(last && isSameDay(last.at, message.at))) {
      rows.push({ kind: "day", id: `day ${message.id}`, words: dayWords(message.at, new Date(now)) });
      last = null;
    }
    if (message.kind === "message") {
      message.isFirst = last?.from !== message.from || message.at - last.at > GROUP_MS;
      last = message;
    } else if (last) {
      // The group ends at a divider, the day does not.
      last = { from: undefined, at: last.at };
    }
    rows.push(message);
  }
  return rows;
}

function kept({ era, seq, key, from, message, sent, words }, user) {
  const id = key ?? `${era} ${seq}`;
  if (from === undefined) return { kind: "divider", id, words };
  const isOwn = from === user;
  return { kind: "message", id, from, message, at: new Date(sent), isOwn, state: isOwn ? "kept" : "", words: "" };
}

function written({ key, message, writtenAt, state, words }, user) {
  const shown = state === "failed" ? "failed" : "pending";
  return { kind: "message", id: key, key, from: user ?? "", message, at: new Date(writtenAt), isOwn: true, state: shown, words };
}

import { rowsOf } from "/web/rows.js";
import { equal, test } from "./testing.js";

const NOON = new Date(2026, 4, 12, 12, 0, 0).getTime();
const minute = 60_000;
const entry = (seq, from, at) => ({ era: 0, seq, from, message: `m${seq}`, sent: new Date(at).toISOString() });
const rows = (entries, unsent = []) => rowsOf({ entries, unsent, user: "percy", now: NOON });

test("each day begins with its name", () => {
  const days = rows([entry(1, "bob", NOON - 2880 * minute), entry(2, "bob", NOON - 1440 * minute), entry(3, "bob", NOON)])
    .filter(({ kind }) => kind === "day")
    .map(({ words }) => words);
  equal([days.length, days[1], days[2]], [3, "Yesterday", "Today"]);
});

test("messages of one author close together form a group", () => {
  const entries = [entry(1, "bob", NOON), entry(2, "bob", NOON + minute), entry(3, "alice", NOON + 2 * minute)];
  entries.push(entry(4, "alice", NOON + 9 * minute));
  const firsts = rows(entries).filter(({ kind }) => kind === "message").map(({ isFirst }) => isFirst);
  equal(firsts, [true, false, true, true]);
});

test("a divider ends a group but not the day", () => {
  const kinds = rows([entry(1, "bob", NOON), { era: 0, seq: 1.5, words: "Reconnected" }, entry(2, "bob", NOON)]);
  equal(kinds.map(({ kind, isFirst }) => `${kind} ${isFirst ?? ""}`.trim()), ["day", "message true", "divider", "message true"]);
});

test("a message keeps its row id when it turns from pending to kept", () => {
  const unsent = { key: "k1", room: "general", message: "hi", writtenAt: NOON, state: "sent", words: "" };
  const [, before] = rows([], [unsent]);
  const [, after] = rows([{ ...entry(1, "percy", NOON), key: "k1" }]);
  equal([before.id, before.state, after.id, after.state], ["k1", "pending", "k1", "kept"]);
});

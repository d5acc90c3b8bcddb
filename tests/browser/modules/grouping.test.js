import { leadOf, typingWords } from "/web/grouping.js";
import { equal, test } from "./testing.js";

const NOON = new Date(2026, 4, 12, 12);
const minutes = (count) => new Date(NOON.getTime() + count * 60_000);
const entry = (seq, from, at = NOON) => ({ kind: "message", seq, from, at });
const lead = (previous, next, more = {}) => leadOf(previous, next, { unreadFrom: null, hasBefore: false, now: NOON, ...more });

test("messages of one author close together form a group", () => {
  equal(lead(entry(1, "bob"), entry(2, "bob", minutes(4))).isFirst, false);
  equal(lead(entry(1, "bob"), entry(2, "bob", minutes(6))).isFirst, true);
  equal(lead(entry(1, "bob"), entry(2, "alice")).isFirst, true);
});

test("each day begins with its name", () => {
  equal(lead(null, entry(1, "bob")).day, "Today");
  equal(lead(entry(1, "bob"), entry(2, "bob")).day, "");
  equal(lead(entry(1, "bob", minutes(-1440)), entry(2, "bob")), { day: "Today", isNew: false, isFirst: true });
});

test("the line above what is unread stands before its first message alone", () => {
  equal([1, 2, 3].map((seq) => lead(entry(seq, "bob"), entry(seq + 1, "bob"), { unreadFrom: 3 }).isNew), [false, true, false]);
  // Where the one before is not loaded, it is not known to be the first.
  equal([lead(null, entry(5, "bob"), { unreadFrom: 3, hasBefore: true }).isNew, lead(null, entry(5, "bob"), { unreadFrom: 3 }).isNew], [false, true]);
});

test("a gap ends a group", () => {
  equal(lead({ kind: "gap", seq: 2, to: 4 }, entry(5, "bob")).isFirst, true);
});

test("typing is told of two by name", () => {
  equal([[], ["a"], ["a", "b"], ["a", "b", "c"]].map(typingWords), ["", "a is typing…", "a and b are typing…", "Several people are typing…"]);
});

import { Timeline } from "/web/timeline.js";
import { equal, test } from "./testing.js";

const message = (seq) => ({ seq, from: "alice", message: `m${seq}`, sent: "2026-01-01T00:00:00.000Z" });
const seqs = (timeline) => timeline.entries.map((entry) => entry.seq);

test("messages stand in seq order, each once", () => {
  const timeline = new Timeline();
  const isNew = [3, 1, 2, 3, 1].map((seq) => timeline.add(message(seq)));
  equal(isNew, [true, true, true, false, false]);
  equal(seqs(timeline), [1, 2, 3]);
});

test("a divider stands between the messages it divides", () => {
  const timeline = new Timeline();
  timeline.add(message(1));
  timeline.divide(1, "Reconnected");
  timeline.add(message(2));
  equal(seqs(timeline), [1, 1.5, 2]);
  equal(timeline.divide(1, "Reconnected"), false);
});

test("seqs of a new era are new messages, and come after the old", () => {
  const timeline = new Timeline();
  timeline.add(message(7));
  timeline.beginEra();
  equal(timeline.add(message(7)), true);
  timeline.add(message(1));
  equal(seqs(timeline), [7, 1, 7]);
  equal(timeline.oldestSeq, 1);
});

test("at its limit the oldest gives way", () => {
  const timeline = new Timeline(3);
  for (let seq = 1; seq <= 5; seq += 1) timeline.add(message(seq));
  equal(seqs(timeline), [3, 4, 5]);
  equal(timeline.isFull, true);
});

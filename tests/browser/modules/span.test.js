import { Span } from "/web/span.js";
import { equal, test } from "./testing.js";

const message = (seq, more = {}) => ({ seq, from: "bob", text: `m${seq}`, sent: "2026-05-12T10:00:00.000Z", type: "new_message", ...more });
const page = (from, to, more = false) => {
  const messages = Array.from({ length: to - from + 1 }, (_, index) => message(from + index));
  return { messages, more, first: from, last: to };
};
const seqs = (span) => span.entries.map(({ seq }) => seq);
const begun = (from, to, ends = { hasBefore: true, hasAfter: true }) => {
  const span = new Span();
  span.reset(page(from, to), ends);
  return span;
};

test("pages before and after make one run of messages", () => {
  const span = begun(10, 12);
  span.prepend(page(7, 9, true));
  span.append(page(13, 14));
  equal([seqs(span), span.first, span.last, span.hasBefore, span.hasAfter], [[7, 8, 9, 10, 11, 12, 13, 14], 7, 14, true, false]);
});

test("a message that is here already is not added again", () => {
  const span = begun(1, 3, { hasBefore: false, hasAfter: false });
  equal([span.add(message(3)), span.add(message(4)), span.add(message(4))], [false, true, false]);
  span.append(page(3, 5));
  equal(seqs(span), [1, 2, 3, 4, 5]);
});

test("events that are no messages count as read and are not shown", () => {
  const span = begun(1, 2, { hasBefore: false, hasAfter: false });
  equal([span.add(message(3, { type: "vote" })), span.last, seqs(span)], [false, 3, [1, 2]]);
  // A page of changes alone still leads on to what is before it.
  const other = begun(10, 11);
  other.prepend({ messages: [], more: true, first: 5, last: 9 });
  equal([other.first, other.hasBefore], [5, true]);
});

test("an empty page is the end of the log", () => {
  const span = begun(10, 11);
  span.prepend({ messages: [], more: false, first: 0, last: 0 });
  span.append({ messages: [], more: false, first: 0, last: 0 });
  equal([span.first, span.last, span.hasBefore, span.hasAfter], [10, 11, false, false]);
});

test("a change makes another entry, so that what was drawn can be compared", () => {
  const span = begun(1, 3);
  const before = span.entries[1];
  equal(span.change(2, () => ({ text: "new" })), true);
  equal([span.entries[1] === before, span.entries[1].text, before.text], [false, "new", "m2"]);
  equal(span.change(9, () => ({})), false);
});

test("what is lost leaves one line", () => {
  const span = begun(1, 3, { hasBefore: false, hasAfter: false });
  equal([span.lose(4, 9), span.lose(4, 9), span.last], [true, false, 9]);
  equal(span.entries.at(-1), { kind: "gap", seq: 4, to: 9 });
});

test("dropped entries are fetched again from where they were", () => {
  const span = begun(1, 100, { hasBefore: false, hasAfter: false });
  span.dropBefore(40);
  equal([span.first, span.hasBefore, span.entries.length], [41, true, 60]);
  span.dropAfter(10);
  equal([span.last, span.hasAfter, seqs(span)], [50, true, [41, 42, 43, 44, 45, 46, 47, 48, 49, 50]]);
  span.append(page(51, 60));
  equal([span.last, span.hasAfter], [60, false]);
});

import { Outbox, OUTBOX_LIMIT, RESEND_MS } from "/web/outbox.js";
import { equal, test } from "./testing.js";

function outboxWith(...messages) {
  let count = 0;
  const outbox = new Outbox({ newKey: () => `k${(count += 1)}` });
  return [outbox, ...messages.map((message) => outbox.add({ room: "general", message, now: 0 }))];
}

test("what was on the wire when the line broke waits again, under the same key", () => {
  const [outbox, entry] = outboxWith("hi");
  outbox.sent(entry, 0);
  equal(outbox.waiting("general"), []);
  outbox.disconnected(1000);
  equal(outbox.waiting("general").map(({ key }) => key), ["k1"]);
});

test("past the server's memory for keys the writer decides", () => {
  const [outbox, entry] = outboxWith("hi");
  outbox.sent(entry, 0);
  outbox.disconnected(RESEND_MS + 1);
  equal([entry.state, entry.key, outbox.waiting("general")], ["failed", "k2", []]);
});

test("what was never sent waits as long as it takes", () => {
  const [outbox] = outboxWith("hi");
  outbox.disconnected(100 * RESEND_MS);
  equal(outbox.waiting("general").length, 1);
});

test("a refused message stays until it is tried again or discarded", () => {
  const [outbox, entry] = outboxWith("hi");
  outbox.fail(entry.key, "too fast");
  outbox.disconnected(0);
  equal([entry.state, entry.words], ["failed", "too fast"]);
  outbox.retry(entry.key);
  equal(outbox.waiting("general"), [entry]);
  outbox.remove(entry.key);
  equal(outbox.in("general"), []);
});

test("the outbox is bounded, and knows rooms apart", () => {
  const [outbox] = outboxWith();
  for (let count = 0; count < OUTBOX_LIMIT; count += 1) outbox.add({ room: "garden", message: "x", now: 0 });
  equal([outbox.isFull, outbox.in("general").length], [true, 0]);
});

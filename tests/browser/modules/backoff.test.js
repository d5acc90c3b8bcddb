import { Backoff } from "/web/backoff.js";
import { equal, test } from "./testing.js";

test("the ceiling doubles from the base up to the cap and stays there", () => {
  const backoff = new Backoff({ base: 500, cap: 20_000, random: () => 1 });
  const delays = Array.from({ length: 8 }, () => backoff.next());
  equal(delays, [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
});

test("jitter is full, and applied after the cap", () => {
  const backoff = new Backoff({ base: 500, cap: 1000, random: () => 0.25 });
  equal([backoff.next(), backoff.next(), backoff.next()], [125, 250, 250]);
  equal(new Backoff({ random: () => 0 }).next(), 0);
});

test("very many tries still give a delay within the cap", () => {
  const backoff = new Backoff({ random: () => 1 });
  for (let count = 0; count < 2000; count += 1) backoff.next();
  equal(backoff.next(), 20_000);
});

test("a reset begins again at the base", () => {
  const backoff = new Backoff({ random: () => 1 });
  backoff.next();
  backoff.next();
  backoff.reset();
  equal(backoff.next(), 500);
});

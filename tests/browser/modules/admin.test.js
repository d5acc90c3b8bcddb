import { findingsOf } from "/web/admin-overview.js";
import { Plot, roof, runsOf, spanOf } from "/web/admin-plot.js";
import { bytes, count, duration, percent, rate } from "/web/admin-units.js";
import { equal, test } from "./testing.js";

const MINUTE = 60_000;

function sample(at, changed = {}) {
  return { at, is_up: true, slow: 0, behind: 0, refused: 0, kept_p99: 0.001, delivered_p99: 0.002, lag_p99: 0.001, ...changed };
}

test("figures are written as people read them", () => {
  equal([count(1234567), count(null)], ["1,234,567", "–"]);
  equal([rate(0), rate(0.25), rate(1234.5)], ["0", "0.3", "1,235"]);
  equal([duration(0.00042), duration(0.0123), duration(2.5), duration(null)], ["0.4 ms", "12 ms", "2.5 s", "–"]);
  equal([bytes(64 << 20), bytes(3 * 1024 ** 3)], ["64 MiB", "3.0 GiB"]);
  equal(percent(1.456), "146 %");
});

test("the roof of a plot is 1, 2 or 5 times a power of ten", () => {
  equal([0, 0.3, 1, 1.1, 4, 51].map(roof), [1, 0.5, 1, 2, 5, 100]);
});

test("a plot shows all that there is, from five minutes to an hour", () => {
  equal(spanOf([]), 5 * MINUTE);
  equal(spanOf([{ at: 0 }, { at: 1000 }]), 5 * MINUTE);
  equal(spanOf([{ at: 0 }, { at: 20 * MINUTE }]), 20 * MINUTE);
  equal(spanOf([{ at: 0 }, { at: 200 * MINUTE }]), 60 * MINUTE);
});

test("a curve is interrupted where there were no samples, and begins where the plot does", () => {
  const points = [0, 5, 10, 60, 65, 300].map((at) => ({ at: at * 1000, value: at }));
  const runs = runsOf(points, 300_000, 295_000, 300);
  equal(runs.map((run) => run.length), [2, 2, 1]);
  equal(runs.at(-1)[0], [600, 0]);
  equal(runsOf([{ at: 0, value: null }], 0, MINUTE, 1), []);
});

test("a plot says what it shows", () => {
  const plot = new Plot("Rooms", count, ["rooms"]);
  plot.update([{ at: 0, rooms: 7 }, { at: 5000, rooms: 3 }]);
  equal(plot.svg.getAttribute("aria-label"), "Rooms: now 3, most 7");
  plot.update([]);
  equal(plot.svg.getAttribute("aria-label"), "Rooms: now –, most 0");
});

test("all is well where nothing is wrong", () => {
  equal(findingsOf([sample(0)]), [{ level: "good", text: "All is well." }]);
  equal(findingsOf([])[0].level, "good");
});

test("what is wrong comes first, and what was wrong a minute ago is over", () => {
  equal(findingsOf([sample(0, { is_up: false, slow: 1 })]).map((each) => each.level), ["bad", "warning"]);
  for (const changed of [{ kept_p99: 1 }, { delivered_p99: 1 }, { lag_p99: 1 }, { slow: 1 }, { refused: 2 }]) {
    equal(findingsOf([sample(0, changed)]).map((each) => each.level), ["warning"]);
  }
  equal(findingsOf([sample(0, { lag_p99: 1 }), sample(2 * MINUTE)])[0].text, "All is well.");
});

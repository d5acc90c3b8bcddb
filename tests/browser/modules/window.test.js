import { AT_ONCE, Average, dropsBeyond, firstWhere, rowsToDraw, spacerFor } from "/web/window.js";
import { equal, test } from "./testing.js";

test("rows are drawn until there is a screen of them beyond the edge", () => {
  equal(rowsToDraw({ slack: 800, height: 700, average: 30 }), 0);
  equal(rowsToDraw({ slack: 200, height: 700, average: 30 }), 40);
  equal(rowsToDraw({ slack: -100_000, height: 700, average: 30 }), AT_ONCE);
});

test("what is drawn is not dropped at once, and what is dropped is not drawn at once", () => {
  for (const height of [300, 700, 4_000]) {
    for (let slack = 0; slack < 20_000; slack += 100) {
      const reach = dropsBeyond({ slack, height });
      if (reach === null) continue;
      equal(rowsToDraw({ slack: reach, height, average: 30 }), 0);
      const drawn = rowsToDraw({ slack: 0, height, average: 30 }) * 30;
      equal(dropsBeyond({ slack: drawn, height }), null);
    }
  }
});

test("a spacer is no higher than browsers can lay out", () => {
  equal([spacerFor(100, 30), spacerFor(-1, 30), spacerFor(10_000_000, 30) < 10_000_000], [3_000, 0, true]);
});

test("the mean height is that of the rows seen lately, within reason", () => {
  const average = new Average();
  for (let turn = 0; turn < 50; turn += 1) average.take(5_000, 100);
  equal(Math.round(average.value), 50);
  for (let turn = 0; turn < 50; turn += 1) average.take(1_000_000, 20);
  equal(Math.round(average.value), 400);
  average.take(10, 1);
  equal(Math.round(average.value), 400);
});

test("the first that holds is found by halving", () => {
  equal([firstWhere(10, (each) => each >= 7), firstWhere(10, () => false), firstWhere(0, () => true)], [7, 10, 0]);
});

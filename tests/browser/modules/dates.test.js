import { dayStart, dayValue, dayWords, setClock, shortWords, timeOf } from "/web/dates.js";
import { equal, test } from "./testing.js";

const NOON = new Date(2026, 4, 12, 12, 5);

test("a day goes by its name", () => {
  const days = [0, 1, 2].map((ago) => dayWords(new Date(2026, 4, 12 - ago, 23), NOON));
  equal([days[0], days[1]], ["Today", "Yesterday"]);
  equal(days[2].includes("10"), true);
});

test("a day of another year has its year", () => {
  equal(dayWords(new Date(2024, 4, 12), NOON).includes("2024"), true);
});

test("the clock has 12 or 24 hours, as is set", () => {
  const evening = new Date(2026, 4, 12, 23, 5);
  setClock("24");
  equal(timeOf(evening), "23:05");
  setClock("12");
  equal(/^11:05/.test(timeOf(evening)), true);
  setClock("locale");
});

test("what was sent today has its time, all else its day, too", () => {
  equal(shortWords(NOON, NOON), timeOf(NOON));
  equal(shortWords(new Date(2026, 3, 1), NOON).endsWith(`, ${timeOf(new Date(2026, 3, 1))}`), true);
});

test("a day's value leads to its first moment and back", () => {
  equal(dayValue(dayStart("2026-05-12")), "2026-05-12");
  equal([dayStart("2026-13-01"), dayStart("2026-02-30"), dayStart("")], [null, null, null]);
});

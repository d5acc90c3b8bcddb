import { readRoomName } from "/web/directory.js";
import { agoWords } from "/web/times.js";
import { soon, wordsOf } from "/web/signin.js";
import { equal, test } from "/modules/testing.js";

test("a room's name is letters, digits, single spaces and . _ -", () => {
  for (const name of ["general", "release 1.0", "gärten", "עברית", "a_b-c", "w".repeat(64)]) equal(readRoomName(name), name);
  for (const name of ["", "  ", "a/b", "dm:a,b", "w".repeat(65), "a\u0000b", "<b>"]) equal(readRoomName(name), null);
  equal(readRoomName("  # reading   club "), "reading club");
});

test("how long ago is said in the largest unit that fits", () => {
  const now = Date.parse("2026-11-26T12:00:00Z");
  equal(agoWords("2026-11-26T11:59:30Z", now), "just now");
  equal(/2 hours/.test(agoWords("2026-11-26T09:30:00Z", now)), true);
  equal(/3 days/.test(agoWords("2026-11-23T09:30:00Z", now)), true);
  equal([agoWords("", now), agoWords(undefined, now)], ["", ""]);
});

test("what goes wrong is said in words", () => {
  equal(wordsOf({ status: 401, message: "unauthorized" }), "Wrong name or password.");
  equal(wordsOf({ status: 429, retryAfter: 30 }), "Too many tries. Please try again in 30 seconds.");
  equal(wordsOf({ code: "forbidden", message: "you may not" }), "You may not");
  equal([soon(0), soon(1), soon(89.5), soon(120)], ["in a moment", "in a second", "in 90 seconds", "in 2 minutes"]);
});

import { Typists, TypingTeller, typingWords } from "/web/typing.js";
import { equal, test } from "./testing.js";

test("typing is told once, told again while it lasts, and ended when idle", () => {
  const teller = new TypingTeller();
  equal([teller.input(true, 0), teller.input(true, 1000), teller.input(true, 3000)], [true, null, true]);
  equal([teller.tick(7000), teller.tick(9000), teller.tick(10_000)], [null, false, null]);
});

test("an emptied field ends it", () => {
  const teller = new TypingTeller();
  equal(teller.input(false, 0), null);
  teller.input(true, 0);
  equal(teller.input(false, 10), false);
});

test("who has not been heard of for a while fades", () => {
  const typists = new Typists();
  typists.hear("alice", true, 0);
  typists.hear("bob", true, 4000);
  equal([typists.names(5000), typists.names(7000)], [["alice", "bob"], ["bob"]]);
  typists.hear("bob", false, 7000);
  equal(typists.names(7000), []);
});

test("a crowd is not listed by name", () => {
  equal(typingWords([]), "");
  equal(typingWords(["alice"]), "alice is typing…");
  equal(typingWords(["a", "b", "c"]), "Several people are typing…");
});

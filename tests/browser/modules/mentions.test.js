import { emojiLike, emojiFor } from "/web/emoji.js";
import { peopleLike, queryAt, replaceQuery } from "/web/mentions.js";
import { equal, test } from "./testing.js";

test("a name after @ is asked for up to the caret", () => {
  equal(queryAt("hi @Bo", 6), { kind: "user", prefix: "bo", from: 3 });
  equal(queryAt("@", 1), { kind: "user", prefix: "", from: 0 });
  equal(queryAt("a@bo", 4), null);
  equal(queryAt("@bob and", 8), null);
});

test("an emoji is asked for by two characters, a smiley by none", () => {
  equal(queryAt("so :ta", 6), { kind: "emoji", prefix: "ta", from: 3 });
  equal([queryAt(":)", 2), queryAt("a: b", 4), queryAt("10:30", 5), queryAt(":t", 2)], [null, null, null, null]);
});

test("only what is near the caret is looked at", () => {
  equal(queryAt(`${"@a".repeat(2000)} @bo`, 4004), { kind: "user", prefix: "bo", from: 4001 });
});

test("people are found by user name first, then by a word of their display name", () => {
  const people = [{ user: "zoe", name: "Alice Zoë" }, { user: "alice" }, { user: "bob", name: "Bob" }, { user: "alice" }];
  equal(peopleLike(people, "al"), [{ user: "alice", name: "alice" }, { user: "zoe", name: "Alice Zoë" }]);
  equal(peopleLike(people, "").length, 3);
});

test("a completion stands in for what was typed, and the caret follows it", () => {
  equal(replaceQuery("hi @bo there", 6, 3, "@bob"), { text: "hi @bob there", caret: 8 });
  equal(replaceQuery("@bo", 3, 0, "@bob"), { text: "@bob ", caret: 5 });
});

test("emoji are found by the beginning of a name first, each once", () => {
  equal(emojiLike("tad", 1), [{ name: "tada", emoji: "🎉" }]);
  equal(emojiFor("+1"), "👍");
  equal(emojiLike("thumbs").map(({ name }) => name), ["thumbsup", "thumbsdown"]);
});

import { characters, splitText } from "/web/split.js";
import { equal, test } from "./testing.js";

test("characters are code points", () => {
  equal([characters("abc"), characters("🎉🎉"), characters("")], [3, 2, 0]);
});

test("a long text is cut between paragraphs, lines or words, in this order", () => {
  equal(splitText("one two\n\nthree four", 12), ["one two", "three four"]);
  equal(splitText("one two\nthree four", 12), ["one two", "three four"]);
  equal(splitText("one two three four", 12), ["one two", "three four"]);
});

test("nothing but white space at the cuts is lost, and no part is too long", () => {
  const text = Array.from({ length: 3_000 }, (_, index) => `word${index}${index % 17 === 0 ? "\n" : ""}${index % 90 === 0 ? "\n" : ""}`).join(" ");
  const parts = splitText(text, 400);
  equal(parts.every((part) => characters(part) <= 400 && part.trim() !== ""), true);
  equal(parts.join("").replace(/\s/g, ""), text.replace(/\s/g, ""));
});

test("a word that is too long is cut anywhere, but not within a character", () => {
  const parts = splitText("🎉".repeat(25), 10);
  equal(parts.map(characters), [10, 10, 5]);
});

test("a short text stays whole", () => {
  equal([splitText("hi", 10), splitText("", 10), splitText("  \n ", 10)], [["hi"], [], []]);
});

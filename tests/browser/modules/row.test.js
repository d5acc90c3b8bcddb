import { drawRow } from "/web/row.js";
import { equal, test } from "./testing.js";

const known = { me: "percy", nameOf: (user) => ({ alice: "Alice Moreau" })[user] ?? user };
const LEAD = { day: "", isNew: false, isFirst: true };

function drawn(entry, lead = LEAD) {
  const element = document.createElement("div");
  drawRow(element, { kind: "message", seq: 7, from: "alice", text: "hi", at: new Date(2026, 4, 12, 9, 5), ...entry }, lead, known);
  return element;
}

const texts = (element, selector) => [...element.querySelectorAll(selector)].map(({ textContent }) => textContent);

test("the first of a group has its author, the others have not", () => {
  equal(texts(drawn({}), ".author"), ["Alice Moreau"]);
  equal(texts(drawn({}, { ...LEAD, isFirst: false }), ".author"), []);
});

test("a message that failed can be sent again or discarded, and says why", () => {
  const element = drawn({ from: "percy", state: "failed", error: { message: "too much" } });
  equal(texts(element, ".failure button"), ["Try again", "Discard"]);
  equal(texts(element, ".failure")[0].includes("too much"), true);
  equal(element.querySelector(".message").dataset.state, "failed");
});

test("one that is on its way says so to a screen reader", () => {
  equal(drawn({ from: "percy", state: "sending" }).querySelector(".message").getAttribute("aria-label"), "percy, Sending");
});

test("a reaction says who, and whether it is the reader's", () => {
  const reactions = [{ emoji: "🎉", users: ["alice", "percy"] }, { emoji: "👀", users: ["bob"] }];
  const buttons = [...drawn({ reactions }).querySelectorAll(".reaction")];
  equal(buttons.map((each) => [each.textContent, each.getAttribute("aria-pressed")]), [["🎉 2", "true"], ["👀 1", "false"]]);
  equal(buttons[0].getAttribute("aria-label"), "🎉 2: Alice Moreau, you reacted with tada");
});

test("a deleted message shows nothing of what it was", () => {
  equal(texts(drawn({ deleted: true, text: "secret" }), ".body")[0].includes("secret"), false);
});

test("a mention of the reader stands out, one by the reader does not", () => {
  equal(drawn({ text: "hi @percy" }).querySelectorAll(".is-mention").length, 1);
  equal(drawn({ text: "hi @percy", from: "percy" }).querySelectorAll(".is-mention").length, 0);
});

test("a very long message begins folded", () => {
  equal([drawn({ text: "a\n".repeat(60) }), drawn({ text: "a\n".repeat(5) })].map((each) => each.querySelectorAll(".unfold").length), [1, 0]);
});

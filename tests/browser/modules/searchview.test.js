import { marked, SearchView } from "/web/searchview.js";
import { equal, test } from "./testing.js";

const store = { nameOf: (user) => user, titleOf: (room) => room, open() {} };

test("a server that cannot search says so, and offers no field", () => {
  const element = document.createElement("div");
  new SearchView(element, { features: [] }, store, { close() {} }).show("general");
  equal([element.querySelector("form").hidden, element.textContent.includes("cannot be searched")], [true, true]);
  const other = document.createElement("div");
  new SearchView(other, { features: ["search"] }, store, { close() {} }).show("general");
  equal([other.querySelector("form").hidden, other.querySelector("[role=status]").textContent], [false, ""]);
});

test("the words that were searched for are marked in an excerpt around the first", () => {
  const words = (message, text) => marked(message, text).map((part) => (typeof part === "string" ? part : `<${part.textContent}>`)).join("");
  equal(words("The cake is in the garden", "CAKE gard"), "The <cake> is in the <gard>en");
  equal(words(`${"x ".repeat(100)}cake`, "cake").startsWith("…x x"), true);
  equal(words("a<b>c", "<b>"), "a<<b>>c");
  equal(words("nothing of it", "cake"), "nothing of it");
});

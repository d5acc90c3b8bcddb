// Searching what was said: in one room, or in all that the reader may see.

import { shortWords } from "./dates.js";
import { make, setHidden, setText, tintOf } from "./dom.js";
import { icon } from "./icons.js";
import { wordsOf } from "./signin.js";

const PAGE = 20;
const TYPED_MS = 300;
const EXCERPT = 240;
// Characters before the first word that was found.
const LEAD = 60;

export class SearchView {
  #element;
  #body = make("section", { className: "search", "aria-label": "Search" });
  #field = make("input", { type: "search", className: "input", placeholder: "Search messages", "aria-label": "Search messages", autocomplete: "off", enterKeyHint: "search", maxLength: 200 });
  #here = make("input", { type: "checkbox" });
  #hereWords = make("span", {});
  #status = make("p", { className: "hint", role: "status" });
  #results = make("ol", { className: "search-results" });
  #more = make("button", { type: "button", className: "secondary search-more", hidden: true }, "More results");
  #form = make("form", { className: "search-form", role: "search" });
  #room = null;
  #turn = 0;
  #timer = 0;
  #next = null;

  // store: nameOf, titleOf, open(room, seq). close: ends the view.
  constructor(element, chat, store, { close }) {
    Object.assign(this, { chat, store });
    this.#element = element;
    const end = make("button", { type: "button", className: "icon-button", "aria-label": "Close search" }, icon("close"));
    end.addEventListener("click", close);
    const here = make("label", { className: "search-here" }, this.#here, this.#hereWords);
    this.#form.append(make("div", { className: "search-head" }, this.#field, end), here);
    this.#body.append(this.#form, this.#status, this.#results, this.#more);
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#search();
    });
    this.#field.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#search(), TYPED_MS);
    });
    this.#here.addEventListener("change", () => this.#search());
    this.#more.addEventListener("click", () => this.#search(this.#next));
    this.#results.addEventListener("keydown", (event) => this.#pressed(event));
  }

  show(room) {
    this.#room = room;
    setText(this.#hereWords, `Only in ${this.store.titleOf(room)}`);
    if (!this.#body.isConnected) {
      this.#element.replaceChildren(this.#body);
      this.#element.setAttribute("aria-label", "Search");
      const can = this.chat.features?.includes("search") ?? false;
      setHidden(this.#form, !can);
      setText(this.#status, can ? "" : "This server keeps its messages in a way that cannot be searched.");
    }
    this.focus();
  }

  hide() {
    clearTimeout(this.#timer);
    this.#turn += 1;
    this.#body.remove();
    this.#clear();
    this.#field.value = "";
  }

  focus() {
    this.#field.focus();
    this.#field.select();
  }

  async #search(before = null) {
    clearTimeout(this.#timer);
    const text = this.#field.value.trim();
    const turn = (this.#turn += 1);
    if (before === null) this.#clear();
    if (text === "") return setText(this.#status, "");
    this.#body.setAttribute("aria-busy", "true");
    try {
      const room = this.#here.checked ? { room: this.#room } : {};
      const { messages, next } = await this.chat.request("search", { text, limit: PAGE, ...room, ...(before !== null && { before }) });
      if (turn !== this.#turn) return;
      const first = this.#results.childElementCount;
      this.#results.append(...messages.map((message) => this.#result(message, text)));
      this.#next = next ?? null;
      setHidden(this.#more, this.#next === null);
      const count = this.#results.childElementCount;
      setText(this.#status, count === 0 ? "Nothing was found." : `${count}${this.#next === null ? "" : " or more"} found`);
      if (before !== null) this.#results.children[first]?.querySelector("button").focus();
    } catch (error) {
      if (turn === this.#turn) setText(this.#status, wordsOf(error));
    } finally {
      if (turn === this.#turn) this.#body.removeAttribute("aria-busy");
    }
  }

  #clear() {
    this.#results.replaceChildren();
    this.#next = null;
    setHidden(this.#more, true);
  }

  #result({ room, seq, from, message, sent }, text) {
    const at = new Date(sent);
    const place = make("span", { className: "search-place" }, this.store.titleOf(room));
    const author = make("span", { className: `author ${tintOf(from)}` }, this.store.nameOf(from));
    const time = make("time", { dateTime: sent }, shortWords(at, new Date()));
    const words = make("span", { className: "search-text", dir: "auto" }, ...marked(message ?? "", text));
    const button = make("button", { type: "button" }, make("span", { className: "search-meta" }, author, " in ", place, " ", time), words);
    button.addEventListener("click", () => this.store.open(room, seq));
    return make("li", {}, button);
  }

  #pressed(event) {
    const buttons = [...this.#results.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    if (at < 0 || (event.key !== "ArrowDown" && event.key !== "ArrowUp")) return;
    event.preventDefault();
    (buttons[at + (event.key === "ArrowDown" ? 1 : -1)] ?? (event.key === "ArrowUp" ? this.#field : buttons[at])).focus();
  }
}

// An excerpt with the words that were searched for marked: strings and elements.
export function marked(message, text) {
  const words = text.toLowerCase().split(/\s+/).filter((word) => word !== "").slice(0, 10);
  const lower = message.toLowerCase();
  // Folding may change the length; then places in one are none in the other.
  const isAligned = lower.length === message.length;
  const first = isAligned ? Math.min(...words.map((word) => lower.indexOf(word)).map((at) => (at < 0 ? Infinity : at))) : Infinity;
  const from = first !== Infinity && first > LEAD ? first - LEAD : 0;
  const excerpt = message.slice(from, from + EXCERPT);
  const parts = from > 0 ? ["…"] : [];
  let at = 0;
  while (isAligned && at < excerpt.length) {
    const found = nextOf(lower.slice(from, from + EXCERPT), words, at);
    if (found === null) break;
    parts.push(excerpt.slice(at, found.at), make("mark", {}, excerpt.slice(found.at, found.at + found.length)));
    at = found.at + found.length;
  }
  parts.push(excerpt.slice(at));
  if (from + EXCERPT < message.length) parts.push("…");
  return parts.filter((part) => part !== "");
}

function nextOf(text, words, from) {
  let best = null;
  for (const { length, ...word } of words.map((each) => ({ at: text.indexOf(each, from), length: each.length }))) {
    if (word.at >= 0 && (best === null || word.at < best.at)) best = { at: word.at, length };
  }
  return best;
}

// The list that offers names and emoji under what is being typed. The focus stays in the field (ARIA: combobox).

import { make } from "./dom.js";
import { emojiLike } from "./emoji.js";
import { peopleLike, queryAt, replaceQuery } from "./mentions.js";

const ASK_MS = 150;
const MOST = 8;
const ID = "composer-completion";

export class Completion {
  #list = make("ul", { className: "completion", role: "listbox", id: ID, "aria-label": "Completions", hidden: true });
  #query = null;
  #items = [];
  #chosen = 0;
  #found = [];
  #timer = 0;
  // The place of a query that was given up with Escape.
  #refusedAt = -1;

  // calls: people() -> [{user, name}] that are known, find(prefix) -> Promise of more, changed() after a completion.
  constructor(element, field, calls) {
    Object.assign(this, { field, calls });
    element.append(this.#list);
    for (const [name, value] of Object.entries({ "aria-autocomplete": "list", "aria-controls": ID })) field.setAttribute(name, value);
    this.#list.addEventListener("mousedown", (event) => {
      event.preventDefault();
      const index = [...this.#list.children].indexOf(event.target.closest("li"));
      if (index >= 0) this.#take(index);
    });
  }

  get isOpen() {
    return !this.#list.hidden;
  }

  update() {
    const { value, selectionStart, selectionEnd } = this.field;
    const query = selectionStart === selectionEnd ? queryAt(value, selectionStart) : null;
    if (query === null || query.from !== this.#refusedAt) this.#refusedAt = -1;
    this.#query = query?.from === this.#refusedAt ? null : query;
    clearTimeout(this.#timer);
    this.#draw();
    if (this.#query?.kind === "user" && this.#query.prefix !== "") this.#timer = setTimeout(() => this.#ask(this.#query), ASK_MS);
  }

  close() {
    clearTimeout(this.#timer);
    this.#query = null;
    this.#draw();
  }

  // Returns whether the key was for the list.
  pressed(key) {
    if (!this.isOpen) return false;
    if (key === "ArrowDown" || key === "ArrowUp") this.#choose((this.#chosen + (key === "ArrowDown" ? 1 : -1) + this.#items.length) % this.#items.length);
    else if (key === "Enter" && this.#isTyped) return false;
    else if (key === "Enter" || key === "Tab") this.#take(this.#chosen);
    else if (key === "Escape") {
      this.#refusedAt = this.#query.from;
      this.close();
    } else return false;
    return true;
  }

  // Whether the text has all of what is chosen: there is nothing to complete, and Enter is for sending.
  get #isTyped() {
    const typed = this.field.value.slice(this.#query.from, this.field.selectionStart);
    return typed.toLowerCase() === this.#items[this.#chosen].word.toLowerCase();
  }

  async #ask(query) {
    const found = await this.calls.find(query.prefix).catch(() => []);
    if (this.#query !== query) return;
    this.#found = found;
    this.#draw();
  }

  #draw() {
    const query = this.#query;
    if (query === null) this.#items = [];
    else if (query.kind === "emoji") this.#items = emojiLike(query.prefix, MOST).map(({ name, emoji }) => ({ word: emoji, sign: emoji, title: `:${name}:` }));
    else this.#items = peopleLike([...this.calls.people(), ...this.#found], query.prefix, MOST).map(({ user, name }) => ({ word: `@${user}`, sign: "@", title: user, note: name === user ? "" : name }));
    this.#list.replaceChildren(...this.#items.map(({ sign, title, note = "" }, index) => {
      return make("li", { role: "option", id: `${ID}-${index}` }, make("span", { className: "completion-sign" }, sign), make("span", {}, title), make("span", { className: "completion-note" }, note));
    }));
    this.#list.hidden = this.#items.length === 0;
    this.#choose(0);
  }

  #choose(index) {
    this.#chosen = index;
    const { children } = this.#list;
    for (const item of children) item.setAttribute("aria-selected", String(item === children[index]));
    if (children[index]) {
      children[index].scrollIntoView({ block: "nearest" });
      this.field.setAttribute("aria-activedescendant", children[index].id);
    } else {
      this.field.removeAttribute("aria-activedescendant");
    }
  }

  #take(index) {
    const { value, selectionStart } = this.field;
    const { text, caret } = replaceQuery(value, selectionStart, this.#query.from, this.#items[index].word);
    this.field.value = text;
    this.field.setSelectionRange(caret, caret);
    this.close();
    this.calls.changed();
  }
}

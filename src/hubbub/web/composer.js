// The field a message is written in.

import { characters } from "./codec.js";
import { find, setHidden, setText } from "./dom.js";

const COUNT_FROM = 0.9;
const ROWS = 8;

export class Composer {
  #form = find("composer");
  #field = find("message");
  #button = find("send");
  #counter = find("counter");
  #error = find("composer-error");
  // Unfinished words stay with the room they were meant for.
  #drafts = new Map();
  #room = null;

  // say: takes text, returns words of refusal or "". typed: told whether there is text.
  constructor({ say, typed, limit }) {
    Object.assign(this, { say, typed, limit });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener("keydown", (event) => this.#pressed(event));
    this.#field.addEventListener("input", () => {
      this.#measure();
      this.typed(this.#field.value !== "");
    });
  }

  show(room) {
    if (room === this.#room) return;
    if (this.#room !== null) this.#drafts.set(this.#room, this.#field.value);
    this.#room = room;
    this.#field.value = this.#drafts.get(room) ?? "";
    this.#drafts.delete(room);
    this.#field.placeholder = `Message ${room}`;
    this.#measure();
  }

  focus() {
    this.#field.focus();
  }

  clear() {
    this.#drafts.clear();
    this.#field.value = "";
    this.#field.placeholder = "";
    this.#room = null;
    this.#measure();
  }

  #pressed(event) {
    // Enter while an input method composes picks a word; it does not send.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.#submit();
  }

  #submit() {
    const text = this.#field.value.trimEnd().toWellFormed?.() ?? this.#field.value.trimEnd();
    if (text.trim() === "" || this.#over > 0) return this.#field.focus();
    const words = this.say(text);
    this.#complain(words);
    if (words === "") this.#field.value = "";
    this.#measure();
    this.#field.focus();
  }

  get #over() {
    return characters(this.#field.value.trimEnd()) - this.limit;
  }

  #measure() {
    const over = this.#over;
    const isNear = this.limit + over >= this.limit * COUNT_FROM;
    setHidden(this.#counter, !isNear);
    if (isNear) setText(this.#counter, over > 0 ? `${over} too many` : `${-over} left`);
    this.#counter.classList.toggle("is-over", over > 0);
    this.#field.toggleAttribute("aria-invalid", over > 0);
    if (over > 0) this.#field.setAttribute("aria-invalid", "true");
    this.#button.disabled = over > 0 || this.#field.value.trim() === "";
    this.#complain("");
    this.#grow();
  }

  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.rows = Math.min(ROWS, this.#field.value.split("\n").length);
  }

  #complain(words) {
    setText(this.#error, words);
    setHidden(this.#error, words === "");
  }
}

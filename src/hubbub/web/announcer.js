// Tells a screen reader of new messages: one by its words, many by their number, and not more often than it can speak.

import { make, setText } from "./dom.js";

const EVERY_MS = 3_000;
const MOST_CHARACTERS = 200;

export class Announcer {
  #element = make("p", { className: "visually-hidden", role: "status" });
  #waiting = [];
  #count = 0;
  #timer = 0;

  constructor(element) {
    element.append(this.#element);
  }

  // words: author and text of a message.
  tell(author, text) {
    this.#count += 1;
    this.#waiting = [author, text];
    // At the end of a pause and not at its beginning: messages that come together are told together.
    if (this.#timer === 0) this.#timer = setTimeout(() => this.#speak(), this.#count === 1 ? 300 : EVERY_MS);
  }

  clear() {
    clearTimeout(this.#timer);
    this.#timer = this.#count = 0;
    setText(this.#element, "");
  }

  #speak() {
    const [author, text] = this.#waiting;
    const words = text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text;
    setText(this.#element, this.#count === 1 ? `${author}: ${words}` : `${this.#count} new messages, the last from ${author}`);
    this.#count = 0;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      if (this.#count > 0) this.#speak();
    }, EVERY_MS);
  }
}

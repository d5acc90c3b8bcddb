// The state of the connection, in words, and only while there is something to say.

import { find, setHidden, setText } from "./dom.js";

// A connection that comes back within it is not worth a word.
const CALM_MS = 700;

export class Status {
  #box = find("status");
  #words = find("status-words");
  #countdown = find("status-countdown");
  #retry = find("status-retry");
  #state = { state: "connecting", reason: "", until: 0 };
  // Between two tries the line stays as it is: one that flickers can be neither read nor clicked.
  #isTrying = false;
  #reason = "";
  #timer;

  constructor({ chat, retry }) {
    this.chat = chat;
    this.#retry.addEventListener("click", retry);
    chat.on("state", ({ state, reason, retryIn }) => {
      this.#state = { state, reason: reason ?? "", until: Date.now() + (retryIn ?? 0) * 1000 };
      if (state === "offline" && (reason || !this.#isTrying)) this.#reason = reason ?? "";
      if (state !== "connecting") this.#isTrying = state === "offline";
      clearTimeout(this.#timer);
      if (state === "online" || this.#box.hasAttribute("data-shown")) this.#watch();
      else this.#timer = setTimeout(() => this.#watch(), CALM_MS);
    });
    for (const event of ["online", "offline"]) addEventListener(event, () => this.draw());
  }

  // Nobody is signed in.
  clear() {
    clearTimeout(this.#timer);
    this.#state = { state: "connecting", reason: "", until: 0 };
    this.#isTrying = false;
    this.#reason = "";
    this.#show(false, "");
  }

  draw() {
    const { state, until } = this.#state;
    const isWaiting = state === "offline" || (state === "connecting" && this.#isTrying);
    const seconds = state === "offline" ? Math.ceil((until - Date.now()) / 1000) : 0;
    this.#box.dataset.state = state;
    this.#show(state !== "online", this.#wordsOf(state));
    // Outside the live region's text: a screen reader should not count seconds aloud.
    setText(this.#countdown, seconds > 0 ? ` in ${seconds} s` : "");
    setHidden(this.#retry, !(isWaiting || state === "closed"));
    setText(this.#retry, state === "closed" ? "Connect again" : "Try now");
  }

  #watch() {
    clearTimeout(this.#timer);
    this.draw();
    if (this.#state.state !== "online") this.#timer = setTimeout(() => this.#watch(), 1000);
  }

  #show(isShown, words) {
    this.#box.toggleAttribute("data-shown", isShown);
    setText(this.#words, words);
  }

  #wordsOf(state) {
    if (state === "online") return "";
    if (state === "closed") return this.#state.reason || "Disconnected.";
    if (!navigator.onLine) return "You are offline. Trying again";
    return this.#isTrying ? `${this.#reason} Reconnecting`.trim() : "Connecting…";
  }
}

// The state of the connection, in words.

import { find, setHidden, setText } from "./dom.js";

export class StatusView {
  #box = find("status");
  #words = find("status-words");
  #countdown = find("status-countdown");
  #retry = find("status-retry");

  constructor({ reconnect }) {
    this.#retry.addEventListener("click", reconnect);
  }

  render({ state, isWelcomed, hasNetwork, now }) {
    const { name } = state;
    const isWaiting = name === "waiting";
    this.#box.dataset.state = name === "online" && !isWelcomed ? "connecting" : name;
    setText(this.#words, wordsOf(this.#box.dataset.state, hasNetwork));
    // Outside the live region's text: a screen reader should not count seconds aloud.
    setText(this.#countdown, isWaiting ? ` in ${Math.max(1, Math.ceil((state.until - now) / 1000))} s` : "");
    setHidden(this.#retry, !(isWaiting || name === "ended"));
    setText(this.#retry, isWaiting ? "Try now" : "Connect again");
  }
}

function wordsOf(name, hasNetwork) {
  switch (name) {
    case "online":
      return "Online";
    case "connecting":
      return "Connecting…";
    case "waiting":
      return hasNetwork ? "Reconnecting" : "Offline, trying again";
    default:
      return "Offline";
  }
}

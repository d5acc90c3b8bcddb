// One lasting connection out of many short ones: opens, notices loss, comes back.

import { PROTOCOL } from "./codec.js";
import { readCloseCode } from "./closing.js";

// From ticket to first frame; a browser alone would wait minutes.
const OPENING_MS = 10_000;
// Shorter connections do not reset the backoff, or a server that accepts
// and drops at once would be hammered.
const STABLE_MS = 5_000;

// State, as told to `onState`:
//
//   stopped -> connecting -> online -> waiting -> connecting ...
//                  any  -> ended (the server said not to come back)
//
//   {name: "connecting" | "online" | "stopped"}
//   {name: "waiting", until, words}   until: when the next try begins, by the clock; words: why, or ""
//   {name: "ended", words, needsLogin}
export class Connection {
  state = { name: "stopped" };
  #socket = null;
  #timer = null;
  // Counts tries, so that what an abandoned try still brings is told from ours.
  #try = 0;
  #onlineSince = 0;
  // When the server asked us to move to another connection; null when it did not.
  #moveAt = null;

  // why: resolves to the server's words for not letting us in, or "".
  constructor({ url, ticket, why, backoff, WebSocket, timers, random, now, onState, onFrame }) {
    Object.assign(this, { url, ticket, why, backoff, WebSocket, timers, random, now, onState, onFrame });
  }

  // Asked from outside

  start() {
    this.#connect();
  }

  stop() {
    this.#abandon();
    this.#become({ name: "stopped" });
  }

  // Returns whether the text is on its way; nothing is kept for later here.
  send(text) {
    if (this.state.name !== "online") return false;
    this.#socket.send(text);
    return true;
  }

  retryNow() {
    if (this.state.name === "waiting" || this.state.name === "ended") this.#connect();
  }

  // The line is dead though the browser has not noticed.
  lost() {
    if (this.state.name !== "online") return;
    this.#abandon();
    this.#comeBack();
  }

  // The server drains: everyone leaves, each at a moment of their own.
  moveWithin(ms) {
    if (this.state.name !== "online" || this.#moveAt !== null) return;
    const pause = this.random() * Math.max(0, ms);
    this.#moveAt = this.now() + pause;
    this.#arm(pause, () => this.#connect());
  }

  // Opening

  async #connect() {
    this.#abandon();
    const attempt = this.#try;
    this.#become({ name: "connecting" });
    let otp;
    try {
      otp = await this.ticket();
    } catch (failure) {
      if (attempt === this.#try) this.#noTicket(failure);
      return;
    }
    if (attempt === this.#try) this.#open(otp);
  }

  #noTicket(failure) {
    if (failure.isFinal) this.#become({ name: "ended", words: failure.message, needsLogin: true });
    else this.#comeBack(failure.retryAfterMs, failure.isAnswer ? failure.message : "");
  }

  #open(otp) {
    const socket = new this.WebSocket(this.url, [PROTOCOL, `otp.${otp}`]);
    socket.onmessage = ({ data }) => this.#heard(data);
    socket.onclose = ({ code }) => this.#closed(code);
    this.#socket = socket;
    this.#arm(OPENING_MS, () => {
      this.#abandon();
      this.#comeBack();
    });
  }

  // Open

  // Online begins with the first frame, not with the handshake: a proxy
  // answers 101 for a server that is gone.
  #heard(data) {
    if (this.state.name !== "online") {
      this.timers.clear(this.#timer);
      this.#onlineSince = this.now();
      this.#become({ name: "online" });
    }
    this.onFrame(data);
  }

  #closed(code) {
    const { verdict, words } = readCloseCode(code);
    const wasRefused = this.state.name === "connecting";
    const moveIn = this.#moveAt === null ? 0 : this.#moveAt - this.now();
    this.#abandon();
    if (verdict === "return") {
      this.#comeBack(moveIn);
      if (wasRefused) this.#learnWhy();
    } else this.#become({ name: "ended", words, needsLogin: verdict === "login" });
  }

  // Coming back

  // A browser does not tell why a WebSocket was refused.
  async #learnWhy() {
    const attempt = this.#try;
    const words = await this.why().catch(() => "");
    if (attempt === this.#try && this.state.name === "waiting") this.#become({ ...this.state, words });
  }

  #comeBack(atLeastMs = 0, words = "") {
    const delay = Math.max(0, atLeastMs) + this.backoff.next();
    this.#become({ name: "waiting", until: this.now() + delay, words });
    this.#arm(delay, () => this.#connect());
  }

  // Leaves the socket without waiting for its close handshake, which on a
  // dead line takes minutes.
  #abandon() {
    this.#try += 1;
    this.#moveAt = null;
    this.timers.clear(this.#timer);
    if (this.state.name === "online" && this.now() - this.#onlineSince >= STABLE_MS) this.backoff.reset();
    if (!this.#socket) return;
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#socket = null;
  }

  #arm(ms, act) {
    this.timers.clear(this.#timer);
    this.#timer = this.timers.set(act, ms);
  }

  #become(state) {
    this.state = state;
    this.onState(state);
  }
}

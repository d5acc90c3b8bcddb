// One lasting connection out of many short ones: opens, notices loss, comes back.

import { endingOf, HubbubError, SESSION_ENDED, TURNED_AWAY } from "./errors.js";
import { readFrame } from "./events.js";
import { fullJitter } from "./pace.js";

// For a ticket, whatever the application does for its token.
const TICKET_MS = 30_000;
// From the ticket to the first frame; a browser alone would wait minutes.
const OPENING_MS = 10_000;
// A connection that was shorter does not shorten the next pause, or a server that accepts and drops would be hammered.
const STABLE_MS = 5_000;
const PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 20_000;
// A line in doubt has so long to answer.
const DOUBT_MS = 3_000;
// Answers still to come are waited for so long, before a connection is left for another.
const MOVE_MS = 2_000;

const NO_NETWORK = "There is no network.";
const SILENT = "The server does not answer.";
// No server knows it, and to any event with an id there is an answer. Pages see no PINGs.
const PROBE = JSON.stringify({ type: "ping", id: "ping", payload: {} });

/** @typedef {"offline" | "connecting" | "online" | "closed"} State */

/**
 * What a line tells its owner.
 * @typedef {object} Owner
 * @property {(welcome: import("./events.js").Payload) => void} opened
 * @property {(frame: import("./events.js").Frame) => void} received
 * @property {() => void} dropped once for each `opened`
 * @property {() => void} changed the state is another one
 * @property {(code: number, reason: string) => void} ended it does not come back by itself
 * @property {() => boolean} hasUnanswered
 */

export class Line {
  /** @type {State} */
  state = "closed";
  reason = "";
  /** Seconds from the change of state to the next try; 0 where none is set. */
  retryIn = 0;
  /** It leaves this connection for another, and nothing more is to be written. */
  isMoving = false;
  /** @type {WebSocket | null} */
  #socket = null;
  #isOpen = false;
  #openedAt = 0;
  #heardAt = 0;
  // Counts tries to connect: what an abandoned one still brings is of no interest.
  #try = 0;
  #pauses = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #doubtTimer;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #watchTimer;
  #movesAt = 0;
  /** @type {AbortController | null} */
  #listening = null;

  /**
   * @param {import("./session.js").Session} session
   * @param {typeof WebSocket} WebSocket
   * @param {Owner} owner
   */
  constructor(session, WebSocket, owner) {
    this.session = session;
    this.WebSocket = WebSocket;
    this.owner = owner;
  }

  get isOpen() {
    return this.#isOpen;
  }

  start() {
    this.#listen();
    this.#connect();
  }

  /** @param {string} [reason] */
  stop(reason = "") {
    this.#listening?.abort();
    this.#abandon();
    this.#become("closed", reason);
  }

  /** @param {string} text */
  send(text) {
    this.#socket?.send(text);
  }

  retryNow() {
    if (this.state === "offline" && !this.#isOpen) this.#connect();
  }

  /** Leave a connection whose state is not what the server's is, or that is dead though nobody has said so. */
  lose(reason = SILENT) {
    if (!this.#isOpen) return;
    this.#abandon();
    this.#comeBack(0, reason);
  }

  /**
   * The server drains: everyone leaves, each at a moment of its own.
   * @param {number} within ms
   */
  moveWithin(within) {
    if (!this.#isOpen) return;
    const pause = Math.random() * Math.max(0, within || 0);
    this.#movesAt = Date.now() + pause;
    this.#arm(pause, () => {
      this.isMoving = true;
      this.#arm(MOVE_MS, () => this.#connect());
      this.answered();
    });
  }

  /** There is an answer less to wait for. */
  answered() {
    if (this.isMoving && !this.owner.hasUnanswered()) this.#connect();
  }

  // Opening

  async #connect() {
    this.#abandon();
    const attempt = this.#try;
    this.#become("connecting");
    this.#arm(TICKET_MS, () => this.#giveUp());
    try {
      const otp = await this.session.ticket();
      if (attempt === this.#try) this.#open(otp);
    } catch (error) {
      if (attempt === this.#try) this.#noTicket(error);
    }
  }

  /** @param {unknown} error */
  #noTicket(error) {
    const { status, message, retryAfter } = error instanceof HubbubError ? error : new HubbubError("internal", String(error));
    if (status === 401) this.end(SESSION_ENDED);
    else if (status === 403 && this.session.isForeign) this.end(TURNED_AWAY, message);
    else this.#comeBack(retryAfter * 1000, message);
  }

  /** @param {string} otp */
  #open(otp) {
    const socket = new this.WebSocket(`${this.session.base.replace(/^http/, "ws")}/ws`, ["hubbub.v1", `otp.${otp}`]);
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#heard(data);
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    socket.onerror = () => {}; // the close behind it says all
    this.#arm(OPENING_MS, () => this.#giveUp());
  }

  #giveUp() {
    this.#abandon();
    this.#comeBack(0, SILENT);
  }

  // Open

  /** @param {unknown} data */
  #heard(data) {
    this.#heardAt = Date.now();
    clearTimeout(this.#doubtTimer);
    this.#doubtTimer = undefined;
    const frame = typeof data === "string" ? readFrame(data) : null;
    // It is open with the first frame, not with the handshake: a proxy answers 101 for a server that is gone.
    if (!this.#isOpen && frame?.type === "welcome") this.#welcomed(frame.payload);
    else if (this.#isOpen && this.state !== "online") this.#become("online");
    else if (!this.#isOpen) return;
    if (frame && frame.type !== "welcome" && frame.id !== "ping") this.owner.received(frame);
  }

  /** @param {import("./events.js").Payload} welcome */
  #welcomed(welcome) {
    clearTimeout(this.#timer);
    this.#isOpen = true;
    this.#openedAt = Date.now();
    const { interval = 0, timeout = 0 } = welcome.heartbeat ?? {};
    if (interval) this.#watchTimer = setInterval(() => this.#watch(interval * 1000, timeout * 1000), interval * 500);
    this.owner.opened(welcome);
    if (this.#isOpen) this.#become("online");
  }

  /**
   * @param {number} interval ms
   * @param {number} timeout ms
   */
  #watch(interval, timeout) {
    if (Date.now() - this.#heardAt >= interval) this.#doubt(timeout);
  }

  /**
   * Ask for any answer at all, and leave when there is none.
   * @param {number} within ms
   */
  #doubt(within) {
    if (!this.#isOpen || this.#doubtTimer !== undefined) return;
    this.#doubtTimer = setTimeout(() => this.lose(), within);
    this.send(PROBE);
  }

  /**
   * @param {number} code
   * @param {string} told
   */
  #closed(code, told) {
    const wasOpen = this.#isOpen;
    const pause = Math.max(0, this.#movesAt - Date.now());
    const { isMoving } = this;
    this.#abandon();
    const isOver = endingOf(code) && !(code === SESSION_ENDED && this.session.isRenewable);
    if (isOver) this.end(code, told);
    else if (isMoving) this.#connect();
    else {
      this.#comeBack(pause);
      if (!wasOpen) this.#learnWhy();
    }
  }

  // Coming back

  async #learnWhy() {
    const attempt = this.#try;
    const until = Date.now() + this.retryIn * 1000;
    const reason = await this.session.whyRefused();
    if (reason && attempt === this.#try) this.#become("offline", reason, Math.max(0, until - Date.now()));
  }

  /**
   * @param {number} [atLeast] ms
   * @param {string} [reason]
   */
  #comeBack(atLeast = 0, reason = "") {
    const pause = atLeast + fullJitter(this.#pauses, PAUSE_MS, LONGEST_PAUSE_MS);
    this.#pauses += 1;
    this.#arm(pause, () => this.#connect());
    this.#become("offline", globalThis.navigator?.onLine === false ? NO_NETWORK : reason, pause);
  }

  /**
   * Do not come back.
   * @param {number} code
   * @param {string} [told] what the server has said
   */
  end(code, told) {
    const reason = endingOf(code, told);
    if (code === SESSION_ENDED) this.session.forget();
    this.stop(reason);
    this.owner.ended(code, reason);
  }

  // Leaves the socket without waiting for its closing handshake, which on a dead line takes minutes.
  #abandon() {
    this.#try += 1;
    this.#movesAt = 0;
    this.isMoving = false;
    clearTimeout(this.#timer);
    clearTimeout(this.#doubtTimer);
    clearInterval(this.#watchTimer);
    this.#doubtTimer = undefined;
    const [socket, wasOpen] = [this.#socket, this.#isOpen];
    this.#socket = null;
    this.#isOpen = false;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
    if (!wasOpen) return;
    if (Date.now() - this.#openedAt >= STABLE_MS) this.#pauses = 0;
    this.owner.dropped();
  }

  /**
   * @param {number} ms
   * @param {() => void} act
   */
  #arm(ms, act) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(act, ms);
  }

  /**
   * @param {State} state
   * @param {string} [reason]
   * @param {number} [pause] ms
   */
  #become(state, reason = "", pause = 0) {
    this.state = state;
    this.reason = reason;
    this.retryIn = pause / 1000;
    this.owner.changed();
  }

  // What the browser knows

  #listen() {
    this.#listening?.abort();
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    const wake = () => this.#wake();
    globalThis.addEventListener?.("online", wake, { signal });
    globalThis.addEventListener?.("offline", () => this.#networkGone(), { signal });
    // After sleep, or on the way back to a page that was put aside, the line may be dead without a word.
    globalThis.addEventListener?.("pageshow", wake, { signal });
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden || wake(), { signal });
  }

  // All the clients of an office have their network back in the same instant.
  #wake() {
    if (this.#isOpen) this.#doubt(DOUBT_MS);
    else if (this.state === "offline") this.#arm(Math.random() * PAUSE_MS, () => this.#connect());
  }

  // The server may be on this machine, where no network is needed: whether it is gone is known when it does not answer.
  #networkGone() {
    if (!this.#isOpen) return;
    this.#become("offline", NO_NETWORK);
    this.#doubt(DOUBT_MS);
  }
}

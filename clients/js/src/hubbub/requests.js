// Requests that have no answer yet: what to write next, what again, and what not. Knows no socket.

import { HubbubError } from "./errors.js";
import { fullJitter } from "./pace.js";

// The server forgets a key after five minutes; past that, asking again could do the same thing twice.
export const RESEND_MS = 240_000;
// How long a request that is refused for now is asked again.
const RETRY_MS = 30_000;
const RETRY_PAUSE_MS = 500;
const LONGEST_RETRY_PAUSE_MS = 5_000;

const WORTH_ANOTHER_TRY = new Set(["rate_limited", "unavailable"]);

/**
 * What becomes of a request that was written when the connection goes: it is written again with its key while the
 * server remembers that; written again, because twice is the same as once; given up; forgotten, because it meant that
 * connection; forgotten, and it has no answer at all. Those that mean a connection do not wait for its rooms.
 * @typedef {"keyed" | "repeatable" | "once" | "connection" | "fleeting"} Kind
 */

/** @typedef {import("./events.js").Payload} Payload */

/**
 * @typedef {object} Request
 * @property {number} number its id on the wire, and its place in the order
 * @property {string} type
 * @property {Payload} payload
 * @property {Kind} kind
 * @property {string | number} lane requests of one lane do not overtake each other
 * @property {(payload: Payload) => void} resolve
 * @property {(error: HubbubError) => void} reject
 * @property {number} writtenAt ms since 1970: that clock goes on while a machine sleeps; 0 for not yet
 * @property {number} refusedAt when it was refused first; 0 for not yet
 * @property {number} refusals
 * @property {number} notBefore
 */

export class Requests {
  #number = 0;
  /** @type {Request[]} sorted by number */
  #waiting = [];
  /** @type {Map<number, Request>} */
  #written = new Map();
  /** @type {Set<Request>} those that bring back rooms */
  #resumes = new Set();

  get hasUnanswered() {
    return this.#written.size > 0;
  }

  /**
   * @param {string} type
   * @param {Payload} payload
   * @param {Kind} kind
   * @param {string} [lane]
   * @param {{writtenAt?: number, notBefore?: number}} [times] `writtenAt` in ms since 1970, `notBefore` by the clock of `next`
   * @returns {Promise<Payload>}
   */
  add(type, payload, kind, lane, { writtenAt = 0, notBefore = 0 } = {}) {
    // Only the newest of its kind says anything.
    if (kind === "fleeting") this.#waiting = this.#waiting.filter((other) => other.type !== type || other.lane !== lane);
    return new Promise((resolve, reject) => {
      const number = ++this.#number;
      const times = { writtenAt, refusedAt: 0, refusals: 0, notBefore };
      const request = { number, type, payload, kind, lane: lane ?? number, resolve, reject, ...times };
      this.#waiting.push(request);
      if (type === "join_room" && kind === "connection") this.#resumes.add(request);
    });
  }

  /**
   * @param {string} type
   * @param {string | number} lane
   * @returns {Request | undefined} one that is not written, or else one without an answer
   */
  find(type, lane) {
    const is = (/** @type {Request} */ each) => each.type === type && each.lane === lane;
    return this.#waiting.find(is) ?? [...this.#written.values()].find(is);
  }

  /**
   * @param {number} now ms
   * @returns {Request | null} what to write now
   */
  next(now) {
    const resuming = [...this.#resumes];
    // Until the server has let this client back into its rooms, it would say "not in this room" to all the rest.
    const isHeld = resuming.some(({ refusals }) => refusals === 0);
    const busy = new Set(resuming.map(({ lane }) => lane));
    for (const [index, request] of this.#waiting.entries()) {
      const isOfConnection = request.kind === "connection";
      if (!isOfConnection && (isHeld || busy.has(request.lane))) continue;
      if (request.notBefore > now) {
        busy.add(request.lane);
        continue;
      }
      this.#waiting.splice(index, 1);
      if (request.kind === "fleeting") return request;
      request.writtenAt ||= Date.now();
      this.#written.set(request.number, request);
      return request;
    }
    return null;
  }

  /**
   * @param {number} now ms
   * @returns {number} ms until there may be something to write though nothing else happens; Infinity for never
   */
  wait(now) {
    return Math.min(...this.#waiting.filter((each) => each.notBefore > now).map((each) => each.notBefore - now));
  }

  // Answers

  /**
   * @param {unknown} id
   * @returns {Request | undefined} the request that an answer is for
   */
  written(id) {
    return this.#written.get(/** @type {number} */ (id));
  }

  /**
   * @param {Request} request
   * @param {Payload} payload
   */
  acked(request, payload) {
    this.#written.delete(request.number);
    this.#resumes.delete(request);
    request.resolve(payload);
  }

  /**
   * @param {Request} request
   * @param {Payload} error
   * @param {number} now ms
   * @returns {boolean} whether that is final
   */
  refused(request, error, now) {
    request.refusedAt ||= now;
    const pause = error.retry_after * 1000 || fullJitter(request.refusals, RETRY_PAUSE_MS, LONGEST_RETRY_PAUSE_MS);
    const isInTime = request.kind === "connection" || now + pause <= request.refusedAt + RETRY_MS;
    this.#written.delete(request.number);
    if (!WORTH_ANOTHER_TRY.has(error.code) || !isInTime) {
      this.#resumes.delete(request);
      request.reject(new HubbubError(error.code, error.message, error.retry_after));
      return true;
    }
    request.refusals += 1;
    request.notBefore = now + pause;
    request.writtenAt = 0; // nothing of it was kept, so its key is as good as new
    this.#insert(request);
    return false;
  }

  /** @param {Request} request */
  #insert(request) {
    const index = this.#waiting.findIndex((other) => other.number > request.number);
    this.#waiting.splice(index < 0 ? this.#waiting.length : index, 0, request);
  }

  // Ends

  /** The connection is gone: what was written is in doubt, and waits again where it may. */
  drop() {
    const written = [...this.#written.values()];
    this.#written.clear();
    this.#resumes.clear();
    this.#waiting = this.#waiting.filter(({ kind }) => kind !== "connection" && kind !== "fleeting");
    for (const request of written) {
      if (request.kind === "once") request.reject(unanswered(request.type));
      else if (request.kind !== "connection") this.#insert(request);
    }
  }

  /** Give up what was written so long ago that the server has forgotten its key. */
  expire() {
    const isOld = (/** @type {Request} */ { kind, writtenAt }) => kind === "keyed" && writtenAt > 0 && Date.now() - writtenAt > RESEND_MS;
    const old = this.#waiting.filter(isOld);
    this.#waiting = this.#waiting.filter((request) => !isOld(request));
    for (const request of old) request.reject(unanswered(request.type));
  }

  /** @param {HubbubError} error */
  fail(error) {
    const all = [...this.#written.values(), ...this.#waiting];
    this.#written.clear();
    this.#resumes.clear();
    this.#waiting = [];
    for (const request of all) request.reject(error);
  }
}

/** @param {string} type */
export function unanswered(type) {
  return new HubbubError("unanswered", `The connection went before ${type} was answered. It may have been done.`);
}

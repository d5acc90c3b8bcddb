// Messages that were written here and are not known to be kept: waiting, on the wire, or refused.
//
// Each has one client that sends it, which is the one that it was written in. Other tabs show it. When its tab is gone,
// one of the others takes it over, or the next one that is opened; the key makes sure that it is kept once.

import { HubbubError } from "./errors.js";
import { newKey } from "./events.js";
import { RESEND_MS, unanswered } from "./requests.js";

const MOST_WAITING = 1_000;
const OVER = new HubbubError("closed", "The conversation is over.");
// Failures after which the same key would not do.
const NEEDS_NEW_KEY = new Set(["conflict", "unanswered"]);

/** @typedef {{room: string, seq: number, sent: string}} Receipt */
/** @typedef {import("./store.js").Kept} Kept */

/** One message on its way. */
export class Outgoing {
  /** @type {"waiting" | "sending" | "sent" | "failed"} */
  state = "waiting";
  /** @type {HubbubError | null} */
  error = null;
  seq = 0;
  sent = "";
  sentAt = 0;
  isUnderWay = false;
  isRestored = false;
  /** @type {Promise<Receipt>} rejected when it has failed; there is another one after `retry` */
  done = new Promise(() => {});
  /** @type {(receipt: Receipt) => void} */
  resolve = () => {};
  /** @type {(error: HubbubError) => void} */
  reject = () => {};
  /** @type {Outbox} */
  #outbox;

  /**
   * @param {Outbox} outbox
   * @param {string} owner
   * @param {string} key
   * @param {string} room
   * @param {string} text
   * @param {number} at
   */
  constructor(outbox, owner, key, room, text, at) {
    this.#outbox = outbox;
    this.owner = owner;
    this.key = key;
    this.room = room;
    this.text = text;
    this.at = at;
    this.promise();
  }

  promise() {
    this.done = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.done.catch(() => {}); // whoever does not ask is not told
  }

  /** Send one that failed again. */
  retry() {
    this.#outbox.retry(this);
  }

  /** Forget it. What was on the wire may have been kept all the same. */
  discard() {
    this.#outbox.discard(this);
  }
}

/**
 * @typedef {object} Sender
 * @property {(outgoing: Outgoing) => boolean} isReady whether it can be sent now
 * @property {(outgoing: Outgoing) => Promise<Receipt>} ask
 * @property {(outgoing: Outgoing) => void} told its state is another one
 */

export class Outbox {
  /** @type {Map<string, Outgoing>} */
  #all = new Map();
  #me = newKey();
  #scope = "";
  #isFlushing = false;
  #lastAt = 0;
  /** @type {Promise<void>} */
  #opening = Promise.resolve();
  /** @type {BroadcastChannel | null} */
  #channel = null;
  #release = () => {};
  /** @type {Set<string>} other clients whose end is waited for */
  #others = new Set();

  /**
   * @param {import("./store.js").Store} store
   * @param {boolean} isShared whether other tabs use the same store
   * @param {Sender} sender
   */
  constructor(store, isShared, sender) {
    this.store = store;
    this.isShared = isShared;
    this.sender = sender;
  }

  /** @param {string} [room] */
  in(room) {
    const all = [...this.#all.values()].sort((one, other) => one.at - other.at);
    return room === undefined ? all : all.filter((outgoing) => outgoing.room === room);
  }

  /**
   * @param {string} room
   * @param {string} text
   * @param {string} [key]
   */
  send(room, text, key = newKey()) {
    const known = this.#all.get(key);
    if (known) return known;
    this.#lastAt = Math.max(Date.now(), this.#lastAt + 0.001);
    const outgoing = new Outgoing(this, this.#me, key, room, text, this.#lastAt);
    const isFull = this.#all.size >= MOST_WAITING;
    if (isFull || !this.#scope) {
      const full = new HubbubError("full", `${MOST_WAITING} messages are waiting already.`);
      this.#become(outgoing, "failed", isFull ? full : OVER);
      return outgoing;
    }
    this.#all.set(key, outgoing);
    this.#keep([outgoing]);
    this.sender.told(outgoing);
    this.flush();
    return outgoing;
  }

  /** @param {Outgoing} outgoing */
  retry(outgoing) {
    const { key, error } = outgoing;
    if (outgoing.state !== "failed") return;
    if (error && NEEDS_NEW_KEY.has(error.code)) {
      this.#drop(key);
      outgoing.key = newKey();
    }
    if (error && NEEDS_NEW_KEY.has(error.code)) outgoing.sentAt = 0;
    outgoing.owner = this.#me;
    outgoing.promise();
    this.#all.set(outgoing.key, outgoing);
    this.#become(outgoing, "waiting");
    this.#keep([outgoing]);
    this.flush();
  }

  /** @param {Outgoing} outgoing */
  discard(outgoing) {
    outgoing.reject(new HubbubError("closed", "It was discarded."));
    this.#drop(outgoing.key);
    this.sender.told(outgoing);
  }

  /** Send what can be sent now, in order. */
  async flush() {
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    try {
      await this.#opening;
      for (let ready; (ready = this.#ready()).length > 0; ) {
        const now = Date.now();
        const fresh = ready.filter((outgoing) => !outgoing.sentAt);
        for (const outgoing of ready) outgoing.isUnderWay = true;
        for (const outgoing of fresh) outgoing.sentAt = now;
        if (fresh.length > 0) await this.#keep(fresh);
        for (const outgoing of ready) this.#send(outgoing);
      }
    } finally {
      this.#isFlushing = false;
    }
  }

  #ready() {
    return this.in().filter(
      (each) => each.owner === this.#me && each.state === "waiting" && !each.isUnderWay && this.sender.isReady(each),
    );
  }

  /** @param {Outgoing} outgoing */
  async #send(outgoing) {
    try {
      if (Date.now() - outgoing.sentAt > RESEND_MS) throw unanswered("the message");
      this.#become(outgoing, "sending");
      const { seq, sent } = await this.sender.ask(outgoing);
      this.#drop(outgoing.key, { seq, sent });
      this.#sent(outgoing, seq, sent);
    } catch (error) {
      outgoing.isUnderWay = false;
      const failure = error instanceof HubbubError ? error : new HubbubError("internal", String(error));
      if (!this.#all.has(outgoing.key)) return;
      // The conversation is over, and may go on after signing in again.
      if (failure.code === "closed") this.#become(outgoing, "waiting");
      else this.#fail(outgoing, failure);
    }
  }

  /**
   * @param {Outgoing} outgoing
   * @param {number} seq
   * @param {string} sent
   */
  #sent(outgoing, seq, sent) {
    Object.assign(outgoing, { seq, sent });
    this.#become(outgoing, "sent");
    outgoing.resolve({ room: outgoing.room, seq, sent });
  }

  /**
   * @param {Outgoing} outgoing
   * @param {HubbubError} error
   */
  #fail(outgoing, error) {
    this.#become(outgoing, "failed", error);
    this.#keep([outgoing]);
  }

  /**
   * @param {Outgoing} outgoing
   * @param {Outgoing["state"]} state
   * @param {HubbubError | null} [error]
   */
  #become(outgoing, state, error = null) {
    outgoing.state = state;
    outgoing.error = error;
    if (error) outgoing.reject(error);
    this.sender.told(outgoing);
  }

  /** The connection is gone, or is back: what is on its way waits, or does not. */
  show(isOnline = false) {
    const [from, to] = isOnline ? [/** @type {const} */ ("waiting"), /** @type {const} */ ("sending")] : [/** @type {const} */ ("sending"), /** @type {const} */ ("waiting")];
    for (const outgoing of this.in()) if (outgoing.isUnderWay && outgoing.state === from) this.#become(outgoing, to);
  }

  /**
   * A room goes by another name than was thought.
   * @param {string} from
   * @param {string} to
   */
  move(from, to) {
    for (const outgoing of this.in(from)) outgoing.room = to;
  }

  // What is kept, and other tabs

  /**
   * @param {Outgoing[]} those
   */
  async #keep(those) {
    const scope = this.#scope;
    const entries = those.map(({ key, owner, room, text, at, sentAt, error }) => {
      return { key, scope, owner, room, text, at, sentAt, error: error && { code: error.code, message: error.message } };
    });
    this.#channel?.postMessage({ entries });
    // Without a place to keep it, it is sent all the same.
    await this.store.put(entries).catch((error) => console.warn(error));
  }

  /**
   * @param {string} key
   * @param {{seq: number, sent: string}} [receipt]
   */
  #drop(key, receipt) {
    this.#all.delete(key);
    this.#channel?.postMessage({ gone: key, receipt });
    this.store.delete(key).catch((error) => console.warn(error));
  }

  /**
   * Show, and send, what this user has not sent.
   * @param {string} scope
   */
  open(scope) {
    if (scope === this.#scope) return this.#opening;
    this.close();
    this.#scope = scope;
    this.#opening = this.#open(scope).catch((error) => console.warn(error));
    return this.#opening;
  }

  /** @param {string} scope */
  async #open(scope) {
    if (this.isShared) {
      globalThis.navigator?.locks?.request(`hubbub:${this.#me}`, () => new Promise((resolve) => (this.#release = () => resolve(undefined))));
      this.#channel = new BroadcastChannel(`hubbub:${scope}`);
      this.#channel.onmessage = ({ data }) => this.#hear(data);
    }
    this.#take(await this.store.all(scope));
  }

  /** Forget all that is waiting, here; it stays where it is kept. */
  close() {
    this.#scope = "";
    for (const outgoing of this.#all.values()) outgoing.reject(OVER);
    this.#all.clear();
    this.#others.clear();
    this.#channel?.close();
    this.#channel = null;
    this.#release();
  }

  /** Discard all that is waiting. */
  clear() {
    for (const outgoing of this.in()) this.discard(outgoing);
  }

  /** @param {{entries?: Kept[], gone?: string, receipt?: {seq: number, sent: string}}} news */
  #hear({ entries = [], gone = "", receipt }) {
    this.#take(entries);
    const outgoing = this.#all.get(gone);
    this.#all.delete(gone);
    if (outgoing && receipt) this.#sent(outgoing, receipt.seq, receipt.sent);
    else if (outgoing) this.sender.told(outgoing);
  }

  /** @param {Kept[]} entries */
  #take(entries) {
    for (const { key, owner, room, text, at, sentAt, error } of entries) {
      const known = this.#all.get(key);
      if (known && known.owner === this.#me && owner === this.#me) continue;
      const outgoing = known ?? new Outgoing(this, owner, key, room, text, at);
      Object.assign(outgoing, { owner, sentAt, isRestored: true });
      this.#all.set(key, outgoing);
      const failure = error && new HubbubError(error.code, error.message);
      this.#become(outgoing, failure ? "failed" : sentAt ? "sending" : "waiting", failure);
      this.#awaitEnd(owner);
    }
  }

  /**
   * Take over what a client leaves behind.
   * @param {string} owner
   */
  #awaitEnd(owner) {
    if (owner === this.#me || this.#others.has(owner)) return;
    this.#others.add(owner);
    const scope = this.#scope;
    const adopt = () => (scope === this.#scope ? this.#adopt(owner) : undefined);
    const { locks } = globalThis.navigator ?? {};
    if (locks) locks.request(`hubbub:${owner}`, adopt);
    else adopt(); // nobody can tell; that two send it does no harm
  }

  /** @param {string} owner */
  async #adopt(owner) {
    const left = (await this.store.all(this.#scope)).filter((entry) => entry.owner === owner);
    this.#take(left);
    this.#others.delete(owner);
    for (const { key } of left) {
      const outgoing = this.#all.get(key);
      if (!outgoing || outgoing.owner !== owner) continue;
      outgoing.owner = this.#me;
      if (outgoing.state === "sending") this.#become(outgoing, "waiting");
    }
    await this.#keep(this.in().filter((each) => left.some(({ key }) => key === each.key)));
    this.flush();
  }
}

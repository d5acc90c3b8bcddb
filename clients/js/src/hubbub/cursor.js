// Which messages of a room to show next: each once, in order, and no hole that is not told.
//
// Messages come from three sides: live, in the answer that resumes a room, and from history. All go through here.

// Messages that wait for an earlier one. Beyond it they are dropped, and asked for again.
const MAX_HELD = 256;

/** @typedef {import("./events.js").Payload} Payload */

/**
 * What to show: something kept, or that what was kept is gone.
 * @typedef {{type: string, payload: Payload, isLive: boolean} | {gap: {from: number, to: number, isNewLog: boolean}}} Shown
 */

export class Cursor {
  /** @type {"out" | "entering" | "in" | "away"} entering: asked for, and not answered; away: in, until its connection went */
  state = "out";
  /** Names the server's log: seqs of two epochs have nothing to do with each other. */
  epoch = "";
  /** The newest seq known to exist. */
  seq = 0;
  /** The newest seq shown. */
  last = 0;
  /** Whether `last` means anything. */
  isPlaced = false;
  /** @type {Map<number, Payload>} */
  #held = new Map();

  /** Whether there are messages that did not come by themselves, and have to be asked for. */
  get isBehind() {
    return this.state === "in" && this.last < this.seq;
  }

  get since() {
    return { epoch: this.epoch, seq: this.last };
  }

  /**
   * Take the answer to a join that asked for no resumption; its messages are for whoever joined.
   * @param {Payload} entered
   */
  enter(entered) {
    if (!this.isPlaced) this.last = this.seq = newest(entered);
    this.#become(entered);
    this.seq = Math.max(this.seq, entered.seq);
    return this.#release();
  }

  /**
   * Take the answer to a join that asked for what came after `since`.
   * @param {Payload} entered
   */
  resume(entered) {
    // An earlier epoch's place may be part of the log that goes on under another one.
    const shown = entered.recovered && entered.seq >= this.last ? [] : this.#startOver(entered);
    this.#become(entered);
    this.seq = Math.max(this.last, newest(entered));
    for (const payload of sorted(entered.messages)) shown.push(...this.#take(payload, false));
    return [...shown, ...this.#release()];
  }

  /** @param {Payload} entered */
  #become({ epoch }) {
    this.epoch = epoch;
    this.state = "in";
    this.isPlaced = true;
  }

  /**
   * @param {Payload} entered
   * @returns {Shown[]}
   */
  #startOver({ messages, seq, epoch }) {
    const first = sorted(messages)[0]?.seq ?? seq + 1;
    const isNewLog = epoch !== this.epoch || seq < this.last;
    if (!isNewLog && first <= this.last + 1) return []; // refused, and yet the newest page reaches back to what was shown
    const from = isNewLog ? 1 : this.last + 1;
    this.last = first - 1;
    return [{ gap: { from, to: first - 1, isNewLog } }];
  }

  /** The connection is gone; what was held will come again. */
  drop() {
    if (this.state === "in") this.state = "away";
    this.#held.clear();
  }

  leave() {
    this.state = "out";
    this.isPlaced = false;
    this.#held.clear();
  }

  /**
   * The log goes on under another epoch, with all that it had up to a seq.
   * @param {Payload} news
   * @returns {boolean} false where messages were shown that the log has lost: only a resumption tells what is there now
   */
  goOn({ epoch, seq }) {
    if (this.state !== "in") return true; // the answer to the join that is on its way says which epoch it is
    if (this.last > seq) return false;
    this.epoch = epoch;
    return true;
  }

  /**
   * Take a live message.
   * @param {string} type
   * @param {Payload} payload
   * @returns {Shown[]}
   */
  hear(type, payload) {
    if (this.state === "in") return this.#take({ ...payload, type }, true);
    if (this.state !== "out") this.#hold({ ...payload, type }); // the answer to the join is still to come
    return [];
  }

  /**
   * Take the page of history that follows `after`; what it lacks is not kept any more.
   * @param {Payload[]} messages
   * @param {number} after
   * @returns {Shown[]}
   */
  fill(messages, after) {
    const later = sorted(messages).filter(({ seq }) => seq > this.last);
    // When `last` has moved on since it was asked, the page says nothing about what follows `last` now.
    const shown = after === this.last ? this.#skipTo(Math.min(...this.#known(later), this.seq + 1)) : [];
    for (const payload of later) shown.push(...this.#take(payload, false));
    return [...shown, ...this.#release()];
  }

  /** @param {Payload[]} later */
  #known(later) {
    return [...later.map(({ seq }) => seq), ...this.#held.keys()].filter((seq) => seq > this.last);
  }

  /**
   * Take the server's word that it does not keep these any more.
   * @param {number} from
   * @param {number} to
   * @returns {Shown[]}
   */
  lose(from, to) {
    this.seq = Math.max(this.seq, to);
    // Where earlier ones are missing too, asking for those finds this gap.
    if (this.state !== "in" || from > this.last + 1) return [];
    return [...this.#skipTo(to + 1), ...this.#release()];
  }

  /**
   * @param {number} seq
   * @returns {Shown[]}
   */
  #skipTo(seq) {
    const from = this.last + 1;
    this.last = Math.max(this.last, seq - 1);
    return this.last >= from ? [{ gap: { from, to: this.last, isNewLog: false } }] : [];
  }

  /**
   * @param {Payload} message with its `type`, if it is no chat message
   * @param {boolean} isLive
   * @returns {Shown[]}
   */
  #take(message, isLive) {
    this.seq = Math.max(this.seq, message.seq);
    if (message.seq === this.last + 1) {
      this.last = message.seq;
      return [shownOf(message, isLive), ...this.#release()];
    }
    if (message.seq > this.last) this.#hold(message);
    return [];
  }

  /** @param {Payload} message */
  #hold(message) {
    if (this.#held.size < MAX_HELD) this.#held.set(message.seq, message);
    else this.seq = Math.max(this.seq, message.seq);
  }

  /** @returns {Shown[]} what was held and follows now */
  #release() {
    const shown = [];
    for (let held; (held = this.#held.get(this.last + 1)); ) {
      this.#held.delete(this.last + 1);
      this.last += 1;
      shown.push(shownOf(held, true));
    }
    for (const seq of this.#held.keys()) if (seq <= this.last) this.#held.delete(seq);
    this.seq = Math.max(this.seq, this.last, ...this.#held.keys());
    return shown;
  }
}

/**
 * @param {Payload} message
 * @param {boolean} isLive
 * @returns {Shown}
 */
function shownOf({ type = "new_message", ...payload }, isLive) {
  return { type, payload, isLive };
}

/** @param {Payload} entered */
function newest({ seq, messages }) {
  return Math.max(seq, 0, ...sorted(messages).slice(-1).map((message) => message.seq));
}

/**
 * @param {Payload[] | undefined} messages
 * @returns {Payload[]} by seq
 */
export function sorted(messages) {
  return [...(messages ?? [])].sort((one, other) => one.seq - other.seq);
}

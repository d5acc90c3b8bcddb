// One room: where this client is in it, who is there, and what its user has not read.

import { Cursor, sorted } from "./cursor.js";

// What the server counts to.
const MOST_UNREAD = 100;
// Messages whose reactions are known here, so that one more can be told with those that there are.
const MOST_SEEN = 2_000;

/** @typedef {import("./events.js").Payload} Payload */
/** @typedef {import("./message.js").Message} Message */
/** @typedef {import("./message.js").Reaction} Reaction */

export class Room extends Cursor {
  /** Whether the user follows it, on whatever device. */
  followed = false;
  muted = false;
  /** How far the user has read, on whatever device. */
  read = 0;
  /** Messages of others after `read`; 100 for so many or more. */
  unread = 0;
  /** Those among them that name the user, as far as they were heard here. */
  mentions = 0;
  /** When something was said last, RFC 3339. */
  active = "";
  /** @type {Set<string>} users who are there, 1,000 at most */
  members = new Set();
  /** How many there are. */
  count = 0;
  /** @type {Set<string>} others who type now */
  typing = new Set();
  // The newest message that is in `unread`.
  #countedTo = 0;
  // Those of `unread` that were heard here; there are no others after `#heardFrom`.
  /** @type {{seq: number, isMention: boolean}[]} */
  #heard = [];
  #heardFrom = Infinity;
  /** @type {Map<number, Reaction[] | "deleted">} */
  #seen = new Map();

  /** @param {string} room */
  constructor(room) {
    super();
    this.room = room;
    this.title = room;
  }

  /**
   * Take the server's word on a room that the user follows.
   * @param {Payload} entry
   */
  follow({ title, epoch, seq = 0, read = 0, unread = 0, muted = false, active, followed = true }) {
    this.followed = followed;
    this.title = title ?? this.room;
    this.muted = muted;
    this.active = active ?? "";
    if (!this.isPlaced) {
      this.epoch = epoch ?? "";
      this.seq = this.#heardFrom = seq;
      this.#heard = [];
    }
    this.markRead(read);
    this.unread = unread;
    this.#countedTo = Math.max(this.#countedTo, seq);
  }

  /** @param {Payload} entered the answer to a join */
  take({ title, read = 0, members = [], count }) {
    this.title = title ?? this.room;
    this.members = new Set(members);
    this.count = count ?? members.length;
    this.typing.clear();
    this.markRead(read);
  }

  // What is unread

  /**
   * @param {Payload} entered the answer to a join
   * @returns {number | null} the seq after which something was said that neither the server has counted nor the answer has
   */
  uncountedAfter({ seq, messages }) {
    const first = sorted(messages)[0]?.seq ?? seq + 1;
    return this.followed && first > this.#countedTo + 1 ? this.#countedTo : null;
  }

  /**
   * @param {Message[]} messages that follow each other, in order
   * @param {RegExp} mention
   */
  see(messages, mention) {
    for (const message of messages) this.#see(message, mention);
    if (messages.length > 0) this.#heardFrom = Math.min(this.#heardFrom, messages[0].seq - 1);
  }

  /**
   * @param {Message} message
   * @param {RegExp} mention
   */
  #see({ seq, type, text, sent, isOwn, deleted, reactions = [] }, mention) {
    this.keep(seq, deleted ? "deleted" : reactions);
    if (type !== "new_message" || deleted) return;
    if (sent > this.active) this.active = sent;
    if (isOwn || seq <= this.read || this.#heard.some((each) => each.seq === seq)) return;
    this.#heard.push({ seq, isMention: mention.test(text) });
    if (seq > this.#countedTo) this.unread += 1;
    if (this.#heard.length > MOST_UNREAD) this.#heardFrom = this.#heard.shift()?.seq ?? 0;
    this.#countedTo = Math.max(this.#countedTo, seq);
    this.#tally(this.unread);
  }

  /** @param {number} unread */
  #tally(unread) {
    this.unread = Math.min(MOST_UNREAD, Math.max(this.#heard.length, unread));
    this.mentions = this.#heard.filter(({ isMention }) => isMention).length;
  }

  /**
   * @param {number} seq
   * @returns {boolean} whether that is further than before
   */
  markRead(seq) {
    if (!(seq > this.read)) return false;
    this.read = seq;
    this.#heard = this.#heard.filter((each) => each.seq > seq);
    this.#tally(seq >= this.#heardFrom ? 0 : Math.min(this.unread, this.seq - seq));
    return true;
  }

  /** @param {number} seq of a message that was deleted */
  unsee(seq) {
    this.keep(seq, "deleted");
    const before = this.#heard.length;
    this.#heard = this.#heard.filter((each) => each.seq !== seq);
    this.#tally(this.unread - (before - this.#heard.length));
  }

  // What is seen

  /**
   * @param {number} seq
   * @param {Reaction[] | "deleted"} reactions
   */
  keep(seq, reactions) {
    this.#seen.delete(seq);
    this.#seen.set(seq, reactions);
    if (this.#seen.size > MOST_SEEN) this.#seen.delete(/** @type {number} */ (this.#seen.keys().next().value));
  }

  /**
   * @param {number} seq
   * @returns {Reaction[] | "deleted" | null} null where that is not known
   */
  reactionsOf(seq) {
    return this.#seen.get(seq) ?? null;
  }

  /** Another log, other seqs. */
  forget() {
    this.#seen.clear();
    this.#heard = [];
    this.read = this.unread = this.mentions = this.#countedTo = this.#heardFrom = 0;
  }

  leave() {
    super.leave();
    this.members.clear();
    this.typing.clear();
    this.count = 0;
  }
}

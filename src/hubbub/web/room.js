// The room the reader is in: its messages, who is here, and where to resume.

import { Timeline } from "./timeline.js";

export class Room {
  timeline = new Timeline();
  epoch = null;
  // The last seq delivered. An ack does not move it: earlier messages of
  // others may still be on their way when our own is acked.
  cursor = 0;
  isJoined = false;
  wasJoined = false;
  // User names, sorted, or null where they are not known. A server names no more
  // than 1,000 of them; `unlisted` counts the others.
  members = null;
  unlisted = 0;
  hasEarlier = false;

  // `title` is the name as it is shown.
  constructor(name, title = name) {
    this.name = name;
    this.title = title;
  }

  get since() {
    return { epoch: this.epoch, seq: this.cursor };
  }

  // Takes the ack of join_room or change_room, the first or a later one.
  enter(ack) {
    const messages = Array.isArray(ack.messages) ? ack.messages : [];
    const outcome = this.wasJoined ? judgeReturn(this, ack, messages) : "fresh";
    // A log that goes on under another epoch with all that is shown here is still the same to its readers.
    if (outcome !== "resumed" && ack.epoch !== this.epoch && this.wasJoined) this.#beginEpoch();
    this.epoch = ack.epoch ?? null;
    if (outcome === "fresh") this.timeline.clear();
    for (const message of messages) if (outcome === "fresh" || message.seq > this.cursor) this.#put(message);
    this.cursor = Math.max(this.cursor, ack.seq ?? 0, ...messages.map((message) => message.seq));
    if (outcome === "hole") this.timeline.divide(this.cursor, "Reconnected");
    // A server that sends no page of history has no earlier ones to offer either.
    if (outcome === "fresh") this.hasEarlier = "messages" in ack && (this.timeline.oldestSeq ?? this.cursor + 1) > 1;
    if (typeof ack.title === "string") this.title = ack.title;
    this.takeMembers(ack);
    this.isJoined = this.wasJoined = true;
    return outcome;
  }

  // Returns whether the message is news.
  hear(message) {
    if (message.seq <= this.cursor) return false;
    this.cursor = message.seq;
    return this.#put(message);
  }

  // Our own message, placed by its ack, before its copy comes.
  keepOwn(message) {
    return this.timeline.add(message);
  }

  missed(from, to) {
    this.timeline.divide(from - 1, "Some messages here are no longer kept");
    this.cursor = Math.max(this.cursor, to);
  }

  // The log goes on under another epoch, with all that it had up to seq. Returns
  // false where more was shown: then only a resumption tells what is there now.
  goOn({ epoch, seq }) {
    if (this.cursor > seq) return false;
    this.epoch = epoch;
    return true;
  }

  addEarlier({ messages = [], more = false }) {
    for (const message of messages) this.#put(message);
    this.hasEarlier = more && messages.length > 0;
  }

  // Takes `members` and `count` of an ack; an old server sends no count, and all members.
  takeMembers({ members, count }) {
    this.members = Array.isArray(members) ? [...members].sort() : null;
    this.unlisted = this.members && Number.isInteger(count) ? Math.max(0, count - this.members.length) : 0;
  }

  memberJoined(user) {
    if (this.members && !this.members.includes(user)) this.members = [...this.members, user].sort();
  }

  memberLeft(user) {
    if (!this.members) return;
    if (!this.members.includes(user)) this.unlisted = Math.max(0, this.unlisted - 1);
    this.members = this.members.filter((member) => member !== user);
  }

  #beginEpoch() {
    this.timeline.beginEra();
    this.cursor = 0;
  }

  // An application's own events share the log and its seqs; this page has no words for them.
  #put({ type, seq, from, message, sent }) {
    if (type !== undefined && type !== "new_message") return false;
    return this.timeline.add({ seq, from, message, sent });
  }
}

// "resumed": nothing was missed. "fresh": show the server's page instead of
// ours. "hole": the server told us nothing, so keep ours and say so.
export function judgeReturn({ epoch, cursor }, ack, messages) {
  if (ack.recovered === true) return "resumed";
  const isSameLog = epoch !== null && ack.epoch === epoch;
  // change_room takes no `since`, yet its page may overlap what we have.
  if (isSameLog && (ack.seq === cursor || messages[0]?.seq <= cursor + 1)) return "resumed";
  return messages.length > 0 ? "fresh" : "hole";
}

// Messages written here and not yet acked: waiting, on the wire, or refused.

export const OUTBOX_LIMIT = 100;
// The server forgets a key after five minutes; past that, sending again by
// ourselves could say the same thing twice, so the writer decides.
export const RESEND_MS = 4 * 60_000;

export class Outbox {
  #entries = new Map();

  constructor({ newKey }) {
    this.newKey = newKey;
  }

  get isFull() {
    return this.#entries.size >= OUTBOX_LIMIT;
  }

  add({ room, message, now }) {
    const entry = { key: this.newKey(), room, message, writtenAt: now, sentAt: null, state: "waiting", words: "" };
    this.#entries.set(entry.key, entry);
    return entry;
  }

  // A room goes by another name than was thought.
  move(from, to) {
    for (const entry of this.in(from)) entry.room = to;
  }

  in(room) {
    return [...this.#entries.values()].filter((entry) => entry.room === room);
  }

  waiting(room) {
    return this.in(room).filter((entry) => entry.state === "waiting");
  }

  sent(entry, now) {
    entry.state = "sent";
    entry.sentAt ??= now;
  }

  remove(key) {
    const entry = this.#entries.get(key);
    this.#entries.delete(key);
    return entry;
  }

  fail(key, words, { newKey = false } = {}) {
    const entry = this.#entries.get(key);
    if (!entry) return;
    entry.state = "failed";
    entry.words = words;
    if (newKey) this.#rekey(entry);
  }

  retry(key) {
    const entry = this.#entries.get(key);
    if (entry?.state === "failed") entry.state = "waiting";
  }

  // The connection is gone: what was on the wire is in doubt, and waits again.
  disconnected(now) {
    for (const entry of this.#entries.values()) if (entry.state === "sent") entry.state = "waiting";
    this.expire(now);
  }

  expire(now) {
    for (const entry of this.#entries.values()) {
      const isOld = entry.sentAt !== null && now - entry.sentAt > RESEND_MS;
      if (entry.state === "waiting" && isOld) this.fail(entry.key, "It may not have arrived.", { newKey: true });
    }
  }

  #rekey(entry) {
    this.#entries.delete(entry.key);
    entry.key = this.newKey();
    entry.sentAt = null;
    this.#entries.set(entry.key, entry);
  }
}

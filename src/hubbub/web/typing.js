// Typing notices: when to tell the others, and who is typing now.

// Told again while typing goes on, so that a lost "off" fades by itself.
export const REPEAT_MS = 3_000;
export const IDLE_MS = 5_000;
export const FADE_MS = 6_000;

// Each method returns true or false to send as `on`, or null for nothing to say.
export class TypingTeller {
  #toldAt = null;
  #keyAt = 0;

  input(hasText, now) {
    this.#keyAt = now;
    if (!hasText) return this.stop();
    if (this.#toldAt !== null && now - this.#toldAt < REPEAT_MS) return null;
    this.#toldAt = now;
    return true;
  }

  tick(now) {
    return now - this.#keyAt > IDLE_MS ? this.stop() : null;
  }

  stop() {
    if (this.#toldAt === null) return null;
    this.#toldAt = null;
    return false;
  }

  // The server has dropped the notice by itself: the room or the connection changed.
  forget() {
    this.#toldAt = null;
  }
}

export class Typists {
  #since = new Map();

  hear(user, on, now) {
    if (on) this.#since.set(user, now);
    else this.#since.delete(user);
  }

  names(now) {
    return [...this.#since].filter(([, since]) => now - since < FADE_MS).map(([user]) => user);
  }

  forget() {
    this.#since.clear();
  }
}

export function typingWords(names) {
  if (names.length === 0) return "";
  if (names.length === 1) return `${names[0]} is typing…`;
  if (names.length === 2) return `${names[0]} and ${names[1]} are typing…`;
  return "Several people are typing…";
}

// The messages of one room, in the server's order, each once, and not too many.

export const TIMELINE_LIMIT = 1000;

// An entry is a message {seq, from, message, sent, key?} or a divider {seq, words}.
// Seqs count from the start again when the server's log does (a new epoch), so
// each entry also carries the era it was heard in, and (era, seq) is its place.
export class Timeline {
  entries = [];
  #era = 0;

  constructor(limit = TIMELINE_LIMIT) {
    this.limit = limit;
  }

  // Returns false for a message that is here already.
  add(entry) {
    const place = { ...entry, era: this.#era };
    let index = this.entries.length;
    // Almost always zero steps: messages come in order, only history does not.
    while (index > 0 && isAfter(this.entries[index - 1], place)) index -= 1;
    const before = this.entries[index - 1];
    if (before && before.era === place.era && before.seq === place.seq) return false;
    this.entries.splice(index, 0, place);
    if (this.entries.length > this.limit) this.entries.splice(0, this.entries.length - this.limit);
    return true;
  }

  // A line between the messages up to `seq` and those after it.
  divide(seq, words) {
    return this.add({ seq: seq + 0.5, words });
  }

  beginEra() {
    this.#era += 1;
  }

  clear() {
    this.entries = [];
  }

  // The seq to ask history before; undefined when no message of this era is here.
  get oldestSeq() {
    return this.entries.find((entry) => entry.era === this.#era && entry.from !== undefined)?.seq;
  }

  get isFull() {
    return this.entries.length >= this.limit;
  }
}

function isAfter(one, other) {
  return one.era > other.era || (one.era === other.era && one.seq > other.seq);
}

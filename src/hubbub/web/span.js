// The part of a room's log that is loaded: messages in the server's order, each once, with no hole in between.

// An entry is a message as the client tells it, with `at` (a Date) and kind "message", or {kind: "gap", seq, to}.
// `first` and `last` are the seqs that the span reaches from and to; those that are no messages count.
export class Span {
  entries = [];
  first = 0;
  last = 0;
  hasBefore = false;
  hasAfter = false;

  // Begins anew with a page of the log: {messages, first, last}.
  reset({ messages, first, last }, { hasBefore, hasAfter }) {
    this.entries = messages.filter(isShown).map(entryOf);
    Object.assign(this, { first, last, hasBefore, hasAfter });
  }

  // Takes a page that ends right before the span.
  prepend({ messages, more, first }) {
    const older = messages.filter((message) => isShown(message) && !(message.seq >= this.first));
    this.entries.unshift(...older.map(entryOf));
    if (first > 0) this.first = Math.min(first, this.first);
    this.hasBefore = more && first > 0;
    return older.length;
  }

  // Takes a page that begins right after the span.
  append({ messages, more, last }) {
    const newer = messages.filter((message) => isShown(message) && message.seq > this.last);
    this.entries.push(...newer.map(entryOf));
    this.last = Math.max(this.last, last);
    this.first ||= messages[0]?.seq ?? 0;
    this.hasAfter = more && last > 0;
    return newer.length;
  }

  // Takes the next message as it is said; false where it is here already, or is none that is shown.
  add(message) {
    if (message.seq <= this.last) return false;
    this.last = message.seq;
    this.first ||= message.seq;
    if (!isShown(message)) return false;
    this.entries.push(entryOf(message));
    return true;
  }

  lose(from, to) {
    if (to <= this.last) return false;
    this.entries.push({ kind: "gap", seq: from, to });
    this.last = to;
    return true;
  }

  // change: takes the entry, returns its new fields. Entries are replaced, never written to, so that views can compare.
  change(seq, change) {
    const index = this.indexOf(seq);
    const entry = this.entries[index];
    if (entry?.seq !== seq || entry.kind !== "message") return false;
    this.entries[index] = { ...entry, ...change(entry) };
    return true;
  }

  // The index of the first entry whose seq is this one or later.
  indexOf(seq) {
    let low = 0;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.entries[middle].seq < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // Drops entries before the index; they are loaded again when they are wanted.
  dropBefore(index) {
    if (index <= 0 || index >= this.entries.length) return 0;
    this.entries.splice(0, index);
    this.first = this.entries[0].seq;
    this.hasBefore = true;
    return index;
  }

  dropAfter(index) {
    if (index <= 0 || index >= this.entries.length) return 0;
    const dropped = this.entries.splice(index).length;
    const end = this.entries.at(-1);
    this.last = end.to ?? end.seq;
    this.hasAfter = true;
    return dropped;
  }
}

// An application's own events share the log and its seqs; this page has no words for them.
function isShown({ type }) {
  return type === undefined || type === "new_message";
}

function entryOf(message) {
  return { ...message, kind: "message", at: new Date(message.sent) };
}

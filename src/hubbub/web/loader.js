// Fetches pages of a room's log as they are wanted, and keeps what is loaded within bounds.

import { Span } from "./span.js";

// The server's most for a page.
const PAGE = 200;
// The first page is smaller: it is what somebody waits for.
const FIRST_PAGE = 100;
const AROUND = 60;
// So many entries are loaded at most, and so many beyond those that are drawn are left when there are more.
export const MOST_LOADED = 2_000;
const LEFT = 600;
const RETRY_MS = 1_000;
// Of what comes while a page is fetched, so much is kept; what is beyond it is fetched, too.
const MOST_MEANWHILE = 2_000;

export class Loader {
  span = new Span();
  #room = null;
  // Counts the rooms and places shown: an answer for an earlier one is dropped.
  #turn = 0;
  #isLoading = { before: false, after: false };
  // While a page is on its way: what was said and changed meanwhile, and whether some of it was dropped.
  #meanwhile = [];
  #isTorn = false;
  #isStarting = false;
  #retryTimer = 0;

  // calls: failed(error), placed(span, seat), heard(message).
  constructor(chat, log, calls) {
    Object.assign(this, { chat, log, calls });
  }

  begin(room) {
    this.stop();
    this.#room = room;
  }

  stop() {
    this.#turn += 1;
    this.#room = null;
    this.span = new Span();
    this.#meanwhile = [];
    this.#isStarting = false;
    this.#isLoading = { before: false, after: false };
    clearTimeout(this.#retryTimer);
  }

  has(seq) {
    const { first, last } = this.span;
    return first > 0 && seq >= first && seq <= last;
  }

  // Places

  loadNewest() {
    return this.#start(async () => {
      const page = await this.#page({ limit: FIRST_PAGE });
      return { page, ends: { hasBefore: page.more, hasAfter: false }, seat: "end" };
    });
  }

  // isExact: for a link, which goes to this message. isUnread: for the first that is unread.
  loadAround(seq, { isExact = false, isUnread = false } = {}) {
    return this.#start(async () => {
      const [older, newer] = await Promise.all([this.#page({ before: seq, limit: AROUND }), this.#page({ after: seq - 1, limit: isUnread ? PAGE : FIRST_PAGE })]);
      if (newer.messages.length === 0 && older.messages.length === 0 && !isUnread) return this.#newestInstead();
      const page = { messages: [...older.messages, ...newer.messages], first: older.first || newer.first, last: newer.last || older.last };
      const seat = isExact || newer.messages.length > 0 ? seq : "end";
      return { page, ends: { hasBefore: older.more, hasAfter: newer.more }, seat };
    });
  }

  loadDate(date) {
    return this.#start(async () => {
      const page = await this.#page({ at: date.toISOString(), limit: FIRST_PAGE });
      if (page.first === 0) return this.#newestInstead();
      return { page, ends: { hasBefore: true, hasAfter: page.more }, seat: page.messages[0]?.seq ?? page.first };
    });
  }

  async #newestInstead() {
    const page = await this.#page({ limit: FIRST_PAGE });
    return { page, ends: { hasBefore: page.more, hasAfter: false }, seat: "end" };
  }

  async #start(load) {
    const turn = (this.#turn += 1);
    this.#isStarting = true;
    this.#isTorn = false;
    this.#meanwhile = [];
    this.#isLoading = { before: false, after: false };
    try {
      const { page, ends, seat } = await load();
      if (turn !== this.#turn) return;
      this.#isStarting = false;
      this.span.reset(page, ends);
      this.#catchUp();
      this.calls.placed(this.span, seat);
    } catch (error) {
      if (turn !== this.#turn) return;
      this.#isStarting = false;
      this.calls.failed(error);
    }
  }

  // Pages beside what is loaded

  loadBefore() {
    this.#extend("before", async () => {
      const { first } = this.span;
      return { before: first, limit: PAGE };
    }, (page) => {
      const count = this.span.prepend(page);
      this.#changeAgain();
      this.log.shift(count);
    });
  }

  loadAfter() {
    this.#extend("after", async () => ({ after: this.span.last, limit: PAGE }), (page) => {
      this.span.append(page);
      this.#catchUp();
      this.log.changed();
    });
  }

  async #extend(side, where, take) {
    if (this.#isStarting || this.#isLoading[side] || this.#room === null || this.chat.state !== "online") return;
    const turn = this.#turn;
    this.#isLoading[side] = true;
    try {
      const page = await this.#page(await where());
      if (turn !== this.#turn) return;
      this.#isLoading[side] = false;
      take(page);
      this.#trim(side);
    } catch (error) {
      if (turn !== this.#turn) return;
      // Asked for again a moment later, or when the connection is back.
      clearTimeout(this.#retryTimer);
      this.#retryTimer = setTimeout(() => this.goOn(), Math.max(RETRY_MS, (error.retryAfter ?? 0) * 1_000));
    }
  }

  goOn() {
    this.#isLoading = { before: false, after: false };
    this.log.changed();
  }

  #page(where) {
    return this.chat.history(this.#room, where);
  }

  // News

  hear(message) {
    if (this.#isStarting || this.#isLoading.after) this.#keep({ message });
    if (this.#isStarting) return;
    if (!this.span.hasAfter && this.span.add(message)) {
      this.log.touch();
      this.#trim("live");
    }
    this.calls.heard(message);
  }

  change(changed, change) {
    if (this.#isStarting || this.#isLoading.after || this.#isLoading.before) this.#keep({ seq: changed.seq, change });
    if (this.span.change(changed.seq, change)) this.log.touch();
  }

  lose(from, to) {
    if (this.#isStarting) this.#keep({ from, to });
    else if (!this.span.hasAfter && this.span.lose(from, to)) this.log.touch();
  }

  #keep(news) {
    if (this.#meanwhile.length >= MOST_MEANWHILE) this.#isTorn = true;
    else this.#meanwhile.push(news);
  }

  // A page may have been read before a change that came before it.
  #changeAgain() {
    for (const { seq, change } of this.#meanwhile) if (change) this.span.change(seq, change);
    if (!this.#isLoading.after) this.#meanwhile = [];
  }

  // What came while a page was fetched, and is in it or follows it.
  #catchUp() {
    const meanwhile = this.#meanwhile;
    this.#meanwhile = [];
    if (this.#isTorn) this.span.hasAfter = true;
    this.#isTorn = false;
    for (const { message, seq, change, from, to } of meanwhile) {
      if (change) this.span.change(seq, change);
      else if (!this.span.hasAfter && message) this.span.add(message);
      else if (!this.span.hasAfter && to) this.span.lose(from, to);
    }
  }

  // Far pages are dropped, those on the side that is read last; they are fetched again when they are wanted.
  #trim(side) {
    const { entries } = this.span;
    if (entries.length <= MOST_LOADED) return;
    const [start, end] = this.log.drawn;
    if (side === "before" || (side === "live" && !this.log.isPinned)) this.span.dropAfter(Math.max(end, Math.min(entries.length, end + LEFT)));
    else this.log.shift(-this.span.dropBefore(Math.max(0, start - LEFT)));
  }
}

// The messages of a room as a list that can be scrolled from its first to its newest, with few of them in the document.
//
// Whatever happens, `changed` asks for one drawing per frame. A frame reads where things are, writes the rows, and
// puts what is being read back to where it was.

import { dayWords } from "./dates.js";
import { make, setHidden, setText } from "./dom.js";
import { leadOf } from "./grouping.js";
import { drawRow } from "./row.js";
import { Average, AT_ONCE, dropsBeyond, firstWhere, rowsToDraw, SEEK_PX, spacerFor } from "./window.js";

// Closer than this to the end counts as reading the end.
const END_PX = 3;
const REST_MS = 150;
// Where a message that is jumped to stands, from the top of what is seen.
const SEAT = 0.3;

export class Log {
  #list = make("div", { className: "rows" });
  #above = make("div", { className: "spacer" });
  #below = make("div", { className: "spacer" });
  #hint = make("p", { className: "log-hint", hidden: true });
  #jump = make("button", { type: "button", className: "jump-newest", hidden: true });
  // The day of what is read, wherever in it that is.
  #day = make("button", { type: "button", className: "day-now", hidden: true, "aria-haspopup": "dialog", title: "Go to a date" });
  #rows = new Map();
  #entries = new WeakMap();
  #span = null;
  #outgoing = [];
  #start = 0;
  #end = 0;
  #abovePx = 0;
  #average = new Average();
  #isDue = false;
  #isDirty = false;
  #seat = null;
  #isPinned = true;
  #top = 0;
  #size = "";
  #restTimer = 0;
  #isAtRest = true;
  #drawnVersion = "";
  #drawnTo = 0;
  #drawnCount = 0;
  #touched = 0;
  #context = { unreadFrom: null, unseen: 0 };

  // known: {me, nameOf}. Calls back: wantsBefore(), wantsAfter(), wantsSeq(seq), wantsNewest(), wantsDate(date), newestSeq(), seen(seq), willDraw(row).
  constructor(element, known, calls) {
    Object.assign(this, { known, calls });
    // New messages are told by an announcer, in time and not sixty a second; a list that is scrolled is no news.
    this.scroller = make("div", { className: "log", tabIndex: 0, role: "log", "aria-live": "off", "aria-busy": "true" });
    this.scroller.append(make("div", { className: "log-inner" }, this.#hint, this.#above, this.#list, this.#below));
    element.append(make("div", { className: "log-frame" }, this.scroller, this.#day, this.#jump));
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#jump.addEventListener("click", () => {
      this.calls.wantsNewest();
      this.scroller.focus({ preventScroll: true });
    });
    this.#day.addEventListener("click", () => this.calls.wantsDate(this.#firstInSight()?.at ?? new Date()));
    const sizes = new ResizeObserver(() => this.#sizeNow() !== this.#size && this.changed());
    sizes.observe(this.scroller);
    sizes.observe(this.#list);
  }

  get isPinned() {
    return this.#isPinned;
  }

  // Whether the end is drawn and in sight: there is nowhere to go, and no row to draw again.
  get isAtEnd() {
    return this.#span !== null && this.#isPinned && this.#endsInSight();
  }

  // Shows a span; nothing is drawn of another one. seat: "end", or a seq.
  show(span, { seat, context }) {
    this.#span = span;
    this.#context = context;
    this.#rows.clear();
    this.#list.replaceChildren();
    this.#average = new Average();
    this.seat(seat);
  }

  // Goes to the end, or to a message; offset: how far from the top of what is seen, as a part of its height.
  seat(seat, { offset = SEAT } = {}) {
    this.#seat = { seat, offset };
    this.#isPinned = seat === "end";
    this.changed();
  }

  clear() {
    this.#span = null;
    this.#outgoing = [];
    this.#rows.clear();
    this.#list.replaceChildren();
    this.#hint.hidden = true;
    this.#jump.hidden = true;
    this.#day.hidden = true;
    this.scroller.setAttribute("aria-busy", "true");
  }

  setOutgoing(outgoing) {
    this.#outgoing = outgoing;
    this.changed();
  }

  // The span lost entries at its beginning, or got some: indexes mean others now.
  shift(by) {
    this.#start = Math.max(0, this.#start + by);
    this.#end = Math.max(0, this.#end + by);
    this.#drawnTo += by;
    this.#drawnCount += by;
    this.changed();
  }

  changed() {
    if (this.#isDue || this.#span === null) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (this.#span !== null) this.#frame();
    });
  }

  // Every row is drawn again: names, the clock, or the day are other ones.
  redraw() {
    this.#isDirty = true;
    this.changed();
  }

  // What leads the rows is another: only those that it changes are drawn again.
  lead() {
    for (const row of this.#rows.values()) row.previous = undefined;
    this.touch();
  }

  // The element of a message, where it is drawn.
  elementOf(seq) {
    const row = this.#list.children[this.#span.indexOf(seq) - this.#start];
    return row && this.#entries.get(row)?.seq === seq ? row.querySelector(".message") : null;
  }

  // The entry that an element within a row belongs to.
  entryAt(element) {
    return this.#entries.get(element?.closest(".log-row")) ?? null;
  }

  // The message after or before one, where it is drawn. by: 1 or -1. Of none, the last one in sight.
  neighbour(article, by) {
    if (!article) return this.#lastRowInSight()?.querySelector(".message") ?? null;
    const side = by < 0 ? "previousElementSibling" : "nextElementSibling";
    let row = article.closest(".log-row")[side];
    while (row && !row.querySelector(".message")) row = row[side];
    return row?.querySelector(".message") ?? null;
  }

  // The range of entries that are drawn.
  get drawn() {
    return [this.#start, this.#end];
  }

  #sizeNow() {
    return `${this.scroller.clientWidth} ${this.scroller.clientHeight} ${this.#list.offsetHeight}`;
  }

  #scrolled() {
    this.#isAtRest = false;
    clearTimeout(this.#restTimer);
    this.#restTimer = setTimeout(() => {
      this.#isAtRest = true;
      this.changed();
    }, REST_MS);
    this.changed();
  }

  // A frame

  get #count() {
    return this.#span.entries.length + (this.#span.hasAfter ? 0 : this.#outgoing.length);
  }

  #item(index) {
    const { entries } = this.#span;
    return index < entries.length ? entries[index] : this.#outgoing[index - entries.length];
  }

  #frame() {
    const { scroller } = this;
    const height = scroller.clientHeight;
    if (height === 0) return;
    if (this.#seat !== null) this.#takeSeat(height);
    else this.#follow(height);
    this.#size = this.#sizeNow();
    this.#tell();
    this.#ask();
  }

  // Draws around the place that is to be read, and goes there.
  #takeSeat(height) {
    const { seat, offset } = this.#seat;
    this.#seat = null;
    const count = this.#count;
    const at = seat === "end" ? count : Math.min(this.#span.indexOf(seat), count - 1);
    this.#start = Math.max(0, at - AT_ONCE);
    this.#end = Math.min(count, at + AT_ONCE);
    this.#setAbove(this.#estimateAbove());
    this.#draw();
    this.#setBelow();
    const row = seat === "end" ? null : this.#list.children[at - this.#start];
    scrollTo(this.scroller, row ? this.#topOf(row) - height * offset : this.scroller.scrollHeight);
    this.#top = this.scroller.scrollTop;
    this.#isPinned = this.#endsInSight();
    this.changed();
  }

  #follow(height) {
    const { scroller } = this;
    const top = scroller.scrollTop;
    this.#end = Math.min(this.#end, this.#count);
    // Whoever scrolls up stops following the end, were it by one pixel; what grows or shrinks does not.
    if (this.#endsInSight()) this.#isPinned = true;
    else if (top < this.#top) this.#isPinned = false;
    const anchor = this.#isPinned ? null : this.#anchorAt();
    const before = anchor && this.#topOf(anchor);
    const wasCount = this.#drawnTo;
    const above = top - this.#listTop();
    const below = this.#listTop() + this.#list.offsetHeight - top - height;
    this.#average.take(this.#list.offsetHeight, this.#list.childElementCount);
    const { value: average } = this.#average;
    this.#dropBelow(below, height);
    this.#dropAbove(above, height);
    this.#start = Math.max(0, this.#start - rowsToDraw({ slack: above, height, average }));
    this.#end = Math.min(this.#count, this.#end + rowsToDraw({ slack: below, height, average }));
    if (this.#isPinned && !this.#span.hasAfter && this.#end < this.#count) {
      this.#end = this.#count;
      this.#start = Math.max(this.#start, this.#end - 3 * AT_ONCE);
    }
    if (this.#isDirty || this.#drawnVersion !== this.#version()) this.#draw();
    this.#setBelow();
    if (this.#isPinned) this.#stay();
    else if (anchor?.isConnected) this.#hold(anchor, before, top);
    else if (this.#start === 0 && !this.#span.hasBefore) this.#setAbove(0);
    this.#top = scroller.scrollTop;
    if (this.#drawnTo !== wasCount || this.#needsMore(height)) this.changed();
  }

  // Whether another frame would draw more.
  #needsMore(height) {
    const top = this.scroller.scrollTop;
    const { value: average } = this.#average;
    const above = top - this.#listTop();
    const below = this.#listTop() + this.#list.offsetHeight - top - height;
    return (
      (this.#start > 0 && rowsToDraw({ slack: above, height, average }) > 0) ||
      (this.#end < this.#count && rowsToDraw({ slack: below, height, average }) > 0)
    );
  }

  #endsInSight() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return !this.#span.hasAfter && this.#drawnTo >= this.#drawnCount && scrollHeight - scrollTop - clientHeight <= END_PX;
  }

  #stay() {
    if (this.#start === 0 && !this.#span.hasBefore) this.#setAbove(0);
    scrollTo(this.scroller, this.scroller.scrollHeight);
  }

  // The row that is read first, to be held still while others come and go.
  #anchorAt() {
    const { children } = this.#list;
    const edge = this.scroller.getBoundingClientRect().top;
    const index = firstWhere(children.length, (each) => children[each].getBoundingClientRect().bottom > edge);
    return children[Math.min(index, children.length - 1)] ?? null;
  }

  #hold(anchor, before, top) {
    const spacer = this.#abovePx - (this.#topOf(anchor) - before);
    const isFirst = this.#start === 0 && !this.#span.hasBefore;
    const estimate = this.#estimateAbove();
    let wanted = spacer;
    if (isFirst) wanted = 0;
    // Too little room for what is above; or much too much, once nobody scrolls.
    else if (spacer < this.scroller.clientHeight || (this.#isAtRest && Math.abs(spacer - estimate) > 0.3 * estimate + 20_000)) wanted = Math.max(estimate, 2 * this.scroller.clientHeight);
    this.#setAbove(wanted);
    const moved = this.#topOf(anchor) - before;
    // By less than a pixel only rounding moves it.
    if (Math.abs(moved) >= 1) scrollTo(this.scroller, top + moved);
  }

  #topOf(element) {
    return element.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top + this.scroller.scrollTop;
  }

  #listTop() {
    return this.#topOf(this.#list);
  }

  // Spacers

  #estimateAbove() {
    const { hasBefore, first } = this.#span;
    return spacerFor(this.#start + (hasBefore ? Math.max(0, first - 1) : 0), this.#average.value);
  }

  #setAbove(pixels) {
    if (pixels === this.#abovePx) return;
    this.#abovePx = pixels;
    this.#above.style.height = `${pixels}px`;
  }

  #setBelow() {
    const { hasAfter, last } = this.#span;
    const unloaded = hasAfter ? Math.max(1, this.calls.newestSeq() - last) : 0;
    const pixels = `${spacerFor(this.#count - this.#end + unloaded, this.#average.value)}px`;
    if (this.#below.style.height !== pixels) this.#below.style.height = pixels;
  }

  // Dropping and drawing rows

  #dropAbove(slack, height) {
    const reach = dropsBeyond({ slack, height });
    if (reach === null) return;
    const { children } = this.#list;
    const edge = this.scroller.getBoundingClientRect().top - reach;
    const dropped = Math.min(children.length - 1, firstWhere(children.length, (each) => children[each].getBoundingClientRect().bottom > edge));
    if (dropped <= 0) return;
    const pixels = children[dropped].getBoundingClientRect().top - children[0].getBoundingClientRect().top;
    this.#start += dropped;
    // Before the rows go: a list that is too short for a moment would lose its scroll position.
    this.#setAbove(this.#abovePx + pixels);
  }

  #dropBelow(slack, height) {
    const reach = dropsBeyond({ slack, height });
    if (reach === null) return;
    const { children } = this.#list;
    const edge = this.scroller.getBoundingClientRect().bottom + reach;
    const kept = Math.max(1, firstWhere(children.length, (each) => children[each].getBoundingClientRect().top > edge));
    this.#end = Math.min(this.#end, this.#start + kept);
  }

  #draw() {
    const now = new Date();
    const wanted = new Set();
    for (let index = this.#start; index < this.#end; index += 1) wanted.add(this.#idOf(this.#item(index)));
    this.#dropAllBut(wanted);
    const { hasBefore } = this.#span;
    let previous = this.#start > 0 ? this.#item(this.#start - 1) : null;
    let next = this.#list.firstElementChild;
    for (let index = this.#start; index < this.#end; index += 1) {
      const entry = this.#item(index);
      const id = this.#idOf(entry);
      let row = this.#rows.get(id);
      if (!row) this.#rows.set(id, (row = { element: make("div", { className: "log-row" }), entry: null, previous: null }));
      if (this.#isDirty || row.entry !== entry || row.previous !== previous) this.#fill(row, entry, previous, { ...this.#context, hasBefore, now });
      if (row.element === next) next = next.nextElementSibling;
      else this.#list.insertBefore(row.element, next);
      previous = entry;
    }
    this.#isDirty = false;
    this.#drawnVersion = this.#version();
    this.#drawnTo = this.#end;
    this.#drawnCount = this.#count;
    setHidden(this.#hint, this.#count > 0 || this.#span.hasBefore);
    this.scroller.setAttribute("aria-busy", "false");
  }

  // What is drawn, as a word: the same again needs no drawing. The entries' own changes come with `touch`.
  #version() {
    return `${this.#start} ${this.#end} ${this.#span.first} ${this.#touched}`;
  }

  // Something about entries is different.
  touch() {
    this.#touched += 1;
    this.changed();
  }

  // Own messages go by their key, so that the row stays when one that was on its way is kept.
  #idOf(entry) {
    return entry.key ?? entry.seq;
  }

  #dropAllBut(ids) {
    for (const [id, { element }] of this.#rows) {
      if (ids.has(id)) continue;
      if (element.contains(document.activeElement)) this.scroller.focus({ preventScroll: true });
      element.remove();
      this.#rows.delete(id);
    }
  }

  #fill(row, entry, previous, context) {
    const lead = leadOf(previous, entry, context);
    const isSame = !this.#isDirty && row.entry === entry && row.lead.day === lead.day && row.lead.isNew === lead.isNew && row.lead.isFirst === lead.isFirst;
    Object.assign(row, { entry, previous, lead });
    this.#entries.set(row.element, entry);
    if (isSame) return;
    const hadFocus = row.element.contains(document.activeElement);
    this.calls.willDraw(row.element);
    drawRow(row.element, entry, lead, this.known);
    row.element.dataset.seq = entry.seq ?? "";
    if (hadFocus) row.element.querySelector(".message")?.focus({ preventScroll: true });
  }

  // After a frame

  #tell() {
    const { unseen } = this.#context;
    if (this.#isPinned) this.#context.unseen = 0;
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const isFar = this.#span.hasAfter || scrollHeight - scrollTop - clientHeight > clientHeight;
    const count = this.#isPinned ? 0 : unseen;
    setHidden(this.#jump, this.#isPinned || !(isFar || count > 0));
    setText(this.#jump, count === 0 ? "Newest messages" : count === 1 ? "1 new message" : `${count} new messages`);
    const row = this.#isPinned ? null : this.#anchorAt();
    const first = row && this.#entries.get(row);
    // Where the line with the day is in sight itself, it says so.
    const isSaid = !first?.at || (row.querySelector(".day")?.getBoundingClientRect().top ?? -Infinity) >= this.scroller.getBoundingClientRect().top - END_PX;
    setHidden(this.#day, isSaid);
    if (!isSaid) setText(this.#day, dayWords(first.at, new Date()));
    const last = this.#isPinned ? this.#span.last : (this.#entries.get(this.#lastRowInSight())?.seq ?? 0);
    if (last > 0) this.calls.seen(last);
  }

  #firstInSight() {
    return this.#entries.get(this.#anchorAt()) ?? null;
  }

  #lastRowInSight() {
    const { children } = this.#list;
    const edge = this.scroller.getBoundingClientRect().bottom + 1;
    return children[firstWhere(children.length, (each) => children[each].getBoundingClientRect().bottom > edge) - 1] ?? null;
  }

  #ask() {
    const { hasBefore, hasAfter, entries, first, last } = this.#span;
    const { scrollTop, clientHeight } = this.scroller;
    const listTop = this.#listTop();
    const listBottom = listTop + this.#list.offsetHeight;
    const { value: average } = this.#average;
    const isAbove = hasBefore && this.#start === 0 && listTop - scrollTop - clientHeight > SEEK_PX;
    const isBelow = hasAfter && this.#end >= entries.length && scrollTop - listBottom > SEEK_PX;
    if (isAbove || isBelow) {
      if (!this.#isAtRest) return;
      const seq = isAbove ? first - (listTop - scrollTop) / average : last + (scrollTop - listBottom) / average;
      return this.calls.wantsSeq(Math.max(1, Math.round(seq)));
    }
    if (hasBefore && this.#start < AT_ONCE) this.calls.wantsBefore();
    if (hasAfter && entries.length - this.#end < AT_ONCE) this.calls.wantsAfter();
  }

  setHint(words) {
    setText(this.#hint, words);
  }
}

function scrollTo(scroller, top) {
  if (scroller.scrollTop !== top) scroller.scrollTop = top;
}

// The log: puts rows on the page, keeps the reader's place in it.

import { find, make, setHidden, setText, tintOf } from "./dom.js";
import { fullTimeOf, timeOf } from "./times.js";

// Closer than this to the end counts as reading the end.
const NEAR_PX = 60;

const STATE_WORDS = { pending: "Sending", kept: "Sent", failed: "Not sent", "": "" };

export class MessagesView {
  #log = find("log");
  #list = find("messages");
  #jump = find("jump");
  #earlier = find("earlier");
  #drawn = new Map();
  #room = null;
  #atEnd = true;
  #unseen = 0;

  constructor({ retry, discard, showEarlier }) {
    Object.assign(this, { retry, discard });
    this.#earlier.addEventListener("click", showEarlier);
    this.#jump.addEventListener("click", () => {
      this.toEnd();
      this.#log.focus();
    });
    this.#log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // The end stays in sight when the keyboard of a phone opens or a line wraps.
    const keep = new ResizeObserver(() => this.#atEnd && this.#scrollDown());
    keep.observe(this.#log);
    keep.observe(this.#list);
  }

  render({ room, rows, hint, offersEarlier }) {
    if (room !== this.#room) this.#enter(room);
    this.#log.setAttribute("aria-busy", String(!room.wasJoined));
    setHidden(this.#earlier, !offersEarlier);
    setText(find("hint"), hint);
    setHidden(find("hint"), hint === "");
    const anchor = this.#atEnd ? null : this.#firstInSight();
    const added = this.#draw(rows);
    if (this.#atEnd) this.#scrollDown();
    else if (anchor) this.#log.scrollTop += anchor.element.getBoundingClientRect().top - anchor.top;
    this.#count(added);
  }

  clear() {
    this.#room = null;
    this.#list.replaceChildren();
    this.#drawn.clear();
    this.#log.setAttribute("aria-label", "Messages");
    this.toEnd();
  }

  toEnd() {
    this.#atEnd = true;
    this.#scrollDown();
    this.#count(0);
  }

  #enter(room) {
    this.#room = room;
    this.#list.replaceChildren();
    this.#drawn.clear();
    this.#log.setAttribute("aria-label", `Messages in ${room.title}`);
    // Old messages are there to be read, not to be read out all at once.
    this.#log.setAttribute("aria-live", "off");
    requestAnimationFrame(() => this.#log.setAttribute("aria-live", "polite"));
    this.toEnd();
  }

  // Drawing

  // Returns how many messages of others were added at the end.
  #draw(rows) {
    this.#dropAllBut(new Set(rows.map((row) => row.id)));
    let next = this.#list.firstElementChild;
    let added = 0;
    for (const row of rows) {
      const known = this.#drawn.get(row.id);
      const element = known?.element ?? elementFor(row);
      if (!known || differ(known.row, row)) {
        this.#update(element, row);
        this.#drawn.set(row.id, { element, row });
      }
      if (element === next) {
        next = next.nextElementSibling;
      } else {
        this.#list.insertBefore(element, next);
        if (!known && !next && row.kind === "message" && !row.isOwn) added += 1;
      }
    }
    return added;
  }

  // Before anything is placed: with the oldest row still in front, every
  // other row would seem out of place and be moved.
  #dropAllBut(ids) {
    for (const [id, { element }] of this.#drawn) {
      if (ids.has(id)) continue;
      element.remove();
      this.#drawn.delete(id);
    }
  }

  #update(element, row) {
    if (row.kind !== "message") return;
    element.classList.toggle("is-first", row.isFirst);
    element.dataset.state = row.state;
    const state = element.querySelector(".state");
    if (state) {
      state.title = STATE_WORDS[row.state];
      setText(state.firstElementChild, STATE_WORDS[row.state]);
    }
    element.querySelector(".failure")?.remove();
    if (row.state === "failed") element.querySelector(".body").append(this.#failure(row));
  }

  #failure({ key, words }) {
    const again = make("button", { type: "button", className: "link" }, "Try again");
    const discard = make("button", { type: "button", className: "link" }, "Discard");
    again.addEventListener("click", () => this.retry(key));
    discard.addEventListener("click", () => this.discard(key));
    return make("p", { className: "failure", role: "alert" }, `Not sent. ${words} `, again, " ", discard);
  }

  // Scrolling

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    this.#atEnd = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (this.#atEnd) this.#count(0);
  }

  #scrollDown() {
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  // The row to hold still while others come and go above it.
  #firstInSight() {
    const edge = this.#log.getBoundingClientRect().top;
    for (const element of this.#list.children) {
      const { top, bottom } = element.getBoundingClientRect();
      if (bottom > edge) return { element, top };
    }
    return null;
  }

  #count(added) {
    this.#unseen = this.#atEnd ? 0 : this.#unseen + added;
    setHidden(this.#jump, this.#unseen === 0);
    if (this.#unseen > 0) setText(this.#jump, this.#unseen === 1 ? "1 new message" : `${this.#unseen} new messages`);
  }
}

// What can change of a row; its text and author never do.
function differ(one, other) {
  return one.state !== other.state || one.isFirst !== other.isFirst || one.words !== other.words;
}

function elementFor(row) {
  if (row.kind === "message") return messageElement(row);
  return make("div", { className: row.kind }, make("span", {}, row.words));
}

function messageElement({ from, message, at, isOwn }) {
  const author = make("p", { className: "author" }, isOwn ? "You" : from);
  const time = make("time", { dir: "auto", dateTime: at.toISOString(), title: fullTimeOf(at) }, timeOf(at));
  const meta = make("span", { className: "meta" }, time);
  if (isOwn) meta.append(make("span", { className: "state" }, make("span", { className: "visually-hidden" })));
  // dir=auto: a message in Arabic or Hebrew runs its own way.
  const bubble = make("div", { className: "bubble", dir: "auto" }, make("span", { className: "text" }, message), meta);
  const body = make("div", { className: "body" }, author, bubble);
  const element = make("div", { className: `message ${tintOf(from)}` }, body);
  if (isOwn) element.classList.add("is-own");
  else element.prepend(make("span", { className: "avatar", "aria-hidden": "true" }, [...from][0]?.toUpperCase() ?? "?"));
  return element;
}

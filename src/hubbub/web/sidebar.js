// The list of rooms and people to go to; a drawer on a narrow screen.

import { find, make, setHidden, setText } from "./dom.js";
import { icon } from "./icons.js";
import { roomPath } from "./router.js";

// What the server counts to.
const MOST_UNREAD = 100;
// Made once: making one takes longer than sorting with it.
const { compare } = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

export class Sidebar {
  #aside = find("sidebar");
  #main = find("main");
  #open = find("sidebar-open");
  #narrow = matchMedia("(max-width: 640px)");
  #isOpen = false;
  #isDue = false;
  #isShown = false;
  #rows = new Map();
  #lists = find("sidebar-lists");
  #beyond = { above: find("unread-above"), below: find("unread-below") };

  constructor({ chat, store }) {
    this.chat = chat;
    this.store = store;
    this.#lists.addEventListener("scroll", () => this.#look(), { passive: true });
    new ResizeObserver(() => this.#look()).observe(this.#lists);
    for (const button of Object.values(this.#beyond)) button.addEventListener("click", () => button.target?.scrollIntoView({ block: "center" }));
    this.#open.addEventListener("click", () => this.toggle(true));
    for (const id of ["sidebar-close", "backdrop"]) find(id).addEventListener("click", () => this.toggle(false));
    this.#narrow.addEventListener("change", () => this.toggle(false));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#isOpen && !event.defaultPrevented) this.toggle(false);
    });
    // Also for the room where the reader is: then the address stays the same.
    this.#aside.addEventListener("click", (event) => {
      if (event.target.closest("a")) this.toggle(false, { isLeft: true });
    });
    for (const event of ["rooms", "room", "state"]) chat.on(event, () => this.changed());
    for (const event of ["names", "presence"]) store.on(event, () => this.changed());
    this.toggle(false);
  }

  // The rooms in the order in which they are listed, for going to the next one.
  get order() {
    return [...listed(this.chat, this.store).rooms, ...listed(this.chat, this.store).directs];
  }

  // Many changes, one drawing.
  changed() {
    if (this.#isDue || !this.#isShown) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (this.#isShown) this.draw();
    });
  }

  draw() {
    this.#isShown = true;
    const { rooms, directs } = listed(this.chat, this.store);
    const isChanged = [this.#fill(find("rooms"), rooms), this.#fill(find("directs"), directs)].includes(true);
    const kept = new Set([...rooms, ...directs]);
    for (const room of [...this.#rows.keys()]) if (!kept.has(room)) this.#rows.delete(room);
    setText(find("account-name"), this.chat.user ? this.store.nameOf(this.chat.user) : "");
    find("account-dot").classList.toggle("is-online", this.chat.state === "online");
    this.#drawOpen();
    // It reads the layout, which a message in the room that is shown must not pay for.
    if (isChanged) this.#look();
  }

  // Behind the button that opens the list: whether something is unread in another room.
  #drawOpen() {
    const isUnread = [...this.#rows.values()].some(({ room, isUnread }) => isUnread && room !== this.store.room);
    if (this.#open.classList.contains("has-unread") === isUnread) return;
    this.#open.classList.toggle("has-unread", isUnread);
    this.#open.setAttribute("aria-label", isUnread ? "Rooms and people, something is unread" : "Rooms and people");
  }

  // What is unread beyond the edges of the list is said at the edges.
  #look() {
    const { top, bottom } = this.#lists.getBoundingClientRect();
    const found = { above: null, below: null };
    for (const link of this.#lists.querySelectorAll("a.is-unread")) {
      const place = link.getBoundingClientRect();
      if (place.bottom <= top + 4) found.above = link;
      else if (place.top >= bottom - 4) found.below ??= link;
    }
    for (const [side, button] of Object.entries(this.#beyond)) {
      button.target = found[side];
      setHidden(button, found[side] === null);
    }
  }

  // Nobody is signed in; what still happens to rooms is not drawn.
  clear() {
    this.#isShown = false;
    this.toggle(false);
    this.#rows.clear();
    this.#drawOpen();
    for (const id of ["rooms", "directs"]) find(id).replaceChildren();
    setText(find("account-name"), "");
  }

  // isLeft: the focus goes where the reader goes, and not back to the button.
  toggle(isOpen, { isLeft = false } = {}) {
    const isDrawer = this.#narrow.matches;
    const wasOpen = this.#isOpen;
    this.#isOpen = isDrawer && isOpen;
    this.#open.setAttribute("aria-expanded", String(this.#isOpen));
    this.#aside.classList.toggle("is-open", this.#isOpen);
    setHidden(find("backdrop"), !this.#isOpen);
    // What is out of sight must be out of reach of the Tab key too.
    this.#aside.inert = isDrawer && !this.#isOpen;
    this.#main.inert = find("panel").inert = this.#isOpen;
    if (this.#isOpen) (this.#aside.querySelector("[aria-current]") ?? find("sidebar-close")).focus();
    else if (wasOpen && !isLeft) this.#open.focus();
  }

  // Rows are kept and moved, never made anew: the focus may be on one. Returns whether anything has changed.
  #fill(list, rooms) {
    let isChanged = list.children.length !== rooms.length;
    for (const [at, room] of rooms.entries()) {
      if (!this.#rows.has(room)) this.#rows.set(room, new Row(room, this.store.otherIn(room) !== null));
      const row = this.#rows.get(room);
      if (row.draw(this.chat.rooms.get(room), this.store)) isChanged = true;
      if (list.children[at] !== row.element) list.insertBefore(row.element, list.children[at] ?? null);
    }
    while (list.children.length > rooms.length) list.lastElementChild.remove();
    return isChanged;
  }
}

class Row {
  #drawn = "";

  constructor(room, isDirect) {
    this.room = room;
    this.isDirect = isDirect;
    this.isUnread = false;
    this.name = make("bdi", { className: "place-name" });
    this.mark = isDirect ? make("span", { className: "dot" }) : icon("hash");
    this.count = make("span", { className: "pill", hidden: true });
    this.words = make("span", { className: "visually-hidden" });
    this.muted = icon("bell-off");
    this.link = make("a", { href: roomPath(room) }, this.mark, this.name, this.muted, this.count, this.words);
    this.element = make("li", {}, this.link);
    this.count.setAttribute("aria-hidden", "true");
  }

  draw(room, store) {
    const isCurrent = store.room === this.room;
    const isOnline = this.isDirect && store.isOnline(store.otherIn(this.room));
    const { unread, muted } = room;
    const mentions = this.isDirect ? unread : room.mentions;
    const title = store.titleOf(this.room);
    const drawn = JSON.stringify([isCurrent, isOnline, unread, mentions, muted, title]);
    if (drawn === this.#drawn) return false;
    this.#drawn = drawn;
    setText(this.name, title);
    this.link.title = title;
    if (isCurrent && !this.link.hasAttribute("aria-current")) requestAnimationFrame(() => this.link.scrollIntoView({ block: "nearest" }));
    if (isCurrent) this.link.setAttribute("aria-current", "page");
    else this.link.removeAttribute("aria-current");
    this.isUnread = unread > 0 && (!muted || mentions > 0);
    this.link.classList.toggle("is-unread", this.isUnread);
    this.link.classList.toggle("is-muted", muted);
    this.muted.classList.toggle("is-gone", !muted);
    if (this.isDirect) this.mark.classList.toggle("is-online", isOnline);
    const shown = mentions || (muted ? 0 : unread);
    setHidden(this.count, shown === 0);
    this.count.classList.toggle("is-mention", mentions > 0);
    setText(this.count, `${mentions && !this.isDirect ? "@ " : ""}${countWords(shown)}`);
    setText(this.words, this.#say({ unread, mentions, muted, isOnline }));
    return true;
  }

  #say({ unread, mentions, muted, isOnline }) {
    const parts = [];
    if (this.isDirect) parts.push(isOnline ? "online" : "offline");
    if (unread > 0) parts.push(`${countWords(unread)} unread`);
    if (mentions > 0 && !this.isDirect) parts.push(mentions === 1 ? "1 mention" : `${mentions} mentions`);
    if (muted) parts.push("muted");
    return parts.map((part) => `, ${part}`).join("");
  }
}

export function countWords(count) {
  return count >= MOST_UNREAD ? "99+" : String(count);
}

// Rooms by name, so that each stays where the eye expects it; direct messages with the newest first.
function listed({ rooms }, store) {
  // What was unfollowed is left at once; a room that an application has let us into is not followed, and stays.
  const names = [...rooms.values()].filter(({ followed, state }) => followed || state !== "out").map(({ room }) => room);
  const isDirect = (room) => store.otherIn(room) !== null;
  const activeOf = (room) => rooms.get(room).active ?? "";
  return {
    rooms: names.filter((room) => !isDirect(room)).sort((a, b) => compare(store.titleOf(a), store.titleOf(b))),
    directs: names.filter(isDirect).sort((a, b) => compare(activeOf(b), activeOf(a)) || compare(a, b)),
  };
}

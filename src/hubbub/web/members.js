// Who is in the room: those who are here, and those who follow it and are away.

import { find, make, setHidden, setText } from "./dom.js";
import { icon } from "./icons.js";

// What one request may ask for; beyond it the panel counts.
const AWAY_SHOWN = 100;
const HERE_SHOWN = 200;
// Whoever leaves may follow the room, and the server is asked no more often than that.
const ASK_EVERY_MS = 5_000;

export class Members {
  #panel = find("panel");
  #followers = [];
  #hasMore = false;
  #drawn = "";
  #isDue = false;
  #seen = new Set();
  #askedAt = 0;
  #timer;

  // close: what the button in the panel does.
  constructor({ chat, store, close }) {
    this.chat = chat;
    this.store = store;
    this.close = close;
    this.room = null;
    const changed = (event) => (event?.room === undefined || event.room === this.room) && this.#changed();
    for (const event of ["members", "rooms"]) chat.on(event, changed);
    for (const event of ["names", "presence"]) store.on(event, () => this.#changed());
  }

  async show(room) {
    this.room = room;
    this.#followers = [];
    this.#hasMore = false;
    this.#drawn = "";
    this.#seen.clear();
    this.#panel.setAttribute("aria-label", "People in this room");
    this.draw();
    await this.#ask();
  }

  async #ask() {
    const { room } = this;
    this.#askedAt = Date.now();
    try {
      const { users, next } = await this.chat.request("list_users", { room, limit: AWAY_SHOWN });
      if (this.room !== room) return;
      this.store.learn(users);
      this.#followers = users.map(({ user }) => user);
      this.#hasMore = next !== null && next !== undefined;
    } catch {
      // Who is here is known all the same.
    }
    this.draw();
  }

  hide() {
    this.room = null;
    clearTimeout(this.#timer);
    this.#panel.replaceChildren();
  }

  #changed() {
    if (this.#isDue || this.room === null) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.draw();
      this.#askAgain();
    });
  }

  // Where somebody has left who is not known to follow the room.
  #askAgain() {
    const members = this.chat.rooms.get(this.room)?.members ?? new Set();
    const isUnknown = [...this.#seen].some((user) => !members.has(user) && !this.#followers.includes(user));
    this.#seen = new Set(members);
    if (!isUnknown) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), Math.max(0, this.#askedAt + ASK_EVERY_MS - Date.now()));
  }

  draw() {
    const room = this.chat.rooms.get(this.room);
    if (room === undefined) return;
    const byName = (a, b) => this.store.nameOf(a).localeCompare(this.store.nameOf(b));
    for (const user of room.members) if (this.#seen.size < HERE_SHOWN) this.#seen.add(user);
    const here = [...room.members].sort(byName);
    const away = this.#followers.filter((user) => !room.members.has(user)).sort(byName);
    const drawn = JSON.stringify([room.count, this.#hasMore, [here, away].map((users) => users.map((user) => [user, this.store.nameOf(user)]))]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const focused = document.activeElement?.dataset?.user;
    const hasFocus = this.#panel.contains(document.activeElement);
    this.#panel.replaceChildren(
      this.#head(),
      this.#part(`Here, ${room.count}`, here.slice(0, HERE_SHOWN), true, room.count - Math.min(here.length, HERE_SHOWN)),
    );
    if (away.length > 0) {
      this.#panel.append(this.#part(`Away, ${away.length}${this.#hasMore ? "+" : ""}`, away, false, 0));
    }
    if (!hasFocus) return;
    const again = focused && [...this.#panel.querySelectorAll("[data-user]")].find(({ dataset }) => dataset.user === focused);
    (again || this.#panel.querySelector("button")).focus();
  }

  #head() {
    const button = make("button", { type: "button", className: "icon-button" }, icon("close"));
    button.setAttribute("aria-label", "Close the list of people");
    button.addEventListener("click", this.close);
    return make("div", { className: "panel-head" }, make("h2", {}, "People"), button);
  }

  #part(title, users, isHere, unlisted) {
    const list = make("ul", {}, ...users.map((user) => make("li", {}, personButton(user, isHere, this.chat, this.store))));
    const part = make("section", { className: "panel-part" }, make("h3", {}, title), list);
    if (unlisted > 0) part.append(make("p", { className: "hint" }, `and ${unlisted} more`));
    return part;
  }
}

// A person, to start a direct message with.
function personButton(user, isHere, chat, store) {
  const name = make("bdi", {}, store.nameOf(user));
  const dot = make("span", { className: `dot ${isHere ? "is-online" : ""}` });
  if (user === chat.user) return make("div", { className: "person is-self" }, dot, name, make("small", {}, "you"));
  const button = make("button", { type: "button", className: "person", title: `Message @${user}` }, dot, name);
  button.dataset.user = user;
  button.append(make("span", { className: "visually-hidden" }, `, ${isHere ? "here" : "away"}, message`));
  button.addEventListener("click", () => store.message(user));
  return button;
}

// The head's button with the number of people, of the room that is shown.
export function drawCount(room) {
  setText(find("members-count"), room ? String(room.count) : "");
  setHidden(find("members-toggle"), !room);
}

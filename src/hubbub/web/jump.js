// "Jump to": a field that finds rooms and people, by keyboard alone (the combobox pattern of the ARIA practices).

import { openDialog } from "./dialog.js";
import { make, setText } from "./dom.js";
import { icon } from "./icons.js";

const SHOWN = 12;
const TYPING_MS = 150;

export function openJump({ chat, store, order }) {
  if (document.querySelector(".jump-dialog")) return;
  new Jump({ chat, store, order });
}

class Jump {
  #at = 0;
  #options = [];
  #asked = 0;
  #timer;

  constructor({ chat, store, order }) {
    this.chat = chat;
    this.store = store;
    this.order = order;
    this.list = make("div", { id: "jump-list", className: "jump-list" });
    this.list.setAttribute("role", "listbox");
    this.list.setAttribute("aria-label", "Rooms and people");
    this.field = make("input", { type: "text", className: "input", maxLength: 64, autocomplete: "off", spellcheck: false });
    for (const [name, value] of Object.entries({
      role: "combobox",
      "aria-label": "Room or person",
      "aria-controls": "jump-list",
      "aria-expanded": "true",
      "aria-autocomplete": "list",
    })) {
      this.field.setAttribute(name, value);
    }
    this.field.placeholder = "Room or person";
    this.said = make("p", { className: "visually-hidden" });
    this.said.setAttribute("role", "status");
    const body = make("div", { className: "dialog-body" }, this.field);
    this.dialog = openDialog({ title: "Jump to", className: "jump-dialog" }, body, this.list, this.said);
    this.dialog.addEventListener("close", () => clearTimeout(this.#timer));
    this.field.addEventListener("input", () => this.#typed());
    this.field.addEventListener("keydown", (event) => this.#pressed(event));
    this.#draw(this.#known(""));
    this.field.focus();
  }

  #typed() {
    const text = this.field.value.trim();
    this.#asked += 1;
    clearTimeout(this.#timer);
    this.#draw(this.#known(text));
    if (text) this.#timer = setTimeout(() => this.#ask(text, this.#asked), TYPING_MS);
  }

  // What is followed, those with something unread first as long as nothing is typed.
  #known(text) {
    const wanted = text.toLowerCase();
    const rooms = this.order().filter((room) => this.store.titleOf(room).toLowerCase().includes(wanted));
    const weight = (room) => {
      const { mentions = 0, unread = 0 } = this.chat.rooms.get(room) ?? {};
      if (text) return this.store.titleOf(room).toLowerCase().startsWith(wanted) ? 0 : 1;
      return mentions > 0 ? 0 : unread > 0 ? 1 : 2;
    };
    return rooms.sort((a, b) => weight(a) - weight(b)).map((room) => ({ room }));
  }

  // What is not followed, from the server.
  async #ask(text, asked) {
    const ask = (type) => this.chat.request(type, { prefix: text, limit: SHOWN }).catch(() => ({}));
    const [{ rooms = [] }, { users = [] }] = await Promise.all([ask("list_rooms"), ask("list_users")]);
    if (asked !== this.#asked || !this.dialog.open) return;
    this.store.learn(users);
    const known = this.#known(text);
    const isKnown = new Set(known.map(({ room }) => room));
    const others = new Set(known.map(({ room }) => this.store.otherIn(room)));
    this.#draw([
      ...known,
      ...rooms.filter(({ room }) => !isKnown.has(room)).map(({ room, title }) => ({ room, title, isNew: true })),
      ...users.filter(({ user }) => !others.has(user)).map(({ user }) => ({ user })),
    ]);
  }

  #draw(options) {
    const chosen = JSON.stringify(this.#options[this.#at]);
    this.#options = options.slice(0, SHOWN);
    this.#at = Math.max(0, this.#options.findIndex((option) => JSON.stringify(option) === chosen && this.#at > 0));
    this.list.replaceChildren(...this.#options.map((option, at) => this.#option(option, at)));
    if (this.#options.length === 0) this.list.append(make("p", { className: "hint" }, "Nothing of that name"));
    setText(this.said, `${this.#options.length} found`);
    this.#choose(this.#at);
  }

  #option({ room, user, title, isNew }, at) {
    const other = user ?? this.store.otherIn(room);
    const name = user ? this.store.nameOf(user) : (title ?? this.store.titleOf(room));
    const mark = other === null ? icon("hash") : make("span", { className: `dot ${this.store.isOnline(other) ? "is-online" : ""}` });
    const option = make("div", { id: `jump-option-${at}` }, mark, make("bdi", {}, name));
    option.setAttribute("role", "option");
    const note = isNew ? "not joined" : other !== null && name !== other ? `@${other}` : "";
    if (note) option.append(make("small", {}, note));
    option.addEventListener("click", () => this.#go(at));
    return option;
  }

  #choose(at) {
    this.#at = at;
    for (const [index, option] of [...this.list.children].entries()) {
      if (option.id) option.setAttribute("aria-selected", String(index === at));
    }
    const chosen = this.#options.length > 0 ? this.list.children[at] : null;
    if (chosen) this.field.setAttribute("aria-activedescendant", chosen.id);
    else this.field.removeAttribute("aria-activedescendant");
    chosen?.scrollIntoView({ block: "nearest" });
  }

  #pressed(event) {
    if (event.isComposing || this.#options.length === 0) return;
    const { length } = this.#options;
    if (event.key === "ArrowDown") this.#choose((this.#at + 1) % length);
    else if (event.key === "ArrowUp") this.#choose((this.#at + length - 1) % length);
    else if (event.key === "Enter") this.#go(this.#at);
    else return;
    event.preventDefault();
  }

  #go(at) {
    const { room, user } = this.#options[at];
    this.dialog.close();
    if (user) this.store.message(user);
    else this.store.open(room);
  }
}

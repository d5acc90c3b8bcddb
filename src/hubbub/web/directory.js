// Every room that one may enter, and everyone there is to talk to.

import { make, setHidden, setText, tintOf } from "./dom.js";
import { icon } from "./icons.js";
import { wordsOf } from "./signin.js";
import { agoWords } from "./times.js";

const PAGE = 50;
// From the last key to the request.
const TYPING_MS = 180;
const BAD_NAME = "A room name has 1 to 64 letters, digits, single spaces, or . _ -";

// Letters, digits, marks, spaces and . _ -, as the server has it; it judges the rest.
export function readRoomName(text) {
  const name = text.normalize("NFC").trim().replace(/^#\s*/, "").replace(/\s+/g, " ");
  return /^[\p{L}\p{M}\p{N} ._-]{1,64}$/u.test(name) ? name : null;
}

export class Directory {
  #kind = "";
  #next = null;
  #asked = 0;
  #timer;

  constructor(element, { chat, store }) {
    this.element = element;
    this.chat = chat;
    this.store = store;
    this.#build();
    chat.on("rooms", () => this.#mark());
    store.on("presence", () => this.#mark());
  }

  // kind: rooms or people.
  show(kind) {
    setHidden(this.element, false);
    if (this.#kind !== kind) this.field.value = "";
    this.#kind = kind;
    for (const [name, tab] of Object.entries(this.tabs)) {
      if (name === kind) tab.setAttribute("aria-current", "page");
      else tab.removeAttribute("aria-current");
    }
    const words = kind === "rooms" ? "Find or make a room" : "Find people";
    setText(this.label, words);
    this.field.placeholder = words;
    this.#complain("");
    this.#search();
    this.field.focus();
  }

  hide() {
    setHidden(this.element, true);
    clearTimeout(this.#timer);
    this.#asked += 1;
    this.list.replaceChildren();
  }

  #build() {
    this.tabs = {
      rooms: make("a", { href: "#/directory" }, "Rooms"),
      people: make("a", { href: "#/directory/people" }, "People"),
    };
    const tabs = make("nav", { className: "tabs" }, ...Object.values(this.tabs));
    tabs.setAttribute("aria-label", "Directory");
    this.field = make("input", { id: "directory-field", type: "search", className: "input", maxLength: 64, autocomplete: "off" });
    this.field.setAttribute("aria-describedby", "directory-error");
    this.label = make("label", { className: "visually-hidden" });
    this.label.htmlFor = "directory-field";
    this.create = make("button", { type: "submit", className: "primary", hidden: true });
    this.form = make("form", { className: "row", noValidate: true }, this.label, this.field, this.create);
    this.error = make("p", { id: "directory-error", className: "error", hidden: true });
    this.error.setAttribute("role", "alert");
    this.found = make("p", { className: "hint" });
    this.found.setAttribute("role", "status");
    this.list = make("ul", { className: "entries" });
    this.more = make("button", { type: "button", className: "secondary", hidden: true }, "Show more");
    this.element.append(
      make("div", { className: "directory-inside" }, tabs, this.form, this.error, this.found, this.list, this.more),
    );
    this.field.addEventListener("input", () => {
      this.#complain("");
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#search(), TYPING_MS);
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.more.addEventListener("click", () => this.#load(this.#next));
  }

  async #search() {
    clearTimeout(this.#timer);
    await this.#load(null);
  }

  // after: null for the first page.
  async #load(after) {
    this.#asked += 1;
    const asked = this.#asked;
    const isRooms = this.#kind === "rooms";
    const prefix = this.field.value.trim();
    const request = { limit: PAGE, ...(prefix && { prefix }), ...(after && { after }) };
    try {
      const answer = await this.chat.request(isRooms ? "list_rooms" : "list_users", request);
      if (asked !== this.#asked) return;
      this.#next = answer.next ?? null;
      this.#list(isRooms ? answer.rooms.map((room) => this.#room(room)) : this.#people(answer.users), after !== null);
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#list([], after !== null);
      this.#complain(wordsOf(error));
    }
  }

  #list(entries, isMore) {
    if (isMore) this.list.append(...entries);
    else this.list.replaceChildren(...entries);
    if (isMore) entries[0]?.querySelector("a, button")?.focus();
    setHidden(this.more, this.#next === null);
    const count = this.list.children.length;
    const prefix = this.field.value.trim();
    const things = this.#kind === "rooms" ? (count === 1 ? "room" : "rooms") : count === 1 ? "person" : "people";
    setText(this.found, count > 0 ? `${count}${this.#next ? "+" : ""} ${things}` : `No ${things} ${prefix ? "of that name" : "yet"}`);
    this.#offer(prefix);
    this.#mark();
  }

  // Making a room is joining one that nobody has said anything in yet.
  #offer(prefix) {
    const name = readRoomName(prefix);
    const isThere = [...this.list.children].some(({ dataset }) => dataset.title?.toLowerCase() === prefix.toLowerCase());
    const isOffered = this.#kind === "rooms" && prefix !== "" && !isThere && name !== null;
    setHidden(this.create, !isOffered);
    if (isOffered) setText(this.create, `Make “${name.length > 24 ? `${name.slice(0, 22)}…` : name}”`);
  }

  #submit() {
    if (this.#kind === "people") return this.list.querySelector("button")?.click();
    const name = readRoomName(this.field.value);
    if (name !== null) return this.#join(name);
    this.#complain(BAD_NAME);
    this.field.focus();
  }

  async #join(name) {
    this.#complain("");
    try {
      const { room } = await this.chat.follow(name);
      this.store.open(room);
    } catch (error) {
      this.#complain(wordsOf(error));
      this.field.focus();
    }
  }

  #room({ room, title, members, active }) {
    const facts = [members === 1 ? "1 person here" : `${members} people here`, agoWords(active)].filter(Boolean);
    const words = make("span", { className: "entry-words" }, make("b", {}, title), make("small", {}, facts.join(" · ")));
    const button = make("button", { type: "button", className: "secondary" }, "Join");
    button.setAttribute("aria-label", `Join ${title}`);
    button.addEventListener("click", () => this.#join(room));
    const entry = make("li", { className: "entry" }, icon("hash"), words, button);
    entry.dataset.room = room;
    entry.dataset.title = title;
    return entry;
  }

  #people(users) {
    this.store.learn(users);
    return users.map(({ user, name }) => {
      const avatar = make("span", { className: `avatar ${tintOf(user)}` }, [...name][0].toUpperCase());
      avatar.setAttribute("aria-hidden", "true");
      const words = make("span", { className: "entry-words" }, make("b", {}, make("bdi", {}, name)), make("small", {}, `@${user}`));
      const entry = make("li", { className: "entry" }, make("span", { className: "dot" }), avatar, words);
      entry.dataset.user = user;
      entry.append(user === this.chat.user ? make("small", { className: "hint" }, "you") : this.#messageButton(user, name));
      return entry;
    });
  }

  #messageButton(user, name) {
    const button = make("button", { type: "button", className: "secondary" }, "Message");
    button.setAttribute("aria-label", `Message ${name}`);
    button.addEventListener("click", () => this.store.message(user));
    return button;
  }

  // What is joined already, and who is online, changes while the list is shown.
  #mark() {
    if (this.element.hidden) return;
    for (const entry of this.list.children) {
      const { room, user, title } = entry.dataset;
      if (user !== undefined) {
        const isOnline = this.store.isOnline(user);
        entry.querySelector(".dot").classList.toggle("is-online", isOnline);
        setText(entry.querySelector("small"), `@${user}${isOnline ? " · online" : ""}`);
        continue;
      }
      const words = this.chat.rooms.has(room) ? "Open" : "Join";
      const button = entry.querySelector("button");
      setText(button, words);
      button.setAttribute("aria-label", `${words} ${title}`);
    }
  }

  #complain(words) {
    if (words) this.field.setAttribute("aria-invalid", "true");
    else this.field.removeAttribute("aria-invalid");
    setText(this.error, words);
    setHidden(this.error, words === "");
  }
}

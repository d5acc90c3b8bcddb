// What the page knows beside the conversation: settings, drafts, names, who is there, where the reader is.
//
// Made once by app.js, and handed to every view:
//
//   settings            {theme, clock, notify, singleKeys}; set with change(name, value); event "settings"
//   nameOf(user)        the display name; the user name until the server has told it; event "names"
//   titleOf(room)       a room's title; of a direct message, the other one's name
//   otherIn(room)       the other user of a direct message, or null
//   isOnline(user)      whether the user is in any room of ours now; event "presence"
//   draft(room), keepDraft(room, text); kept(name), keep(name, value): outlive the tab, end with signing out
//   enter(room)         joins the room once, however often it is called; the messages come as events
//   open(room, seq)     goes there, as by a link; message(user) to a direct message with the user
//   title               of the view that is shown; event "place"
//   room                where the reader is, or null; isReading(room): whether the reader sees it now
//   on(event, fn)       returns what ends it

const SETTINGS_KEY = "hubbub.settings";
const DEFAULTS = { theme: "system", clock: "system", notify: "mentions", singleKeys: true };
const CHOICES = {
  theme: ["system", "light", "dark"],
  clock: ["system", "24", "12"],
  notify: ["mentions", "all", "off"],
  singleKeys: [true, false],
};
// The server takes as many users in one request.
const NAMES_AT_ONCE = 200;
const NAMES_KEPT = 5_000;
const NAMES_WAIT_MS = 40;
// The history with which a room is entered, to find mentions among what is unread.
const UNREAD_READ = 100;

export class Store {
  room = null;
  // What the head of the page says: of the room, or of another view.
  title = "";
  #listeners = new Map();
  #names = new Map();
  #asked = new Set();
  #entering = new Map();
  #online = null;
  #chat;
  #storage;
  #page;

  // go: takes room and seq, and shows them.
  constructor({ chat, storage, page, go }) {
    this.#chat = chat;
    this.#storage = storage;
    this.#page = page;
    this.go = go;
    this.settings = this.#readSettings();
    chat.on("profile", ({ user, name }) => this.#learn({ [user]: name }));
    const changed = () => {
      this.#online = null;
      this.emit("presence");
    };
    chat.on("members", changed);
    chat.on("rooms", changed);
    chat.on("state", changed);
  }

  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  emit(event, value) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) listener(value);
  }

  // Settings belong to the browser, not to who is signed in.

  change(name, value) {
    this.settings = { ...this.settings, [name]: value };
    this.#write(SETTINGS_KEY, this.settings);
    this.emit("settings");
  }

  // Another tab has changed them.
  reread() {
    this.settings = this.#readSettings();
    this.emit("settings");
  }

  // What is kept for the user who is signed in

  kept(name) {
    return this.#read(this.#keyOf(name));
  }

  keep(name, value) {
    if (value === null || value === "") this.#storage.removeItem(this.#keyOf(name));
    else this.#write(this.#keyOf(name), value);
  }

  draft(room) {
    const text = this.kept(`draft.${room}`);
    return typeof text === "string" ? text : "";
  }

  keepDraft(room, text) {
    if (text !== this.draft(room)) this.keep(`draft.${room}`, text);
  }

  // Nothing of the conversation stays behind for who sits down here next.
  forget(user) {
    const prefix = this.#keyOf("", user);
    for (const key of Object.keys(this.#storage)) if (key.startsWith(prefix)) this.#storage.removeItem(key);
    this.#names.clear();
    this.#asked.clear();
    this.#entering.clear();
    this.#online = null;
    this.room = null;
    this.title = "";
  }

  // People

  nameOf(user) {
    const name = this.#names.get(user);
    if (name !== undefined) return name;
    if (user === this.#chat.user && this.#chat.name) return this.#chat.name;
    this.#ask(user);
    return user;
  }

  // names: display names by user, from whatever answer has them.
  learn(users) {
    this.#learn(Object.fromEntries(users.map(({ user, name }) => [user, name])));
  }

  isOnline(user) {
    if (user === this.#chat.user) return this.#chat.state === "online";
    if (this.#online === null) {
      const rooms = this.#chat.state === "online" ? [...this.#chat.rooms.values()] : [];
      this.#online = new Set(rooms.flatMap(({ members }) => [...(members ?? [])]));
    }
    return this.#online.has(user);
  }

  // Rooms

  otherIn(room) {
    return otherIn(room, this.#chat.user);
  }

  titleOf(room) {
    const other = this.otherIn(room);
    return other === null ? (this.#chat.rooms.get(room)?.title ?? room) : this.nameOf(other);
  }

  enter(room) {
    const known = this.#chat.rooms.get(room);
    if (known?.state === "in") return Promise.resolve();
    if (!this.#entering.has(room)) {
      const history = Math.min(known?.unread ?? 0, UNREAD_READ);
      const entering = this.#chat.join(room, { history }).finally(() => this.#entering.delete(room));
      this.#entering.set(room, entering);
    }
    return this.#entering.get(room);
  }

  open(room, seq = null) {
    this.go(room, seq);
  }

  message(user) {
    this.emit("message", user);
  }

  isReading(room) {
    return room === this.room && !this.#page.hidden && this.#page.hasFocus();
  }

  #keyOf(name, user = this.#chat.user) {
    return `hubbub.of.${user}.${name}`;
  }

  // Storage is the user's to edit, and may be full or shut: what cannot be read counts as nothing.
  #read(key) {
    try {
      return JSON.parse(this.#storage.getItem(key));
    } catch {
      return null;
    }
  }

  #write(key, value) {
    try {
      this.#storage.setItem(key, JSON.stringify(value));
    } catch {
      // It is lost with the tab, then.
    }
  }

  #readSettings() {
    const read = this.#read(SETTINGS_KEY) ?? {};
    const isKnown = ([name]) => CHOICES[name].includes(read[name]);
    const known = Object.entries(DEFAULTS).filter(isKnown);
    return { ...DEFAULTS, ...Object.fromEntries(known.map(([name]) => [name, read[name]])) };
  }

  #learn(names) {
    let isNew = false;
    for (const [user, name] of Object.entries(names)) {
      const known = this.#names.get(user);
      if (known === name) continue;
      this.#names.delete(user);
      this.#names.set(user, name);
      // Who has no other name is shown by it already, and nothing is to be drawn again.
      if (known !== undefined || name !== user) isNew = true;
    }
    while (this.#names.size > NAMES_KEPT) this.#names.delete(this.#names.keys().next().value);
    if (isNew) this.emit("names");
  }

  // Those asked for in one go are asked for in one request.
  #ask(user) {
    if (this.#asked.has(user) || this.#asked.size >= NAMES_KEPT) return;
    if (this.#asked.size === 0) setTimeout(() => this.#askAll(), NAMES_WAIT_MS);
    this.#asked.add(user);
  }

  async #askAll() {
    const users = [...this.#asked].slice(0, NAMES_AT_ONCE);
    if (users.length === 0) return;
    let names = {};
    try {
      ({ names } = await this.#chat.request("profiles", { users }));
    } catch {
      // The user names do, for now; without a connection they are asked for again.
      if (this.#chat.state !== "online") return this.#asked.clear();
    }
    this.#learn({ ...Object.fromEntries(users.map((user) => [user, user])), ...names });
    for (const user of users) this.#asked.delete(user);
    if (this.#asked.size > 0) this.#askAll();
  }
}

// The other one of the two in a direct message; null for what is none of `user`'s.
export function otherIn(room, user) {
  if (!room.startsWith("dm:")) return null;
  const pair = room.slice(3).split(",").map(decodeURIComponent);
  return pair.length === 2 && pair.includes(user) ? (pair.find((name) => name !== user) ?? user) : null;
}

export function directRoom(one, other) {
  return `dm:${[one, other].map(escaped).sort().join(",")}`;
}

// A user's name as that of a room of two has it: what is none of a-z 0-9 . _ - is written as %XX.
function escaped(user) {
  const hex = (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
  return encodeURIComponent(user).replace(/%..|[A-Z!~*'()]/g, (found) => (found.length > 1 ? found : hex(found)));
}

// Room names, and the list of rooms this tab has visited.

export const HOME = "general";
export const ROOMS_KEPT = 30;

const NAME = /^[\p{L}\p{M}\p{Nd} ._-]{1,64}$/u;
const DIRECT = /^dm:[a-z0-9._-]{1,32},[a-z0-9._-]{1,32}$/;

// Returns the name without what its reader does not see, or null if it is not one.
export function readRoomName(text) {
  const name = text.normalize("NFC").trim().replace(/ +/g, " ");
  return NAME.test(name) || DIRECT.test(name) ? name : null;
}

// What a room goes by, as nearly as the browser can tell; the server has the last word.
export function identityOf(name) {
  return name.normalize("NFKC").toLowerCase().normalize("NFKC");
}

export class Rooms {
  #storage;

  constructor(storage) {
    this.#storage = storage;
    const { names = [], current = HOME, titles = new Map() } = recall(storage);
    this.names = [HOME, ...names.filter((name) => name !== HOME)];
    this.current = current;
    // How rooms are written that go by another name.
    this.titles = titles;
  }

  titleOf(name) {
    return this.titles.get(name) ?? name;
  }

  visit(name, title = this.titleOf(name)) {
    this.current = name;
    this.titles.set(name, title);
    if (!this.names.includes(name)) this.names.push(name);
    // The home room stays; the room visited first gives way.
    if (this.names.length > ROOMS_KEPT) this.titles.delete(this.names.splice(1, 1)[0]);
    this.#remember();
  }

  drop(name) {
    this.names = this.names.filter((other) => other === HOME || other !== name);
    this.titles.delete(name);
    if (this.current === name) this.current = HOME;
    this.#remember();
  }

  forget() {
    this.#storage.removeItem(KEY);
  }

  #remember() {
    this.#storage.setItem(KEY, JSON.stringify({ names: this.names, current: this.current, titles: [...this.titles] }));
  }
}

const KEY = "hubbub.rooms";

// Storage is the user's to edit: anything unreadable counts as nothing.
function recall(storage) {
  try {
    const { names, current, titles = [] } = JSON.parse(storage.getItem(KEY)) ?? {};
    const isRoom = (name) => typeof name === "string" && readRoomName(name) === name;
    return {
      names: Array.isArray(names) ? names.filter(isRoom).slice(0, ROOMS_KEPT) : [],
      current: isRoom(current) ? current : HOME,
      titles: new Map(titles.filter((pair) => pair.length === 2 && pair.every(isRoom)).slice(0, ROOMS_KEPT)),
    };
  } catch {
    return {};
  }
}

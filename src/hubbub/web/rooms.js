// Room names, and the list of rooms this tab has visited.

export const HOME = "general";
export const ROOMS_KEPT = 30;

const NAME = /^[\p{L}\p{M}\p{Nd} ._-]{1,64}$/u;
const DIRECT = /^dm:[a-z0-9._-]{1,32},[a-z0-9._-]{1,32}$/;

// Returns the name as the server will spell it, or null if it is not one.
export function readRoomName(text) {
  const name = text.normalize("NFC").trim();
  return NAME.test(name) || DIRECT.test(name) ? name : null;
}

export class Rooms {
  #storage;

  constructor(storage) {
    this.#storage = storage;
    const { names = [], current = HOME } = recall(storage);
    this.names = [HOME, ...names.filter((name) => name !== HOME)];
    this.current = current;
  }

  visit(name) {
    this.current = name;
    if (!this.names.includes(name)) this.names.push(name);
    // The home room stays; the room visited first gives way.
    if (this.names.length > ROOMS_KEPT) this.names.splice(1, 1);
    this.#remember();
  }

  drop(name) {
    this.names = this.names.filter((other) => other === HOME || other !== name);
    if (this.current === name) this.current = HOME;
    this.#remember();
  }

  forget() {
    this.#storage.removeItem(KEY);
  }

  #remember() {
    this.#storage.setItem(KEY, JSON.stringify({ names: this.names, current: this.current }));
  }
}

const KEY = "hubbub.rooms";

// Storage is the user's to edit: anything unreadable counts as nothing.
function recall(storage) {
  try {
    const { names, current } = JSON.parse(storage.getItem(KEY)) ?? {};
    const isRoom = (name) => typeof name === "string" && readRoomName(name) === name;
    return {
      names: Array.isArray(names) ? names.filter(isRoom).slice(0, ROOMS_KEPT) : [],
      current: isRoom(current) ? current : HOME,
    };
  } catch {
    return {};
  }
}

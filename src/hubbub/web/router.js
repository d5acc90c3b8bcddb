// What the address says after its #, and back: each room and each message has a URL.

// The names of a route: room (room, seq), directory, people, signup (token), home.
export function readRoute(hash) {
  const [name, ...rest] = hash.replace(/^#\/?/, "").split("/").map(decode);
  if (name === "room" && rest[0]) return { name, room: rest[0], seq: readSeq(rest[1]) };
  if (name === "signup" && rest[0]) return { name, token: rest[0] };
  if (name === "directory") return { name: rest[0] === "people" ? "people" : "directory" };
  return { name: "home" };
}

export function roomPath(room, seq = null) {
  // Spaces as %20 and colons as they are: the address is read by people too.
  const path = `#/room/${encodeURIComponent(room).replaceAll("%3A", ":").replaceAll("%2C", ",")}`;
  return seq === null ? path : `${path}/${seq}`;
}

export class Router {
  // go: takes a route, for each one that the reader comes to.
  constructor({ window, go }) {
    this.window = window;
    this.go = go;
    window.addEventListener("hashchange", () => this.follow());
  }

  get route() {
    return readRoute(this.window.location.hash);
  }

  follow() {
    this.go(this.route);
  }

  // isReplaced: the way back leads past the present address.
  open(path, { isReplaced = false } = {}) {
    const { location, history } = this.window;
    if (location.hash === path) return this.follow();
    if (!isReplaced) {
      location.hash = path;
      return;
    }
    history.replaceState(null, "", path || location.pathname);
    this.follow();
  }
}

function readSeq(text) {
  return /^[1-9]\d{0,15}$/.test(text ?? "") ? Number(text) : null;
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}

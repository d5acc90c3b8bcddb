// Rooms, people and the way out; a drawer on a narrow screen.

import { find, make, setHidden, setText, tintOf } from "./dom.js";
import { readRoomName } from "./rooms.js";

export class Sidebar {
  #aside = find("sidebar");
  #main = find("conversation");
  #toggle = find("drawer-toggle");
  #rooms = find("rooms");
  #members = find("members");
  #form = find("room-form");
  #field = find("room-field");
  #error = find("room-error");
  #narrow = matchMedia("(max-width: 759px)");
  #isOpen = false;
  #drawn = { rooms: "", members: "" };

  constructor({ goTo, logout }) {
    this.goTo = goTo;
    this.#toggle.addEventListener("click", () => this.#open(true));
    find("drawer-close").addEventListener("click", () => this.close());
    find("backdrop").addEventListener("click", () => this.close());
    find("logout").addEventListener("click", logout);
    this.#narrow.addEventListener("change", () => this.#open(false));
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#isOpen) this.close();
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener("input", () => this.#complain(""));
    this.#open(false);
  }

  render({ rooms, room, members, unlisted, user }) {
    this.#drawRooms(rooms, room.name);
    this.#drawMembers(members, unlisted, user);
    setText(find("user-name"), user ?? "");
  }

  clear() {
    this.#open(false);
    this.#form.reset();
    this.#complain("");
    this.#rooms.replaceChildren();
    this.#members.replaceChildren();
    this.#drawn = { rooms: "", members: "" };
    setText(find("user-name"), "");
  }

  close() {
    this.#open(false);
    this.#toggle.focus();
  }

  #open(isOpen) {
    const isDrawer = this.#narrow.matches;
    this.#isOpen = isDrawer && isOpen;
    this.#toggle.setAttribute("aria-expanded", String(this.#isOpen));
    this.#aside.classList.toggle("is-open", this.#isOpen);
    setHidden(find("backdrop"), !this.#isOpen);
    // What is out of sight must be out of reach of the Tab key too.
    this.#aside.inert = isDrawer && !this.#isOpen;
    this.#main.inert = this.#isOpen;
    if (this.#isOpen) find("drawer-close").focus();
  }

  #submit() {
    const name = readRoomName(this.#field.value);
    if (name === null) {
      this.#complain("A room name has 1 to 64 letters, digits, spaces or . _ -");
      this.#field.focus();
      return;
    }
    this.#form.reset();
    this.#enter(name);
  }

  #enter(name) {
    this.#complain("");
    this.#open(false);
    this.goTo(name);
  }

  #complain(words) {
    this.#field.toggleAttribute("aria-invalid", words !== "");
    if (words) this.#field.setAttribute("aria-invalid", "true");
    setText(this.#error, words);
    setHidden(this.#error, words === "");
  }

  #drawRooms(rooms, current) {
    const { names } = rooms;
    const titles = names.map((name) => rooms.titleOf(name));
    if (!this.#isNew("rooms", [current, ...names, ...titles])) return;
    this.#rooms.replaceChildren(...names.map((name, at) => this.#roomItem(name, titles[at], name === current)));
  }

  #roomItem(name, title, isCurrent) {
    const button = make("button", { type: "button", className: "room", title }, make("span", {}, title));
    if (isCurrent) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => this.#enter(name));
    return make("li", {}, button);
  }

  #drawMembers(members, unlisted, user) {
    setHidden(find("people"), members === null);
    if (members === null || !this.#isNew("members", [user, unlisted, ...members])) return;
    setText(find("people-count"), String(members.length + unlisted));
    this.#members.replaceChildren(...members.map((name) => memberItem(name, name === user)));
    if (unlisted) this.#members.append(make("li", { className: "member" }, `and ${unlisted} more`));
  }

  // Redrawing equal lists would take the focus from the button under it.
  #isNew(what, values) {
    const drawn = JSON.stringify(values);
    if (this.#drawn[what] === drawn) return false;
    this.#drawn[what] = drawn;
    return true;
  }
}

function memberItem(name, isSelf) {
  const item = make(
    "li",
    { className: "member" },
    make("span", { className: `dot ${tintOf(name)}`, "aria-hidden": "true" }),
    make("span", { className: "member-name" }, name),
  );
  if (isSelf) item.append(make("span", { className: "you" }, "you"));
  return item;
}

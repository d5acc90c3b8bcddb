import { equal, test } from "/modules/testing.js";

const HTML = `<nav id="sidebar"><button id="unread-above"></button><div id="sidebar-lists"><ul id="rooms"></ul><ul id="directs"></ul></div>
<button id="unread-below"></button><button id="sidebar-close"></button><button id="account"></button><span id="account-dot"></span>
<span id="account-name"></span></nav><div id="backdrop"></div><main id="main"><button id="sidebar-open"></button></main><aside id="panel"></aside>`;

async function setUp() {
  document.body.innerHTML = HTML;
  const { Sidebar } = await import("/web/sidebar.js");
  const chat = { user: "percy", state: "online", rooms: new Map(), on: () => {} };
  const store = {
    room: null,
    on: () => {},
    nameOf: (user) => user,
    isOnline: (user) => user === "alice",
    otherIn: (room) => (room.startsWith("dm:") ? room.slice(3).split(",").find((name) => name !== "percy") : null),
    titleOf: (room) => store.otherIn(room) ?? chat.rooms.get(room).title,
  };
  const sidebar = new Sidebar({ chat, store });
  const add = (room, more = {}) =>
    chat.rooms.set(room, { room, title: room, followed: true, state: "in", unread: 0, mentions: 0, muted: false, active: "", ...more });
  return { sidebar, chat, store, add };
}

const names = (list) => [...document.querySelectorAll(`#${list} .place-name`)].map(({ textContent }) => textContent);
const link = (name) => [...document.querySelectorAll(".places a, #rooms a, #directs a")].find((each) => each.querySelector(".place-name").textContent === name);

test("rooms go by name, with their numbers as numbers, and direct messages by who wrote last", async () => {
  const { sidebar, add } = await setUp();
  for (const room of ["room 10", "Garden", "room 9", "alpha"]) add(room);
  add("dm:alice,percy", { active: "2026-01-01T00:00:00.000Z" });
  add("dm:bob,percy", { active: "2026-01-02T00:00:00.000Z" });
  sidebar.draw();
  equal(names("rooms"), ["alpha", "Garden", "room 9", "room 10"]);
  equal(names("directs"), ["bob", "alice"]);
  equal(sidebar.order, ["alpha", "Garden", "room 9", "room 10", "dm:bob,percy", "dm:alice,percy"]);
});

test("drawing again keeps the focus, though another room has come before", async () => {
  const { sidebar, add } = await setUp();
  add("general");
  sidebar.draw();
  const general = link("general");
  general.focus();
  add("a room");
  sidebar.draw();
  equal(names("rooms"), ["a room", "general"]);
  equal(document.activeElement === general, true);
});

test("what is unread is said in words and shown as a number; of a muted room only mentions are", async () => {
  const { sidebar, add } = await setUp();
  add("garden", { unread: 14 });
  add("release", { unread: 5, mentions: 2 });
  add("random", { unread: 3, muted: true });
  add("busy", { unread: 100 });
  add("dm:alice,percy", { unread: 1 });
  sidebar.draw();
  const pill = (name) => (link(name).querySelector(".pill").hidden ? "" : link(name).querySelector(".pill").textContent);
  const words = (name) => link(name).querySelector(".visually-hidden").textContent;
  equal(["garden", "release", "random", "busy", "alice"].map(pill), ["14", "@ 2", "", "99+", "1"]);
  equal(words("release"), ", 5 unread, 2 mentions");
  equal(words("random"), ", 3 unread, muted");
  equal(words("alice"), ", online, 1 unread");
});

test("a room that is not followed is listed only while we are in it", async () => {
  const { sidebar, add } = await setUp();
  add("left", { followed: false, state: "out" });
  add("let in", { followed: false });
  sidebar.draw();
  equal(names("rooms"), ["let in"]);
});

test("nothing is drawn once nobody is signed in", async () => {
  const { sidebar, add } = await setUp();
  add("secret");
  sidebar.draw();
  sidebar.clear();
  sidebar.changed();
  await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  equal(names("rooms"), []);
});

test("the button that opens the list says that something is unread in another room", async () => {
  const { sidebar, chat, store, add } = await setUp();
  const open = document.getElementById("sidebar-open");
  const isTold = () => [open.classList.contains("has-unread"), open.getAttribute("aria-label")?.includes("unread") ?? false];
  add("general", { unread: 1 });
  add("quiet", { unread: 3, muted: true });
  store.room = "general";
  sidebar.draw();
  equal(isTold(), [false, false]);
  add("garden", { unread: 1 });
  sidebar.draw();
  equal(isTold(), [true, true]);
  chat.rooms.get("garden").unread = 0;
  sidebar.draw();
  equal(isTold(), [false, false]);
  add("garden", { unread: 1 });
  sidebar.draw();
  sidebar.clear();
  equal(isTold(), [false, false]);
});

// The page for admins: signs in with the session of the chat page, and shows one view at a time.

import { Hubbub } from "../hubbub.js";
import { audit } from "./admin-audit.js";
import { find, tell } from "./admin-dom.js";
import { overview } from "./admin-overview.js";
import { rooms } from "./admin-rooms.js";
import { users } from "./admin-users.js";

const VIEWS = { overview, users, rooms, audit };
const EVERY_MS = 5_000;

const chat = new Hubbub(new URL("./", location.href).href, { storage: "indexeddb", name: "page" });
let isOpen = false;

function viewOf(hash) {
  return hash.slice(1) in VIEWS ? hash.slice(1) : "overview";
}

/** Show the view of the address, and ask for what it shows. */
async function show({ isMoved = false } = {}) {
  const chosen = viewOf(location.hash);
  for (const name of Object.keys(VIEWS)) find(name).hidden = name !== chosen;
  for (const link of find("views").querySelectorAll("a")) {
    if (viewOf(link.hash) === chosen) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${find(`${chosen}-title`).textContent} · Admin · Hubbub`;
  if (isMoved) find(`${chosen}-title`).focus();
  await refresh(chosen);
}

async function refresh(name) {
  if (chat.state !== "online") return;
  try {
    await VIEWS[name].refresh(chat);
  } catch (error) {
    if (error.code === "forbidden") showDoor();
    else if (error.code !== "unanswered") tell(error.message, { isBad: true });
  }
}

/** Show what an admin sees, or why there is nothing to see. */
function showDoor() {
  const isIn = Boolean(chat.user) && chat.state !== "closed";
  const isAdmin = isIn && chat.role === "admin";
  find("sign-in").hidden = isIn;
  find("sign-out").hidden = !isIn;
  find("not-admin").hidden = !isIn || isAdmin || !chat.role;
  find("views").hidden = !isAdmin;
  if (!isAdmin) for (const name of Object.keys(VIEWS)) find(name).hidden = true;
  return isAdmin;
}

function enter() {
  if (!showDoor()) return;
  if (!isOpen) {
    isOpen = true;
    for (const view of Object.values(VIEWS)) view.open(chat);
  }
  show();
}

const LINES = { online: "", connecting: "Connecting…", offline: "No connection; what is shown is old.", closed: "" };

chat.on("state", ({ state }) => {
  find("line").textContent = LINES[state] || (state === "online" ? chat.user : "");
  find("line").classList.toggle("is-down", state === "offline");
  if (state === "online") enter();
});
chat.on("closed", ({ reason }) => {
  find("sign-in-error").textContent = reason;
  showDoor();
});

find("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { user, password } = Object.fromEntries(new FormData(event.target));
  const button = event.target.querySelector("button");
  button.disabled = true;
  find("sign-in-error").textContent = "";
  try {
    await chat.signIn(user.trim().toLowerCase(), password);
    event.target.reset();
  } catch (error) {
    find("sign-in-error").textContent = error.message;
  } finally {
    button.disabled = false;
  }
});
find("sign-out").addEventListener("click", async () => {
  await chat.signOut();
  location.reload();
});

addEventListener("hashchange", () => isOpen && showDoor() && show({ isMoved: true }));
document.addEventListener("visibilitychange", () => !document.hidden && isOpen && refresh(viewOf(location.hash)));
setInterval(() => {
  if (isOpen && !document.hidden && viewOf(location.hash) === "overview" && showDoor()) refresh("overview");
}, EVERY_MS);

if (!(await chat.resumeSession())) showDoor();

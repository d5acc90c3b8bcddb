// Puts the page together, and lets people in and out.

import { Hubbub } from "../hubbub.js";
import { Brief } from "./brief.js";
import { drawIcons } from "./icons.js";
import { find, setText } from "./dom.js";
import { Badge, Notifier } from "./notify.js";
import { roomPath, Router } from "./router.js";
import { openSettings } from "./settings-dialog.js";
import { Shell } from "./shell.js";
import { listen, MOD } from "./shortcuts.js";
import { SignIn } from "./signin.js";
import { Status } from "./status.js";
import { Store } from "./store.js";

const SESSION_ENDED = 4100;

// Users may be an application's; then its cookie says who is here.
const isTheirs = document.documentElement.dataset.users === "application";
const chat = new Hubbub(new URL("./", location.href).href, { storage: "indexeddb", name: "page" });
const store = new Store({
  chat,
  storage: localStorage,
  page: document,
  go: (room, seq) => router.open(roomPath(room, seq)),
});
const router = new Router({ window, go });
const shell = new Shell({ chat, store, router });
const status = new Status({ chat, retry });
const badge = new Badge({ chat, store });
const notifier = new Notifier({
  chat,
  store,
  offer: offerNotifications,
  navigator,
  BroadcastChannel: window.BroadcastChannel,
  Notification: window.Notification,
});
const brief = new Brief({ local: localStorage, session: sessionStorage, BroadcastChannel });
const signIn = new SignIn(find("signin"), {
  chat,
  begin: (isKept) => {
    brief.begin(isKept);
    begin();
  },
});

let isIn = false;
let endedWords = "";
let wasOffered = false;

function begin() {
  isIn = true;
  signIn.hide();
  if (router.route.name === "signup") history.replaceState(null, "", location.pathname);
  notifier.start();
  shell.begin();
  badge.draw();
}

// A connection that the server has ended for good is begun anew.
async function retry() {
  if (chat.state !== "closed") chat.retryNow();
  else if (await resume()) shell.begin();
}

// In as whoever this browser is signed in as: here, or at the application that this hub is a part of.
async function resume() {
  if (await chat.resumeSession()) return true;
  return isTheirs && chat.signIn().then(() => true, () => false);
}

// Nothing of the conversation stays behind: not on the page, and not in memory.
function leave(words = "") {
  isIn = false;
  notifier.stop();
  shell.end();
  status.clear();
  badge.clear();
  signIn.show(words);
}

async function signOut() {
  const { user } = chat;
  const told = chat.signOut().then(() => "", () => "Signed out here, but the server could not be told.");
  leave();
  store.forget(user);
  brief.end();
  history.replaceState(null, "", location.pathname);
  const words = await told;
  if (words && !isIn) signIn.show(words);
}

function go(route) {
  if (isIn) shell.go(route);
  else if (route.name === "signup") signIn.offerSignUp(route.token);
}

// Once, and only when there was something that a notification would have told.
function offerNotifications() {
  if (wasOffered || store.kept("notNow") || !window.Notification) return;
  wasOffered = true;
  store.keep("notNow", true);
  shell.notice("Shall this browser tell you of mentions and direct messages?", {
    button: "Notify me",
    act: () => notifier.ask(),
  });
}

function applyTheme() {
  const { theme } = store.settings;
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

// The link of a server without accounts: /#setup=SECRET. It is used up, and should not stay in the history.
function takeSetupSecret() {
  const secret = new URLSearchParams(location.hash.slice(1)).get("setup");
  if (secret) history.replaceState(null, "", location.pathname);
  return secret;
}

chat.on("closed", ({ code, reason }) => {
  if (code !== SESSION_ENDED) return;
  endedWords = reason || "Your session has ended. Please sign in again.";
  if (isIn) leave(endedWords);
});
store.on("settings", applyTheme);
addEventListener("storage", ({ key }) => {
  if (key === "hubbub.settings") store.reread();
});
document.addEventListener("visibilitychange", () => store.emit("presence"));
find("account").addEventListener("click", () => openSettings({ chat, store, notifier, signOut, isTheirs }));
listen({
  store,
  isActive: () => isIn,
  acts: {
    jump: () => shell.jump(),
    step: (by, isUnread) => shell.step(by, isUnread),
    search: () => shell.openSearch(),
  },
});

applyTheme();
drawIcons(document);
setText(find("jump-keys"), `${MOD} K`);
if (!["localhost", "127.0.0.1", "[::1]"].includes(location.hostname)) setText(find("team"), location.hostname);

const secret = takeSetupSecret();
const { route } = router;
const isOver = await brief.isOver();
const isResumed = await resume();
if (isOver) {
  brief.end();
  if (isResumed) await chat.signOut().catch(() => {});
}
find("arriving").remove();
if (isResumed && !isOver) {
  begin();
} else {
  signIn.show(isOver ? "" : endedWords);
  if (secret) signIn.offerSetup(secret);
  else if (route.name === "signup") signIn.offerSignUp(route.token);
}

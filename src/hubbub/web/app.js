// Puts the page together: session, connection, conversation and view.

import { Backoff } from "./backoff.js";
import { Chat, MESSAGE_LIMIT } from "./chat.js";
import { decode } from "./codec.js";
import { Connection } from "./connection.js";
import { Rooms } from "./rooms.js";
import { Session } from "./session.js";
import { View } from "./view.js";

const TICK_MS = 1000;

const now = () => Date.now();
const session = new Session({ fetch: (...request) => fetch(...request), storage: sessionStorage, now });
const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;

let setupSecret = null;
let chat = null;
let connection = null;

const view = new View(
  {
    async login(name, password) {
      if (setupSecret) await setUp(name, password);
      else await session.login(name, password);
      offerSetup(null);
      begin();
    },
    async logout() {
      connection.stop();
      chat.rooms.forget();
      leave();
      await session.logout().catch(() => view.login.show("Logged out here, but the server could not be told."));
    },
    say: (text) => chat.say(text),
    typed: (hasText) => chat.typed(hasText),
    goTo: (room) => chat.goTo(room),
    retry: (key) => chat.retry(key),
    discard: (key) => chat.discard(key),
    showEarlier: () => chat.showEarlier(),
    dismissNotice: () => chat.dismissNotice(),
    // Named apart from the message's retry: this one is the connection's.
    reconnect: () => connection.retryNow(),
  },
  { limit: MESSAGE_LIMIT },
);

// Nothing of the conversation stays behind: not on the page, and not in memory.
function leave(words = "") {
  chat = connection = null;
  view.showLogin(words);
}

function offerSetup(secret) {
  setupSecret = secret;
  view.login.offerSetup(secret !== null);
}

async function setUp(name, password) {
  try {
    await session.setUp(setupSecret, name, password);
  } catch (failure) {
    if (failure.isFinal) offerSetup(null);
    throw failure;
  }
}

// Only the server knows whether the link is still good.
async function askForSetup(secret) {
  const isOpen = await session.isSetupOpen().catch(() => false);
  if (isRunning()) return;
  if (isOpen) offerSetup(secret);
  else view.login.show("This link has been used. Log in, or ask for an account.");
}

// The link of a server without accounts: /#setup=SECRET. It is used up, and should not stay in the history.
function takeSetupSecret() {
  const secret = new URLSearchParams(location.hash.slice(1)).get("setup");
  if (secret) history.replaceState(null, "", location.pathname);
  return secret;
}

function begin() {
  chat = new Chat({
    rooms: new Rooms(sessionStorage),
    send: (text) => connection.send(text),
    changed: () => view.changed(),
    heard: () => view.title.heard(),
    move: (within) => connection.moveWithin(within),
    newKey,
    now,
  });
  connection = new Connection({
    url,
    ticket: () => session.ticket(),
    why: () => session.whyRefused(),
    backoff: new Backoff(),
    WebSocket,
    timers: { set: (act, ms) => setTimeout(act, ms), clear: (timer) => clearTimeout(timer) },
    random: Math.random,
    now,
    onState: follow,
    onFrame: hear,
  });
  connection.start();
  view.showChat(() => ({ chat, state: connection.state, hasNetwork: navigator.onLine, now: now() }));
}

function follow(state) {
  if (chat.isWelcomed) chat.disconnected();
  if (state.name === "ended" && state.needsLogin) {
    session.forget();
    leave(state.words);
  }
  view.changed();
}

function hear(text) {
  const event = decode(text);
  if (event) chat.receive(event);
}

// randomUUID exists only over https and on localhost, and --no-tls serves others too.
function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");
}

function isRunning() {
  return connection !== null && connection.state.name !== "stopped";
}

setInterval(() => {
  if (!isRunning()) return;
  if (chat.tick()) connection.lost();
  view.changed();
}, TICK_MS);

addEventListener("online", () => {
  if (!isRunning()) return;
  if (connection.state.name === "waiting") connection.retryNow();
  else chat.probe();
});
addEventListener("offline", () => {
  if (isRunning()) chat.probe();
  view.changed();
});
// After sleep the line may be dead without a word.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && isRunning()) chat.probe();
});

const secret = takeSetupSecret();
if (session.isOpen) begin();
else view.showLogin();
if (secret && !session.isOpen) askForSetup(secret);

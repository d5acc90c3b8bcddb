// What tells a reader who looks elsewhere: notifications, the title, and the count on the icon.

import { find } from "./dom.js";

const LOCK = "hubbub.notifies";
const CHANNEL = "hubbub.reading";
// So long the other tabs have to say that the room is being read there.
const ANSWER_MS = 150;
const BODY_LENGTH = 200;
const MOST_ON_ICON = 99;
// A message that is read as it comes is unread for a moment, which nobody needs to see.
const DRAW_MS = 250;

// One tab of all notifies: whoever has the lock, until it is closed.
export class Notifier {
  #isChosen = false;
  #channel = null;
  #reading = new Set();
  #release = null;

  constructor({ chat, store, offer, navigator, BroadcastChannel, Notification }) {
    Object.assign(this, { chat, store, offer, navigator, BroadcastChannel, Notification });
    chat.on("message", (message) => this.#heard(message));
  }

  start() {
    if (this.BroadcastChannel && this.#channel === null) {
      this.#channel = new this.BroadcastChannel(CHANNEL);
      this.#channel.addEventListener("message", ({ data }) => this.#told(data));
    }
    const { locks } = this.navigator;
    // Without locks there is no Notification either: both are for secure pages alone.
    if (!locks || this.#release) return;
    const ended = new Promise((resolve) => {
      this.#release = resolve;
    });
    locks.request(LOCK, () => {
      this.#isChosen = true;
      return ended;
    });
  }

  stop() {
    this.#isChosen = false;
    this.#release?.();
    this.#release = null;
    this.#channel?.close();
    this.#channel = null;
  }

  get permission() {
    return this.Notification ? this.Notification.permission : "denied";
  }

  // Only a click lets a browser ask; returns whether the reader agreed.
  async ask() {
    return this.Notification !== undefined && (await this.Notification.requestPermission()) === "granted";
  }

  async #heard(message) {
    const room = this.chat.rooms.get(message.room);
    if (!isWorthIt(message, room, this.chat.user, this.store)) return;
    if (this.permission === "default") {
      if (isForMe(message, this.chat.user, this.store)) this.offer();
      return;
    }
    if (!this.#isChosen || this.permission !== "granted" || this.store.isReading(message.room)) return;
    if (await this.#isReadElsewhere(message.room)) return;
    if (room.read >= message.seq) return;
    this.#show(message);
  }

  async #isReadElsewhere(room) {
    this.#reading.delete(room);
    this.#channel?.postMessage({ ask: room });
    await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
    return this.#reading.has(room);
  }

  #told({ ask, reading }) {
    if (ask !== undefined && this.store.isReading(ask)) this.#channel.postMessage({ reading: ask });
    if (reading !== undefined) this.#reading.add(reading);
  }

  #show({ room, from, text, seq }) {
    const name = this.store.nameOf(from);
    const title = this.store.otherIn(room) === null ? `${name} in ${this.store.titleOf(room)}` : name;
    // With one tag for a room, a newer message takes the place of an older one.
    const notification = new this.Notification(title, {
      body: text.length > BODY_LENGTH ? `${text.slice(0, BODY_LENGTH)}…` : text,
      tag: `hubbub ${room}`,
      icon: "web/icon.svg",
    });
    notification.addEventListener("click", () => {
      window.focus();
      this.store.open(room, seq);
      notification.close();
    });
  }
}

function isWorthIt(message, room, user, store) {
  const { notify } = store.settings;
  if (!message.isLive || message.isOwn || message.type !== "new_message" || message.deleted) return false;
  if (notify === "off" || room === undefined || room.muted) return false;
  return notify === "all" || isForMe(message, user, store);
}

function isForMe({ room, text }, user, store) {
  return store.otherIn(room) !== null || mentions(text, user);
}

// Whether the text names the user, as in "@percy, come".
export function mentions(text, user) {
  const name = user.replaceAll(/[^\w ]/g, "\\$&");
  return new RegExp(`(?<![\\w@.-])@${name}(?![\\w-]|\\.\\w)`, "i").test(text);
}

// The title of the tab and the count on its icon: what is for the reader alone counts there.
export class Badge {
  #drawn = "";
  #link = find("favicon");
  #plain = this.#link.href;
  #icon = null;
  #timer = null;

  constructor({ chat, store }) {
    this.chat = chat;
    this.store = store;
    for (const event of ["room", "rooms"]) chat.on(event, () => this.#drawSoon());
    store.on("names", () => this.#drawSoon());
    store.on("place", () => this.draw());
  }

  #drawSoon() {
    this.#timer ??= setTimeout(() => this.draw(), DRAW_MS);
  }

  draw() {
    this.#stop();
    const rooms = [...this.chat.rooms.values()];
    const isDirect = (room) => this.store.otherIn(room) !== null;
    const count = rooms.reduce((sum, { room, unread, mentions, muted }) => sum + (isDirect(room) && !muted ? unread : mentions), 0);
    const hasUnread = rooms.some(({ unread, muted }) => unread > 0 && !muted);
    const { title } = this.store;
    const drawn = JSON.stringify([count, hasUnread, title]);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const mark = count > 0 ? `(${Math.min(count, MOST_ON_ICON)}) ` : hasUnread ? "• " : "";
    document.title = `${mark}${title ? `${title} · ` : ""}Hubbub`;
    this.#drawIcon(count, hasUnread);
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  clear() {
    this.#stop();
    this.#drawn = "";
    document.title = "Hubbub";
    this.#drawIcon(0, false);
  }

  async #drawIcon(count, hasUnread) {
    if (count > 0) navigator.setAppBadge?.(count).catch(() => {});
    else navigator.clearAppBadge?.().catch(() => {});
    const link = this.#link;
    if (count === 0 && !hasUnread) {
      link.href = this.#plain;
      link.type = "image/svg+xml";
      return;
    }
    const drawn = this.#drawn;
    this.#icon ??= loaded(this.#plain);
    const image = await this.#icon.catch(() => null);
    if (image === null || drawn !== this.#drawn) return;
    link.type = "image/png";
    link.href = picture(image, count);
  }
}

function loaded(url) {
  const image = new Image(64, 64);
  image.src = url;
  return image.decode().then(() => image);
}

function picture(image, count) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 64;
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0, 64, 64);
  pen.fillStyle = count > 0 ? "#bf4408" : "#f5b95f";
  pen.beginPath();
  if (count === 0) pen.arc(50, 14, 13, 0, 2 * Math.PI);
  else pen.roundRect(count > 9 ? 16 : 26, 26, count > 9 ? 48 : 38, 38, 19);
  pen.fill();
  if (count > 0) {
    pen.fillStyle = "#ffffff";
    pen.font = "700 30px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.fillText(String(Math.min(count, MOST_ON_ICON)), count > 9 ? 40 : 45, 47);
  }
  return canvas.toDataURL("image/png");
}

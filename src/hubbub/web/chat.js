// The conversation: takes what the server and the reader say, and knows no
// socket, no page and no clock but those passed in.

import { characters, encode, fitsInFrame } from "./codec.js";
import { Outbox } from "./outbox.js";
import { refusalWords } from "./refusals.js";
import { Requests } from "./requests.js";
import { Room } from "./room.js";
import { HOME, identityOf } from "./rooms.js";
import { Typists, TypingTeller } from "./typing.js";

export const MESSAGE_LIMIT = 4000;
const ANSWER_MS = 10_000;
const PAGE = 50;

export class Chat {
  user = null;
  notice = "";
  isWelcomed = false;
  typists = new Typists();
  #typing = new TypingTeller();
  #requests = new Requests();
  // Where to return to if the room we asked for does not let us in.
  #previous = null;
  // Request types this server answered with unknown_type, not asked again, and
  // those it acked.
  #unknown = new Set();
  #known = new Set();

  // send: takes text, returns whether it is on its way. changed: called after
  // anything the page shows. heard: called with each new message of another.
  // move: called with the pause when the server asks us to reconnect.
  constructor({ rooms, send, changed, heard = () => {}, move = () => {}, newKey, now }) {
    Object.assign(this, { rooms, send, changed, heard, move, now });
    this.room = new Room(rooms.current, rooms.titleOf(rooms.current));
    this.outbox = new Outbox({ newKey });
  }

  // What the reader does

  // `written` is how the reader writes the name.
  goTo(written) {
    const name = identityOf(written);
    if (name === this.room.name) return;
    this.#tellTyping(this.#typing.stop());
    this.typists.forget();
    this.#previous = this.room.wasJoined ? this.room : this.#previous;
    this.room = new Room(name, written === name ? this.rooms.titleOf(name) : written);
    this.rooms.visit(name, this.room.title);
    this.notice = "";
    if (this.isWelcomed) this.#changeRoom();
    this.changed();
  }

  // Returns the words of what is wrong with the text, or "" once it is taken.
  say(message) {
    if (characters(message) > MESSAGE_LIMIT) return `A message has at most ${MESSAGE_LIMIT} characters.`;
    if (!fitsInFrame(encode("send_message", { room: this.room.name, message, key: "-".repeat(50) }, "c000000"))) {
      return "This message takes too much space. Please shorten it.";
    }
    if (this.outbox.isFull) return "Too many messages are waiting to be sent.";
    this.outbox.add({ room: this.room.name, message, now: this.now() });
    // A message ends the notice for everyone who sees it.
    this.#typing.forget();
    this.#flush();
    this.changed();
    return "";
  }

  retry(key) {
    this.outbox.retry(key);
    this.#flush();
    this.changed();
  }

  discard(key) {
    this.outbox.remove(key);
    this.changed();
  }

  typed(hasText) {
    this.#tellTyping(this.#typing.input(hasText, this.now()));
  }

  showEarlier() {
    const before = this.room.timeline.oldestSeq ?? this.room.cursor + 1;
    this.#request("history", { room: this.room.name, before, limit: PAGE });
  }

  get offersEarlier() {
    const { isJoined, hasEarlier, timeline } = this.room;
    return isJoined && hasEarlier && !timeline.isFull && !this.#unknown.has("history");
  }

  // Who is here, or null. A server that does not answer `presence` does not tell
  // who comes and goes either, and its list would be wrong a moment later.
  get members() {
    return this.#known.has("presence") ? this.room.members : null;
  }

  // How many are here whom `members` does not name.
  get unlisted() {
    return this.room.unlisted;
  }

  dismissNotice() {
    this.notice = "";
    this.changed();
  }

  // What time does

  // Returns whether the line looks dead: a request has waited too long.
  tick() {
    this.#tellTyping(this.#typing.tick(this.now()));
    return this.#requests.hasOlderThan(ANSWER_MS, this.now());
  }

  // Asks for any answer at all. Even unknown_type proves that the line lives.
  probe() {
    if (this.room.isJoined) this.#request("presence", { room: this.room.name }, { evenIfUnknown: true });
  }

  disconnected() {
    this.isWelcomed = false;
    this.room.isJoined = false;
    this.#requests.forget();
    this.#typing.forget();
    this.typists.forget();
    this.outbox.disconnected(this.now());
    this.changed();
  }

  // What the server says

  receive({ type, id, payload }) {
    switch (type) {
      case "welcome":
        this.#welcomed(payload);
        break;
      case "ack":
        this.#acked(this.#requests.settle(id), payload);
        break;
      case "error":
        this.#refused(this.#requests.settle(id), payload);
        break;
      case "reconnect":
        this.move(Number(payload.within) || 0);
        break;
      default:
        if (payload.room === this.room.name && this.room.isJoined) this.#happened(type, payload);
    }
    this.changed();
  }

  #welcomed({ user }) {
    this.user = user;
    this.isWelcomed = true;
    this.#enterRoom();
  }

  #happened(type, payload) {
    const { room, typists } = this;
    switch (type) {
      case "new_message":
        typists.hear(payload.from, false, this.now());
        if (room.hear(payload) && payload.from !== this.user) this.heard(payload);
        break;
      case "member_joined":
        room.memberJoined(payload.user);
        break;
      case "member_left":
        room.memberLeft(payload.user);
        typists.hear(payload.user, false, this.now());
        break;
      case "typing":
        if (payload.user !== this.user) typists.hear(payload.user, payload.on === true, this.now());
        break;
      case "gap":
        room.missed(payload.from, payload.to);
        break;
      case "removed":
        this.#putOut(`You are out of ${room.title}: ${refusalWords(payload)}`);
        break;
      case "epoch":
        // Coming back tells what became of messages shown here that the log has lost.
        if (!room.goOn(payload)) this.move(0);
        break;
      case "read":
        break; // its seq is how far someone has read, and no place in the log that we have come to
      default:
        // An application's own event: nothing to show, but it has a seq to resume from.
        if (Number.isInteger(payload.seq)) room.hear({ ...payload, type });
    }
  }

  #acked(request, payload) {
    if (request) this.#known.add(request.type);
    switch (request?.type) {
      case "join_room":
      case "change_room":
        this.#entered(request, payload);
        break;
      case "send_message":
        this.#kept(request, payload);
        break;
      case "history":
        if (this.#isHere(request) && payload.epoch === this.room.epoch) this.room.addEarlier(payload);
        break;
      case "presence":
        if (this.#isHere(request) && Array.isArray(payload.members)) this.room.takeMembers(payload);
    }
  }

  #refused(request, error) {
    if (request && error.code === "unknown_type") this.#unknown.add(request.type);
    switch (request?.type) {
      case "join_room":
        if (error.code === "unknown_type") this.#changeRoom();
        else this.#turnedAway(request, error);
        break;
      case "change_room":
        this.#turnedAway(request, error);
        break;
      case "send_message":
        this.outbox.fail(request.context.key, refusalWords(error), { newKey: error.code === "conflict" });
        break;
      case "history":
        this.notice = refusalWords(error);
        break;
      case undefined:
        if (error.code !== "unknown_type") this.notice = refusalWords(error);
    }
  }

  // Entering

  #enterRoom() {
    const { room } = this;
    if (!room.wasJoined || this.#unknown.has("join_room")) this.#changeRoom();
    else this.#request("join_room", { room: room.name, since: room.since });
  }

  #changeRoom() {
    this.#request("change_room", { name: this.room.title });
  }

  #entered(request, ack) {
    if (!this.#isHere(request)) return;
    if (typeof ack.room === "string" && ack.room !== this.room.name) this.#rename(ack.room);
    this.room.enter(ack);
    this.rooms.visit(this.room.name, this.room.title);
    this.#previous = null;
    if (!this.#known.has("presence")) this.#request("presence", { room: this.room.name });
    this.outbox.expire(this.now());
    this.#flush();
  }

  // The server has the last word on what the room goes by.
  #rename(name) {
    this.rooms.drop(this.room.name);
    this.outbox.move(this.room.name, name);
    this.room.name = name;
  }

  #turnedAway(request, error) {
    if (this.#isHere(request)) this.#putOut(`You cannot enter ${this.room.title}: ${refusalWords(error)}`);
  }

  #putOut(notice) {
    const { name } = this.room;
    this.notice = notice;
    this.room.isJoined = false;
    if (name === HOME) return;
    this.rooms.drop(name);
    this.room = this.#previous ?? new Room(HOME);
    this.#previous = null;
    this.rooms.visit(this.room.name);
    // Asked again and not assumed: the server may have counted us out of both.
    if (this.isWelcomed) this.#enterRoom();
  }

  // Sending

  // Only after the room let us in: until then the server would answer not_in_room.
  #flush() {
    if (!this.room.isJoined) return;
    for (const entry of this.outbox.waiting(this.room.name)) {
      const { room, message, key } = entry;
      if (this.#request("send_message", { room, message, key })) this.outbox.sent(entry, this.now());
    }
  }

  #kept({ context }, { seq, sent }) {
    const entry = this.outbox.remove(context.key);
    if (entry?.room !== this.room.name) return;
    const { key, message } = entry;
    this.room.keepOwn({ seq, from: this.user, message, sent, key });
  }

  #tellTyping(on) {
    if (on !== null && this.room.isJoined) this.#request("typing", { room: this.room.name, on });
  }

  #request(type, payload, { evenIfUnknown = false } = {}) {
    if (this.#unknown.has(type) && !evenIfUnknown) return false;
    const id = this.#requests.open(type, payload, this.now());
    if (this.send(encode(type, payload, id))) return true;
    this.#requests.settle(id);
    return false;
  }

  // An answer about a room we have left meanwhile changes nothing here.
  #isHere({ context }) {
    return context.room === this.room.name || context.name === this.room.title;
  }
}

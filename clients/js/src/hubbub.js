// A client of Hubbub: signs in, stays connected, and shows each message once and in order.

import { Conversation, fold } from "./hubbub/conversation.js";
import { HubbubError, SESSION_ENDED, TURNED_AWAY } from "./hubbub/errors.js";
import { Listeners, newKey } from "./hubbub/events.js";
import { Line } from "./hubbub/line.js";
import { react } from "./hubbub/message.js";
import { Outbox, Outgoing } from "./hubbub/outbox.js";
import { Pace } from "./hubbub/pace.js";
import { Renewal } from "./hubbub/renewal.js";
import { Room } from "./hubbub/room.js";
import { Session } from "./hubbub/session.js";
import { indexedStore, memoryStore } from "./hubbub/store.js";

export { HubbubError, Outgoing, Room, react };

const HISTORY = 50;

// Who is remembered after signing out while the server could not be told.
const LEFT = "-";

// Asking for these twice is the same as asking once.
const REPEATABLE = new Set(
  "follow unfollow mute list_rooms list_users search profile profiles set_profile presence history".split(" "),
);

/** @typedef {import("./hubbub/message.js").Message} Message */
/** @typedef {import("./hubbub/message.js").Changed} Changed */
/** @typedef {import("./hubbub/conversation.js").Joined} Joined */
/** @typedef {import("./hubbub/conversation.js").Page} Page */
/** @typedef {import("./hubbub/events.js").Payload} Payload */

/**
 * @typedef {object} Options
 * @property {"indexeddb" | "memory"} [storage] where what was not sent is kept; IndexedDB where there is one
 * @property {string} [name] of the database; two that are named differently share nothing
 * @property {import("./hubbub/session.js").Token} [token] of the application's own, for its own users: a JWT, or a function
 *   that gives one, which is asked before each connection and before the last one runs out
 * @property {"include" | "same-origin"} [credentials] sign in by the cookie of the application's own
 * @property {typeof globalThis.WebSocket} [WebSocket] for Node before 22
 * @property {typeof globalThis.fetch} [fetch]
 */

/**
 * @typedef {object} Events
 * @property {{state: import("./hubbub/line.js").State, reason: string, retryIn: number}} state `retryIn` in seconds; 0 for unknown
 * @property {Message} message each once, in the order of its room
 * @property {Changed} changed
 * @property {{room: string, from: number, to: number, isNewLog: boolean}} gap messages that are gone from the log; with
 *   `isNewLog` the log has begun anew, and so have its seqs
 * @property {{}} rooms the map has other rooms
 * @property {{room: string}} room something about a room is different
 * @property {{room: string}} members
 * @property {{room: string}} typing
 * @property {{room: string, user: string, seq: number}} read
 * @property {{room: string, code: string, message: string}} removed the server took this client out of a room
 * @property {Outgoing} outgoing its state is another one
 * @property {{user: string, name: string}} profile
 * @property {{code: number, reason: string}} closed the conversation is over, and does not go on by itself
 * @property {{type: string, payload: Payload}} signal an event of the application's own that is not kept
 */

/** One user's conversation with a server. It goes on over lost connections, until it is signed out. */
export class Hubbub {
  #listeners = new Listeners();
  #session;
  #line;
  #conversation;
  #outbox;
  #pace = new Pace(0, 0);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #writeTimer;
  #user = "";
  #endCode = 0;
  #renewal;
  #place;

  /**
   * @param {string} [url] of the server, `https://host:port`, or its path on that of the page, which is without one
   * @param {Options} [options]
   */
  constructor(
    url = "",
    { storage, name = "hubbub", token, credentials, WebSocket = globalThis.WebSocket, fetch = globalThis.fetch } = {},
  ) {
    const own = globalThis.location?.origin ?? "";
    const base = (/^(\/(?!\/)|$)/.test(url) ? own + url : url).replace(/\/+$/, "");
    if (!/^https?:\/\/[^/]/.test(base)) throw new TypeError(`${JSON.stringify(url)} is no server's URL; write https://host:port`);
    if (!WebSocket) throw new TypeError("there is no WebSocket here; pass one as an option, as that of the package ws");
    const isShared = storage !== "memory" && typeof indexedDB !== "undefined";
    // A cookie is for the server's own pages; it comes from there, and goes nowhere else.
    const isOwn = storage !== "memory" && own !== "" && `${base}/`.startsWith(`${own}/`);
    this.#place = `${name} ${base}`;
    this.#session = new Session(base, (...request) => fetch(...request), isOwn, { token, credentials });
    this.#renewal = new Renewal(() => this.#renew());
    this.#conversation = new Conversation((type, event) => this.#listeners.tell(type, event), {
      wake: () => this.#write(),
      lose: () => this.#line.lose("The server's log is another one."),
      move: (within) => this.#line.moveWithin(within),
      moved: (from, to) => this.#outbox.move(from, to),
    });
    this.#outbox = new Outbox(isShared ? indexedStore(name) : memoryStore(), isShared, {
      isReady: (outgoing) => this.#isReady(outgoing),
      ask: (outgoing) => this.#sendOne(outgoing),
      told: (outgoing) => this.#listeners.tell("outgoing", outgoing),
    });
    this.#line = new Line(this.#session, WebSocket, {
      opened: (welcome) => this.#opened(welcome),
      received: (frame) => this.#received(frame),
      dropped: () => this.#dropped(),
      changed: () => this.#changed(),
      ended: (code, reason) => this.#ended(code, reason),
      hasUnanswered: () => this.#conversation.requests.hasUnanswered,
    });
  }

  // What is known

  get user() {
    return this.#conversation.user || this.#user;
  }

  /** The user's display name. */
  get name() {
    return this.#conversation.name || this.user;
  }

  get role() {
    return this.#conversation.role;
  }

  get state() {
    return this.#line.state;
  }

  /** What the server can do besides, such as `search`. */
  get features() {
    return this.#conversation.features;
  }

  /** What the server takes: `max_message`, `max_frame` and others; 0 for no limit. */
  get limits() {
    return this.#conversation.limits;
  }

  /** Rooms that the user follows, and those that this client is in, by what they go by. */
  get rooms() {
    return this.#conversation.rooms;
  }

  /**
   * @template {keyof Events} T
   * @param {T} type
   * @param {(event: Events[T]) => void} listener
   * @returns {() => void} ends it
   */
  on(type, listener) {
    return this.#listeners.on(type, listener);
  }

  // Signing in and out

  /**
   * Sign in, and connect. Throws `unauthorized` for a wrong name or password, `forbidden`, `rate_limited`, `unreachable`.
   * @param {string} [user] none for a user of an application's: by its `token`, or by its cookie
   * @param {string} [password]
   */
  async signIn(user = "", password = "") {
    if (user) await this.#session.signIn(user, password);
    else await this.#session.enter();
    await this.#begin(user);
    const { state, reason } = this.#line;
    if (state === "closed") throw new HubbubError(this.#endCode === TURNED_AWAY ? "forbidden" : "closed", reason);
    // Without the name that the server knows the user by there is no outbox.
    if (!this.#user) {
      this.close();
      throw new HubbubError("unreachable", reason || "The server cannot be reached.");
    }
  }

  /**
   * Go on with the session of an earlier page, if there is one: in a page of the server's own.
   * @returns {Promise<boolean>} false where the user has to sign in
   */
  async resumeSession() {
    const user = this.#session.remembers ? this.#remember() : null;
    if (user === LEFT) this.#leave().catch(() => {});
    if (!user || user === LEFT) return false;
    await this.#begin(user);
    return this.state !== "closed";
  }

  /** End the session, and forget what was not sent. */
  async signOut() {
    this.#outbox.clear();
    this.#end(new HubbubError("closed", "The user has signed out."));
    await this.#leave();
  }

  // The cookie outlives a server that cannot be told; the next page tells it.
  async #leave() {
    if (this.#session.remembers) this.#remember(LEFT);
    this.#user = LEFT;
    await this.#session.signOut().catch((error) => {
      if (error.status !== 401) throw error; // it was over already
    });
    this.#remember("");
    this.#user = "";
  }

  /** Leave without ending the session: a page does that when it is closed. */
  close() {
    this.#end(new HubbubError("closed", "The conversation was closed."));
  }

  /** Try to connect now, where the next try is some time away. */
  retryNow() {
    this.#line.retryNow();
  }

  /**
   * Resolves when the first try to connect has come to something.
   * @param {string} user
   */
  async #begin(user) {
    this.#user = user;
    this.#endCode = 0;
    if (user) await this.#openOutbox();
    const tried = new Promise((resolve) => {
      const off = this.on("state", ({ state }) => {
        if (state === "connecting") return;
        off();
        resolve(state);
      });
    });
    this.#conversation.begin();
    this.#line.start();
    await tried;
  }

  #openOutbox() {
    return this.#outbox.open(`${this.#place} ${this.#user}`);
  }

  /**
   * Have the connection last longer: by another token, or by another connection.
   * @returns {Promise<number | undefined>}
   */
  async #renew() {
    if (!this.#session.token) return void this.#line.moveWithin(0);
    const token = await this.#session.newToken();
    return (await this.#conversation.ask("renew", { token }, "connection")).expires;
  }

  /**
   * Whose session there is, which no script can ask the cookie: without it each first visit would ask in vain.
   * @param {string} [user] write it; empty for none
   */
  #remember(user) {
    try {
      if (user === undefined) return localStorage.getItem(this.#place);
      if (user) localStorage.setItem(this.#place, user);
      else if (localStorage.getItem(this.#place) === this.#user) localStorage.removeItem(this.#place);
    } catch {} // storage may be turned off
    return null;
  }

  /** @param {HubbubError} error */
  #end(error) {
    this.#line.stop(error.message);
    this.#conversation.end(error);
    this.#outbox.close();
    clearTimeout(this.#writeTimer);
  }

  // Rooms

  /**
   * Follow a room, on all devices and until it is unfollowed. It is heard by joining it.
   * @param {string} room
   * @returns {Promise<Room>}
   */
  async follow(room) {
    const entry = await this.request("follow", { room });
    return /** @type {Room} */ (this.rooms.get(entry.room));
  }

  /** @param {string} room */
  async unfollow(room) {
    await this.request("unfollow", { room });
  }

  /**
   * @param {string} room
   * @param {boolean} on
   */
  async mute(room, on) {
    await this.request("mute", { room, on });
  }

  /**
   * Enter a room. What is said after `messages` comes as events, whatever happens to connections.
   * @param {string} room
   * @param {{history?: number}} [options] so many messages at most, 0 to 200
   */
  join(room, { history = HISTORY } = {}) {
    return this.#conversation.join(room, history).finally(() => this.#outbox.flush());
  }

  /** @param {string} room */
  leave(room) {
    return this.#conversation.leave(room);
  }

  /**
   * Messages of a room that was joined: before or after a seq, from a time on, or the newest.
   * @param {string} room
   * @param {{before?: number, after?: number, at?: string, limit?: number}} [where] `at` in RFC 3339; `limit` 1 to 200
   */
  history(room, { limit = HISTORY, ...where } = {}) {
    return this.#conversation.history(room, { ...where, limit });
  }

  /**
   * Tell the others that the user types; call it with each key. It ends by itself.
   * @param {string} room
   * @param {boolean} on
   */
  typing(room, on) {
    this.#conversation.typing(room, on);
  }

  /**
   * Tell that the user has read up to a message.
   * @param {string} room
   * @param {number} seq
   */
  markRead(room, seq) {
    this.#conversation.markRead(room, seq);
  }

  // Saying something

  /**
   * Say something in a room. It is kept here until the server has kept it, over lost connections and reloads.
   * @param {string} room
   * @param {string} text
   * @param {{key?: string}} [options] the same key within five minutes is the same message
   */
  send(room, text, { key = newKey() } = {}) {
    this.#conversation.said(fold(room));
    return this.#outbox.send(fold(room), text, key);
  }

  /**
   * What is not known to be kept, oldest first: of one room, or of all.
   * @param {string} [room]
   */
  outbox(room) {
    return this.#outbox.in(room && fold(room));
  }

  /**
   * @param {string} room
   * @param {number} seq
   * @param {string} text
   */
  async edit(room, seq, text) {
    return this.#conversation.amend("edit_message", room, { seq, message: text });
  }

  /**
   * @param {string} room
   * @param {number} seq
   */
  async delete(room, seq) {
    return this.#conversation.amend("delete_message", room, { seq });
  }

  /**
   * @param {string} room
   * @param {number} seq
   * @param {string} emoji
   * @param {boolean} on
   */
  async react(room, seq, emoji, on) {
    return this.#conversation.amend("react", room, { seq, emoji, on });
  }

  // Anything else

  /**
   * Send an event that there is no method for. One that may do something twice is `unanswered` where the connection
   * goes before its answer.
   * @param {string} type
   * @param {Payload} [payload]
   * @returns {Promise<any>} the answer's payload
   */
  request(type, payload = {}) {
    return this.#conversation.ask(type, payload, REPEATABLE.has(type) ? "repeatable" : "once");
  }

  /**
   * Ask the server over HTTP, as the user who is signed in.
   * @param {string} path
   * @param {import("./hubbub/session.js").Ask} [ask] POST where it has no method; `body` is sent as JSON
   */
  http(path, ask) {
    return this.#session.request(path, ask);
  }

  // The line

  /** @param {Payload} welcome */
  #opened(welcome) {
    // In another tab somebody else has signed in, and the cookie is theirs now.
    const { isForeign, isRenewable, remembers } = this.#session;
    if ((remembers || (isForeign && this.#user)) && welcome.user !== this.#user) return this.#line.end(SESSION_ENDED);
    if (isForeign) {
      this.#user = welcome.user;
      this.#openOutbox();
    }
    if (isRenewable) this.#renewal.start(welcome.expires);
    this.#pace = new Pace(welcome.limits?.client_rate ?? 0, welcome.limits?.client_burst ?? 0);
    this.#conversation.opened(welcome);
    if (remembers) this.#remember(welcome.user);
    this.#outbox.show(true);
    this.#outbox.flush();
    this.#write();
  }

  /** @param {import("./hubbub/events.js").Frame} frame */
  #received(frame) {
    this.#conversation.received(frame);
    if (frame.type !== "ack" && frame.type !== "error") return;
    this.#line.answered();
    this.#outbox.flush();
    this.#write();
  }

  #dropped() {
    clearTimeout(this.#writeTimer);
    this.#renewal.stop();
    this.#conversation.dropped();
    this.#outbox.show(false);
  }

  #changed() {
    const { state, reason, retryIn } = this.#line;
    this.#listeners.tell("state", { state, reason, retryIn });
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #ended(code, reason) {
    this.#endCode = code;
    if (code === SESSION_ENDED) this.#remember("");
    this.#end(new HubbubError("closed", reason));
    this.#listeners.tell("closed", { code, reason });
  }

  /** @param {Outgoing} outgoing */
  #isReady({ room, isRestored }) {
    const state = this.rooms.get(room)?.state ?? "out";
    return this.#line.isOpen && (state === "in" || (state === "out" && !isRestored));
  }

  /**
   * @param {Outgoing} outgoing
   * @returns {Promise<any>}
   */
  #sendOne({ room, text, key, sentAt }) {
    return this.#conversation.ask("send_message", { room, message: text, key }, "keyed", room, { writtenAt: sentAt });
  }

  #write() {
    clearTimeout(this.#writeTimer);
    const { requests, limits } = this.#conversation;
    while (this.#line.isOpen && !this.#line.isMoving) {
      const now = performance.now();
      const request = this.#pace.delay(now) ? null : requests.next(now);
      if (!request) {
        const wait = this.#pace.delay(now) || requests.wait(now);
        if (wait < Infinity) this.#writeTimer = setTimeout(() => this.#write(), wait);
        return;
      }
      const { type, number, payload, kind } = request;
      const text = JSON.stringify({ type, ...(kind !== "fleeting" && { id: number }), payload });
      const size = limits.max_frame ? new TextEncoder().encode(text).length : 0;
      // The server would close this connection for it, and the next one for the same request.
      const message = `A request has at most ${limits.max_frame} bytes, and this one has ${size}.`;
      if (size > limits.max_frame) this.#conversation.refuse(request, { code: "too_large", message });
      else {
        this.#pace.take();
        this.#line.send(text);
      }
    }
  }
}

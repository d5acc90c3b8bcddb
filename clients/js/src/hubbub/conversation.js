// One user's conversation with the server, over all connections: what each frame means. Knows no socket.

import { HubbubError } from "./errors.js";
import { newKey } from "./events.js";
import { changeOf, isChange, messageOf } from "./message.js";
import { Requests } from "./requests.js";
import { Room } from "./room.js";
import { sorted } from "./cursor.js";

// Messages in one request for history; the server's most.
const PAGE = 200;
// Between two tries to fetch what the server refuses for now.
const REFILL_MS = 1_000;
const MARK_EVERY_MS = 1_000;
// A notice is told again while typing goes on, and taken back when it does not.
const TYPING_EVERY_MS = 3_000;
const TYPING_IDLE_MS = 5_000;
const MOST_OWN_KEYS = 1_000;

/** @typedef {import("./events.js").Payload} Payload */
/** @typedef {import("./message.js").Message} Message */
/** @typedef {import("./requests.js").Request} Request */

/**
 * The answer to a join: `messages` are the newest, oldest first; `members` 1,000 at most, `count` all.
 * @typedef {{room: string, title: string, epoch: string, seq: number, read: number, members: string[], count: number, messages: Message[]}} Joined
 */

/**
 * A page of a room's log; `first` and `last` are the seqs that it reaches from and to, those included that only change
 * other messages and are not listed. 0 for none.
 * @typedef {{messages: Message[], more: boolean, first: number, last: number}} Page
 */

/**
 * What a room goes by, as nearly as can be told here; the server has the last word.
 * @param {string} name
 */
export function fold(name) {
  // Those of two users are written in one way only.
  return name.startsWith("dm:") ? name : name.normalize("NFKC").toLowerCase().normalize("NFKC");
}

export class Conversation {
  user = "";
  name = "";
  role = "";
  session = "";
  /** @type {string[]} what the server can do besides */
  features = [];
  /** @type {Record<string, number>} 0 for none */
  limits = {};
  /** @type {Map<string, Room>} */
  rooms = new Map();
  requests = new Requests();
  /** @type {HubbubError | null} why nothing can be asked */
  over = new HubbubError("closed", "Nobody has signed in.");
  #mention = /(?!)/;
  /** @type {Map<string, string>} keys of own messages that are kept and whose copies have not come */
  #ownKeys = new Map();
  /** @type {Map<string, {at: number, timer: ReturnType<typeof setTimeout>}>} */
  #types = new Map();
  /** @type {WeakSet<Room>} */
  #filling = new WeakSet();

  /**
   * @param {(type: string, event: object) => void} tell
   * @param {{wake: () => void, lose: () => void, move: (within: number) => void, moved: (from: string, to: string) => void}} line
   *   there is something to write; the connection is of no use; the server asks to leave it; a room has another name
   */
  constructor(tell, line) {
    this.tell = tell;
    this.line = line;
  }

  // Connections

  /** From now on what is asked for waits for a connection. */
  begin() {
    this.over = null;
  }

  /** @param {Payload} welcome */
  opened({ user, name = user, role = "", session = "", limits = {}, features = [], rooms = [] }) {
    Object.assign(this, { user, name, role, session, limits, features });
    const escaped = user.replace(/[^\w ]/g, "\\$&");
    this.#mention = new RegExp(`(?<![\\w.@-])@${escaped}(?![\\w-]|\\.\\w)`, "i");
    this.requests.expire();
    this.#takeRooms(rooms.filter((/** @type {unknown} */ entry) => typeof entry === "object"));
    for (const room of this.rooms.values()) if (room.state === "away") this.#askBack(room);
  }

  dropped() {
    for (const room of this.rooms.values()) {
      room.drop();
      room.typing.clear();
    }
    this.#stopTyping();
    this.requests.drop();
  }

  /** @param {HubbubError} error why nothing will be written any more */
  end(error) {
    this.over = error;
    this.requests.fail(error);
    for (const room of this.rooms.values()) room.leave();
    this.rooms.clear();
    this.#ownKeys.clear();
  }

  /** @param {Room} room */
  #askBack(room) {
    const payload = { room: room.room, since: room.since };
    this.requests.add("join_room", payload, "connection", room.room).catch(({ code, message }) => {
      if (code !== "closed" && room.state === "away") this.#putOut(room, { code, message });
    });
  }

  // Requests

  /**
   * @param {string} type
   * @param {Payload} payload
   * @param {import("./requests.js").Kind} kind
   * @param {string} [lane]
   * @param {{writtenAt?: number, notBefore?: number}} [times]
   */
  ask(type, payload, kind, lane, times) {
    if (this.over) return Promise.reject(this.over);
    const answer = this.requests.add(type, payload, kind, lane, times);
    this.line.wake();
    return answer;
  }

  /**
   * @param {string} name
   * @param {number} history
   * @returns {Promise<Joined>}
   */
  async join(name, history) {
    if (this.over) throw this.over;
    const lane = fold(name);
    const known = this.rooms.get(lane);
    if (known?.isPlaced && !this.requests.find("leave_room", lane)) {
      try {
        return await this.#look(known, history);
      } catch (error) {
        if (!(error instanceof HubbubError) || error.code !== "not_in_room") throw error;
        known.leave(); // the server has put this client out, and said nothing
      }
    }
    const room = known ?? new Room(lane);
    this.rooms.set(lane, room);
    if (room.state === "out") room.state = "entering";
    if (!known) this.tell("rooms", {});
    const entered = await this.ask("join_room", { room: name, history }, "repeatable", lane);
    const { title = entered.room, epoch, seq, read = 0, members = [], count = members.length } = entered;
    return { room: entered.room, title, epoch, seq, read, members, count, messages: this.#listed(entered) };
  }

  /**
   * What a join would tell of a room that is joined.
   * @param {Room} room
   * @param {number} history
   * @returns {Promise<Joined>}
   */
  async #look(room, history) {
    const { members, count = members.length } = await this.ask("presence", { room: room.room }, "repeatable", room.room);
    const page = history ? await this.history(room.room, { limit: history }) : { messages: [], last: 0 };
    const { title, epoch, read } = room;
    room.members = new Set(members);
    room.count = count;
    return { room: room.room, title, epoch, seq: page.last || room.last, read, members, count, messages: page.messages };
  }

  /** @param {string} name */
  async leave(name) {
    const lane = fold(name);
    try {
      await this.ask("leave_room", { room: lane }, "repeatable", lane);
    } catch (error) {
      if (!(error instanceof HubbubError) || error.code !== "not_in_room") throw error;
    }
  }

  /**
   * @param {string} name
   * @param {{before?: number, after?: number, at?: string, limit?: number}} where
   * @returns {Promise<Page>}
   */
  async history(name, where) {
    const page = await this.ask("history", { room: fold(name), ...where }, "repeatable", fold(name));
    const seqs = sorted(page.messages).map(({ seq }) => seq);
    const messages = this.#listed(page);
    for (const { seq, deleted, reactions = [] } of messages) {
      this.rooms.get(page.room)?.keep(seq, deleted ? "deleted" : reactions);
    }
    return { messages, more: page.more === true, first: seqs[0] ?? 0, last: seqs.at(-1) ?? 0 };
  }

  /** @param {Payload} answer */
  #listed({ room, messages }) {
    const shown = sorted(messages).filter(({ type }) => !isChange(type));
    return shown.map((payload) => messageOf(payload, room, this.user, false));
  }

  /**
   * @param {string} name
   * @param {boolean} on
   */
  typing(name, on) {
    const room = fold(name);
    const told = this.#types.get(room);
    clearTimeout(told?.timer);
    if (!on) {
      this.#types.delete(room);
      if (told) this.#fleet(room, false);
      return;
    }
    const isTold = told !== undefined && Date.now() - told.at < TYPING_EVERY_MS;
    const timer = setTimeout(() => this.typing(room, false), TYPING_IDLE_MS);
    this.#types.set(room, { at: isTold ? told.at : Date.now(), timer });
    if (!isTold) this.#fleet(room, true);
  }

  /**
   * @param {string} room
   * @param {boolean} on
   */
  #fleet(room, on) {
    if (this.rooms.get(room)?.state === "in") this.ask("typing", { room, on }, "fleeting", room);
  }

  #stopTyping() {
    for (const { timer } of this.#types.values()) clearTimeout(timer);
    this.#types.clear();
  }

  /**
   * @param {string} name
   * @param {number} seq
   */
  markRead(name, seq) {
    const room = this.rooms.get(fold(name));
    if (!room?.markRead(seq)) return;
    this.tell("room", { room: room.room });
    const lane = `read ${room.room}`;
    const other = this.requests.find("mark_read", lane);
    if (other && !other.writtenAt) other.payload.seq = seq;
    else {
      const notBefore = other ? performance.now() + MARK_EVERY_MS : 0;
      this.ask("mark_read", { room: room.room, seq }, "repeatable", lane, { notBefore }).catch(() => {});
    }
  }

  /** A message ends the notice that its author types, for everyone who sees it. */
  said(/** @type {string} */ room) {
    clearTimeout(this.#types.get(room)?.timer);
    this.#types.delete(room);
  }

  /**
   * @param {string} type
   * @param {string} room
   * @param {Payload} payload
   */
  amend(type, room, payload) {
    return this.ask(type, { room: fold(room), ...payload, key: newKey() }, "keyed", fold(room));
  }

  // Frames

  /** @param {import("./events.js").Frame} frame */
  received({ type, id, payload }) {
    const room = this.rooms.get(payload.room);
    switch (type) {
      case "ack":
        return this.#acked(this.requests.written(id), payload);
      case "error":
        return this.#refused(this.requests.written(id), payload);
      case "reconnect":
        return this.line.move(Number(payload.within));
      case "epoch":
        if (room && !room.goOn(payload)) this.line.lose();
        return;
      case "gap":
        if (room) this.#show(room, room.lose(payload.from, payload.to));
        return;
      case "removed":
        if (room?.state === "in") this.#putOut(room, payload);
        return;
      case "member_joined":
      case "member_left":
        return room && this.#moved(room, payload.user, type === "member_joined");
      case "typing":
        return room && this.#typed(room, payload.user, payload.on === true);
      case "read":
        if (payload.user === this.user && room?.markRead(payload.seq)) this.tell("room", { room: room.room });
        return this.tell("read", payload);
      case "room_added":
        return this.#follow(payload.entry ?? payload);
      case "room_removed":
        return this.#unfollow(payload.room);
      case "room_changed":
        return room && this.#roomChanged(room, payload);
      case "profile_changed":
        if (payload.user === this.user) this.name = payload.name;
        return this.tell("profile", payload);
    }
    // No event but one that is kept has a seq.
    if (payload.room === undefined || payload.seq === undefined) this.tell("signal", { type, payload });
    else if (room) this.#show(room, room.hear(type, payload));
  }

  /**
   * @param {Request | undefined} request
   * @param {Payload} payload
   */
  #acked(request, payload) {
    if (!request) return; // nobody waits for it
    const shown = this.#takeEffect(request, payload);
    this.requests.acked(request, payload);
    shown?.();
  }

  /**
   * @param {Request} request
   * @param {Payload} payload
   */
  #takeEffect({ type, payload: asked, lane }, payload) {
    const room = this.rooms.get(payload.room ?? lane);
    switch (type) {
      case "join_room":
        return this.#entered(asked, String(lane), payload);
      case "leave_room":
        if (room) this.#left(room);
        return;
      case "mark_read":
        if (room?.markRead(payload.seq)) this.tell("room", { room: room.room });
        return;
      case "send_message":
        this.#ownKeys.set(`${payload.seq} ${payload.room}`, asked.key);
        if (this.#ownKeys.size > MOST_OWN_KEYS) this.#ownKeys.delete(this.#ownKeys.keys().next().value ?? "");
        return;
      case "follow":
        return this.#follow(payload);
      case "unfollow":
        return this.#unfollow(payload.room);
      case "mute":
        return room && this.#roomChanged(room, payload);
      case "set_profile":
        this.name = payload.name;
    }
  }

  /**
   * @param {Request | undefined} request
   * @param {Payload} error
   */
  #refused(request, error) {
    if (request) this.refuse(request, error);
  }

  /**
   * @param {Request} request
   * @param {Payload} error
   */
  refuse(request, error) {
    if (!this.requests.refused(request, error, performance.now())) return this.line.wake();
    const room = this.rooms.get(String(request.lane));
    if (!room) return;
    if (request.type === "leave_room" && error.code === "not_in_room") this.#left(room);
    if (request.type === "join_room" && room.state === "entering" && !this.requests.find("join_room", room.room)) this.#left(room);
  }

  // Rooms

  /**
   * @param {Payload} asked
   * @param {string} lane
   * @param {Payload} entered
   */
  #entered(asked, lane, entered) {
    const name = entered.room;
    const known = this.rooms.get(lane);
    const room = this.rooms.get(name) ?? known ?? new Room(name);
    // The server has the last word on what a room goes by; messages come under that.
    if (name !== lane) {
      this.rooms.delete(lane);
      this.line.moved(lane, name);
    }
    room.room = name;
    this.rooms.set(name, room);
    const isResumed = "since" in asked && room.state === "away";
    const isFirst = !room.isPlaced;
    const uncounted = isFirst ? room.uncountedAfter(entered) : null;
    const shown = isResumed ? room.resume(entered) : room.enter(entered);
    room.take(entered);
    if (isFirst) room.see(this.#listed(entered), this.#mention);
    if (uncounted !== null) this.#count(room, uncounted);
    this.tell("members", { room: name });
    if (isFirst) this.tell("rooms", {});
    return () => this.#show(room, shown);
  }

  /**
   * Count what was said after the server's word on a room and before the join.
   * @param {Room} room
   * @param {number} after
   */
  async #count(room, after) {
    let page;
    while (!page && room.state === "in") page = await this.#pageAfter(room, after);
    if (!page || room.state === "out") return;
    room.see(this.#listed(page), this.#mention);
    this.tell("room", { room: room.room });
  }

  /** @param {Room} room */
  #left(room) {
    room.leave();
    if (this.requests.find("join_room", room.room)) room.state = "entering";
    else if (!room.followed) this.rooms.delete(room.room);
    this.tell("room", { room: room.room });
    this.tell("rooms", {});
  }

  /**
   * @param {Room} room
   * @param {Payload} why
   */
  #putOut(room, { code, message }) {
    this.#left(room);
    this.tell("removed", { room: room.room, code, message });
  }

  /** @param {Payload[]} entries */
  #takeRooms(entries) {
    const names = new Set(entries.map(({ room }) => room));
    for (const room of [...this.rooms.values()]) if (room.followed && !names.has(room.room)) this.#forget(room);
    for (const entry of entries) this.#entry(entry);
    this.tell("rooms", {});
  }

  /** @param {Room} room that is not followed any more */
  #forget(room) {
    room.followed = false;
    if (room.state === "out") this.rooms.delete(room.room);
  }

  /** @param {Payload} entry */
  #entry(entry) {
    const room = this.rooms.get(entry.room) ?? new Room(entry.room);
    this.rooms.set(entry.room, room);
    room.follow(entry);
  }

  /** @param {Payload} entry */
  #follow(entry) {
    this.#entry(entry);
    this.tell("room", { room: entry.room });
    this.tell("rooms", {});
  }

  /** @param {string} name */
  #unfollow(name) {
    const room = this.rooms.get(name);
    if (!room) return;
    this.#forget(room);
    this.tell("room", { room: name });
    this.tell("rooms", {});
  }

  /**
   * @param {Room} room
   * @param {Payload} change
   */
  #roomChanged(room, { muted = room.muted, read = 0 }) {
    room.muted = muted;
    room.markRead(read);
    this.tell("room", { room: room.room });
  }

  /**
   * @param {Room} room
   * @param {string} user
   * @param {boolean} isHere
   */
  #moved(room, user, isHere) {
    if (room.members.has(user) !== isHere) room.count = Math.max(0, room.count + (isHere ? 1 : -1));
    if (isHere) room.members.add(user);
    else room.members.delete(user);
    if (!isHere) this.#typed(room, user, false);
    this.tell("members", { room: room.room });
  }

  /**
   * @param {Room} room
   * @param {string} user
   * @param {boolean} on
   */
  #typed(room, user, on) {
    if (user === this.user || room.typing.has(user) === on) return;
    if (on) room.typing.add(user);
    else room.typing.delete(user);
    this.tell("typing", { room: room.room });
  }

  // Messages

  /**
   * @param {Room} room
   * @param {import("./cursor.js").Shown[]} shown
   */
  #show(room, shown) {
    for (const item of shown) {
      if ("gap" in item) this.#tellGap(room, item.gap);
      else if (isChange(item.type)) this.#change(room, item.type, item.payload);
      else this.#tellMessage(room, item);
    }
    if (shown.length > 0) this.tell("room", { room: room.room });
    if (room.isBehind) this.#fill(room);
  }

  /**
   * @param {Room} room
   * @param {{from: number, to: number, isNewLog: boolean}} gap
   */
  #tellGap(room, gap) {
    if (gap.isNewLog) room.forget();
    this.tell("gap", { room: room.room, ...gap });
  }

  /**
   * @param {Room} room
   * @param {{type: string, payload: Payload, isLive: boolean}} item
   */
  #tellMessage(room, { type, payload, isLive }) {
    const message = messageOf({ ...payload, type }, room.room, this.user, isLive);
    const place = `${message.seq} ${room.room}`;
    const key = this.#ownKeys.get(place);
    if (key !== undefined) message.key = key;
    this.#ownKeys.delete(place);
    room.see([message], this.#mention);
    if (type === "new_message") this.#typed(room, message.from, false);
    this.tell("message", message);
  }

  /**
   * @param {Room} room
   * @param {string} type
   * @param {Payload} payload
   */
  #change(room, type, payload) {
    const known = room.reactionsOf(payload.of);
    // What was deleted stays so: this is of the time before, and comes late.
    const changed = known === "deleted" ? null : changeOf(type, payload, room.room, known);
    if (!changed) return;
    if (changed.deleted) room.unsee(changed.seq);
    else if (changed.reactions) room.keep(changed.seq, changed.reactions);
    this.tell("changed", changed);
  }

  /**
   * Fetch what did not come by itself.
   * @param {Room} room
   */
  async #fill(room) {
    if (this.#filling.has(room)) return;
    this.#filling.add(room);
    while (room.isBehind) {
      const { last, epoch } = room;
      const page = await this.#pageAfter(room, last);
      if (page?.epoch !== undefined && page.epoch !== epoch && page.epoch !== room.epoch) {
        this.line.lose(); // another log under the same name: come back, and be told where it stands
        break;
      }
      if (page && room.state === "in") this.#show(room, room.fill(page.messages, last));
    }
    this.#filling.delete(room);
  }

  /**
   * @param {Room} room
   * @param {number} after
   */
  async #pageAfter(room, after) {
    try {
      return await this.ask("history", { room: room.room, after, limit: PAGE }, "repeatable", room.room);
    } catch (error) {
      const { code } = /** @type {HubbubError} */ (error);
      if (code !== "rate_limited" && code !== "unavailable") return { messages: [] }; // a gap, and it is told
      await new Promise((resolve) => setTimeout(resolve, REFILL_MS));
    }
  }
}

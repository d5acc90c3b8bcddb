// Messages as an application sees them, and what changes them.

/** @typedef {import("./events.js").Payload} Payload */

/** @typedef {{emoji: string, users: string[]}} Reaction */

/**
 * Something kept: what was said, or an event of the application's own. `payload` is all that the server has sent of it.
 * @typedef {object} Message
 * @property {string} room
 * @property {number} seq
 * @property {string} from
 * @property {string} text empty for an event of the application's own
 * @property {string} sent RFC 3339
 * @property {string} type `new_message`, or the application's
 * @property {Payload} payload
 * @property {{seq: number, sent: string}} [edited]
 * @property {boolean} [deleted]
 * @property {Reaction[]} [reactions]
 * @property {boolean} isOwn
 * @property {string} [key] of the `Outgoing` that it was, where it was sent from here
 * @property {boolean} isLive
 */

/**
 * What has become of a message: the fields that are other ones now. Where its reactions are not known here (it was not
 * seen by this client lately), a reaction comes as `change` alone.
 * @typedef {Partial<Message> & {room: string, seq: number, change: {type: string, from: string, emoji?: string, on?: boolean}}} Changed
 */

const CHANGES = new Set(["message_edited", "message_deleted", "reacted"]);

/** @param {string} [type] */
export const isChange = (type) => CHANGES.has(type ?? "");

/**
 * @param {Payload} payload as in its event, with `type` where it is no chat message
 * @param {string} room
 * @param {string} user who this client is
 * @param {boolean} isLive
 * @returns {Message}
 */
export function messageOf({ type = "new_message", ...payload }, room, user, isLive) {
  const { seq, from = "", message, sent, edited, deleted, reactions } = payload;
  const text = type === "new_message" && typeof message === "string" ? message : "";
  /** @type {Message} */
  const found = { room, seq, from, text, sent, type, payload, isOwn: from === user, isLive };
  if (edited) found.edited = edited;
  if (deleted) found.deleted = true;
  if (reactions) found.reactions = reactions;
  return found;
}

/**
 * @param {string} type
 * @param {Payload} payload of the event
 * @param {string} room
 * @param {Reaction[] | null} reactions what the message has, if that is known
 * @returns {Changed | null} null for an edit that a later one has overtaken
 */
export function changeOf(type, { seq, from, sent, of, message, emoji, on }, room, reactions) {
  const changed = { room, seq: of, change: { type, from } };
  const edited = { seq, sent };
  if (type === "message_deleted") return { ...changed, text: "", deleted: true, edited, reactions: [] };
  if (type === "message_edited") return message === undefined ? null : { ...changed, text: message, edited };
  const change = { type, from, emoji, on };
  return reactions ? { ...changed, change, reactions: react(reactions, emoji, from, on) } : { ...changed, change };
}

/**
 * The reactions of a message after one more, or one less, sorted as the server sorts them.
 * @param {Reaction[]} reactions
 * @param {string} emoji
 * @param {string} user
 * @param {boolean} on
 * @returns {Reaction[]}
 */
export function react(reactions, emoji, user, on) {
  const others = reactions.filter((each) => each.emoji !== emoji);
  const users = (reactions.find((each) => each.emoji === emoji)?.users ?? []).filter((other) => other !== user);
  if (on) users.push(user);
  if (users.length > 0) others.push({ emoji, users: users.sort() });
  return others.sort((one, other) => (one.emoji < other.emoji ? -1 : 1));
}

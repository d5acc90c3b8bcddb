// What a request can fail with, and what the end of a connection asks of the client.

/** A request that was refused, or that could not be made. */
export class HubbubError extends Error {
  /**
   * @param {string} code as in an `error` of the protocol; besides those `unauthorized`, `unreachable` (no answer),
   *   `unanswered` (the connection went first, and repeating might do it twice) and `closed`
   * @param {string} message for a person
   * @param {number} [retryAfter] seconds until asking again makes sense; 0 for unknown
   * @param {number} [status] of HTTP, where there is one
   */
  constructor(code, message, retryAfter = 0, status = 0) {
    super(message || code);
    this.name = "HubbubError";
    this.code = code;
    this.retryAfter = retryAfter;
    this.status = status;
  }
}

// A close code that is not listed ends the conversation, and so do those from 4100 on.
const COME_BACK = new Set([1001, 1005, 1006, 1011, 1012, 1013, 1014]);

export const SESSION_ENDED = 4100;
// The only ending whose reason is for the user.
export const TURNED_AWAY = 4103;

/** @type {Record<number, string>} */
const ENDINGS = {
  1009: "The server found a message too large, and ended the connection.",
  [SESSION_ENDED]: "Your session has ended. Please sign in again.",
  4101: "You were removed from the server.",
  4102: "You were disconnected for sending too much, too fast.",
  [TURNED_AWAY]: "The server does not let you in.",
};

/**
 * @param {number} code
 * @param {string} [told] what the server has said
 * @returns {string} why the conversation is over; empty where the client is to come back
 */
export function endingOf(code, told) {
  if (code === TURNED_AWAY && told) return told;
  if (COME_BACK.has(code) || (code >= 4000 && code <= 4099)) return "";
  return ENDINGS[code] ?? `The server ended the connection (code ${code}).`;
}

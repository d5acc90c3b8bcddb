// The protocol's error codes, in words for the person who wrote the message.

import { soon } from "./failures.js";

const WORDS = {
  bad_json: "The server could not read it.",
  bad_envelope: "The server could not read it.",
  unknown_type: "This server does not offer that.",
  not_in_room: "You are not in this room any more.",
  no_such_room: "There is no such room.",
  forbidden: "You are not allowed to do that.",
  too_large: "It is too long for this server.",
  conflict: "The server already has a different message with this mark.",
  unavailable: "The server cannot keep messages right now.",
  internal: "Something went wrong on the server.",
};

export function refusalWords({ code, message, retry_after: retryAfterS }) {
  if (code === "rate_limited") {
    return `That was too fast. Try again ${soon((Number(retryAfterS) || 0) * 1000)}.`;
  }
  return WORDS[code] ?? (message ? String(message) : "The server refused it.");
}

// The envelope {type, id?, payload} as JSON text, both ways.

export const PROTOCOL = "hubbub.v1";
// The server closes a connection that sends a larger frame, so the page refuses first.
export const FRAME_BYTES = 16 * 1024;

export function encode(type, payload, id) {
  return JSON.stringify(id === undefined ? { type, payload } : { type, id, payload });
}

// Returns null for what is not an envelope: a newer server may say things
// this page cannot read, and one odd frame must not end the conversation.
export function decode(text) {
  let event;
  try {
    event = JSON.parse(text);
  } catch {
    return null;
  }
  if (event === null || typeof event !== "object" || typeof event.type !== "string") return null;
  const { type, id, payload } = event;
  return { type, id, payload: payload !== null && typeof payload === "object" ? payload : {} };
}

export function fitsInFrame(text) {
  return new TextEncoder().encode(text).length <= FRAME_BYTES;
}

// How many characters the server counts: code points, not UTF-16 units.
export function characters(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

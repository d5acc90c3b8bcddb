// What a close code asks of us: come back, stop, or log in again.

const COME_BACK = new Set([1001, 1005, 1006, 1011, 1012, 1013, 1014]);

const WORDS = {
  1000: "The server ended the connection.",
  1009: "The server found a message too large and ended the connection.",
  4100: "Your session has ended. Please log in again.",
  4101: "You were removed from the server.",
  4102: "You were disconnected for sending too much, too fast.",
};

const SESSION_ENDED = 4100;

// verdict: "return" (reconnect and resume), "stop" (only the reader may ask
// for another connection) or "login".
export function readCloseCode(code) {
  if (COME_BACK.has(code) || (code >= 4000 && code <= 4099)) return { verdict: "return", words: "" };
  const words = WORDS[code] ?? `The server ended the connection (code ${code}).`;
  return { verdict: code === SESSION_ENDED ? "login" : "stop", words };
}

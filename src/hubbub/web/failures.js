// What can go wrong over HTTP, said in words a reader can act on.

export class Failure extends Error {
  // isFinal: asking again with the same token or password cannot help. isAnswer: the server said so.
  constructor(words, { isFinal = false, isAnswer = true, retryAfterMs = 0 } = {}) {
    super(words);
    this.isFinal = isFinal;
    this.isAnswer = isAnswer;
    this.retryAfterMs = retryAfterMs;
  }
}

export function networkFailure() {
  return new Failure("The server cannot be reached. Check your connection and try again.", { isAnswer: false });
}

// words: what the server has said for the reader, where there is anything.
export function failureOf(response, { refused, now, words = "" }) {
  const retryAfterMs = readRetryAfter(response.headers.get("Retry-After"), now);
  switch (response.status) {
    case 401:
      return new Failure(refused, { isFinal: true });
    case 429:
      return new Failure(`Too many tries. Please try again ${soon(retryAfterMs)}.`, { retryAfterMs });
    case 503:
      return new Failure(`The server is busy. Please try again ${soon(retryAfterMs)}.`, { retryAfterMs });
    case 403:
    case 421:
      // What the operator has to mend, a proxy mostly, is said by the server.
      if (words) return new Failure(words, { retryAfterMs });
    // falls through
    default:
      return new Failure(`The server gave an unexpected answer (${response.status}).`, { retryAfterMs });
  }
}

// RFC 9110, 10.2.3: either seconds or a date.
export function readRetryAfter(header, now) {
  if (!header) return 0;
  const seconds = Number(header);
  const ms = Number.isNaN(seconds) ? Date.parse(header) - now : seconds * 1000;
  return ms > 0 ? ms : 0;
}

export function soon(ms) {
  if (ms <= 0) return "in a moment";
  const seconds = Math.ceil(ms / 1000);
  if (seconds === 1) return "in a second";
  if (seconds < 90) return `in ${seconds} seconds`;
  return `in ${Math.ceil(seconds / 60)} minutes`;
}

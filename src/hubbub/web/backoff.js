// How long to wait before the next try: exponential, capped, with full jitter.

export const BASE_MS = 500;
export const CAP_MS = 20_000;

export class Backoff {
  #tries = 0;

  constructor({ base = BASE_MS, cap = CAP_MS, random = Math.random } = {}) {
    this.base = base;
    this.cap = cap;
    this.random = random;
  }

  // The jitter is applied after the cap: jittered first, every client of a
  // long outage would sit at the cap and come back in the same instant.
  next() {
    const ceiling = Math.min(this.cap, this.base * 2 ** this.#tries);
    this.#tries += 1;
    return this.random() * ceiling;
  }

  reset() {
    this.#tries = 0;
  }
}

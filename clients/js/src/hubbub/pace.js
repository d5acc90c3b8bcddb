// How long to wait before the next try, and how fast to send.

/**
 * Anything up to a ceiling that doubles with each try. The jitter comes after the cap: jittered first, every client of
 * a long outage would sit at the cap, and come back in the same instant.
 * @param {number} tries
 * @param {number} base ms
 * @param {number} cap ms
 */
export function fullJitter(tries, base, cap) {
  return Math.random() * Math.min(cap, base * 2 ** Math.min(tries, 30));
}

/** Keeps a client within the server's rate: a refusal costs more than the wait. */
export class Pace {
  /**
   * @param {number} rate events in a second; 0 is no limit
   * @param {number} burst events at once
   */
  constructor(rate, burst) {
    this.rate = rate * 0.95;
    // What is sent evenly does not always arrive evenly, so a part of the burst is left unused.
    this.burst = Math.max(1, burst * 0.5);
    this.tokens = this.burst;
    this.at = 0;
  }

  /**
   * @param {number} now ms, of a clock that never goes back
   * @returns {number} ms until the next event may go
   */
  delay(now) {
    if (!this.rate) return 0;
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.at) * this.rate) / 1000);
    this.at = now;
    return this.tokens >= 1 - 1e-6 ? 0 : Math.ceil(((1 - this.tokens) / this.rate) * 1000);
  }

  take() {
    this.tokens -= 1;
  }
}

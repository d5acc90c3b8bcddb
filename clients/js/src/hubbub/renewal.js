// Renewing, in good time, what a connection may last by.

const SOONEST_MS = 1_000;
// What a timer can wait.
const LATEST_MS = 2 ** 31 - 1;

export class Renewal {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {() => Promise<number | undefined>} renew gives the seconds that are left after it; nothing for no end */
  constructor(renew) {
    this.renew = renew;
  }

  /**
   * Those that have come in the same moment, after an outage, do not all renew in the same moment.
   * @param {number | undefined} left seconds; nothing for no end
   */
  start(left) {
    this.stop();
    if (!left || !(left > 0)) return;
    const until = Date.now() + left * 1000;
    const pause = left * 1000 * (0.7 + 0.2 * Math.random());
    this.#timer = setTimeout(() => this.#renew(until), Math.min(LATEST_MS, Math.max(SOONEST_MS, pause)));
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  // One that fails is tried again in what is left.
  /** @param {number} until */
  async #renew(until) {
    const timer = this.#timer;
    let left;
    try {
      left = await this.renew();
    } catch (error) {
      console.warn(error);
      left = (until - Date.now()) / 1000;
    }
    if (timer === this.#timer) this.start(left);
  }
}

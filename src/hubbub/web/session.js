// Who is logged in: name and password become a token, a token becomes tickets.

import { Failure, failureOf, networkFailure } from "./failures.js";

const KEY = "hubbub.token";
const ANSWER_MS = 10_000;
// A ticket (OTP) lives five seconds on the server; one at the door should not be stale.
const TICKET_FRESH_MS = 3_000;

const ENDED = "Your session has ended. Please log in again.";
const WRONG = "Wrong name or password.";

async function complaintOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return "The account could not be made.";
  }
}

export class Session {
  // A server that restarted may have forgotten every token. The password stays
  // in this object, in memory only, to log in again without asking.
  #credentials = null;
  #ticket = null;
  #fetch;
  #storage;
  #now;

  constructor({ fetch, storage, now = Date.now }) {
    this.#fetch = fetch;
    this.#storage = storage;
    this.#now = now;
  }

  get isOpen() {
    return this.#token !== null;
  }

  async login(username, password) {
    const response = await this.#post("/login", { body: JSON.stringify({ username, password }) });
    if (!response.ok) throw failureOf(response, { refused: WRONG, now: this.#now() });
    const { otp, token } = await response.json();
    this.#storage.setItem(KEY, token);
    this.#credentials = { username, password };
    this.#ticket = { otp, at: this.#now() };
  }

  // Makes the first account, with the secret of the link that the server printed, and logs in.
  async setUp(secret, username, password) {
    const response = await this.#post("/setup", { body: JSON.stringify({ secret, username, password }) });
    if (response.status === 400) throw new Failure(await complaintOf(response));
    if (response.status === 403) throw new Failure(await complaintOf(response), { isFinal: true });
    if (!response.ok) throw failureOf(response, { refused: WRONG, now: this.#now() });
    await this.login(username, password);
  }

  // Returns a ticket for one connection, or throws a Failure: a final one
  // means that only the reader can log in again.
  async ticket() {
    return this.#takeFresh() ?? (await this.#ask());
  }

  async logout() {
    const token = this.#token;
    this.forget();
    const response = await this.#post("/logout", { token });
    if (!response.ok && response.status !== 401) throw failureOf(response, { refused: ENDED, now: this.#now() });
  }

  forget() {
    this.#storage.removeItem(KEY);
    this.#credentials = null;
    this.#ticket = null;
  }

  get #token() {
    return this.#storage.getItem(KEY);
  }

  #takeFresh() {
    const ticket = this.#ticket;
    this.#ticket = null;
    return ticket && this.#now() - ticket.at < TICKET_FRESH_MS ? ticket.otp : null;
  }

  async #ask() {
    const response = await this.#post("/otp", { token: this.#token });
    if (response.ok) return (await response.json()).otp;
    if (response.status === 401 && this.#credentials) return await this.#loginAgain();
    throw failureOf(response, { refused: ENDED, now: this.#now() });
  }

  async #loginAgain() {
    try {
      await this.login(this.#credentials.username, this.#credentials.password);
    } catch (failure) {
      throw failure.isFinal ? new Failure(ENDED, { isFinal: true }) : failure;
    }
    return this.#takeFresh();
  }

  async #post(path, { body, token } = {}) {
    const headers = {};
    if (body) headers["Content-Type"] = "application/json";
    if (token) headers.Authorization = `Bearer ${token}`;
    try {
      return await this.#fetch(path, { method: "POST", headers, body, signal: AbortSignal.timeout(ANSWER_MS) });
    } catch {
      throw networkFailure();
    }
  }
}

// Who is logged in: name and password become a token, a token becomes tickets.

import { Failure, failureOf, networkFailure } from "./failures.js";

const KEY = "hubbub.token";
const ANSWER_MS = 10_000;
// A ticket (OTP) lives five seconds on the server; one at the door should not be stale.
const TICKET_FRESH_MS = 3_000;

const ENDED = "Your session has ended. Please log in again.";
const WRONG = "Wrong name or password.";
const NOT_OPENED = "The server can be reached, but no WebSocket to it opens. A proxy on the way may not pass Upgrade on.";

async function complaintOf(response, otherwise = "The account could not be made.") {
  try {
    return (await response.json()).error.message;
  } catch {
    return otherwise;
  }
}

export class Session {
  // The password is nowhere: where a server has forgotten the token, the reader logs in again.
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
    if (!response.ok) throw await this.#failure(response, WRONG);
    const { otp, token } = await response.json();
    this.#storage.setItem(KEY, token);
    this.#ticket = { otp, at: this.#now() };
  }

  // Makes the first account, with the secret of the link that the server printed, and logs in.
  async setUp(secret, username, password) {
    const response = await this.#post("/setup", { body: JSON.stringify({ secret, username, password }) });
    if (response.status === 400) throw new Failure(await complaintOf(response));
    if (response.status === 403) throw new Failure(await complaintOf(response), { isFinal: true });
    if (!response.ok) throw await this.#failure(response, WRONG);
    await this.login(username, password);
  }

  // Returns whether the first account is still to be made; the link to it stays in histories and mails.
  async isSetupOpen() {
    const response = await this.#request("/setup");
    return response.ok && (await response.json()).open === true;
  }

  // Returns the server's words for not letting a WebSocket in, which the browser keeps from us: the same request
  // without an upgrade is refused for the same reason, or asks for the upgrade (426) where the server knows of none.
  async whyRefused() {
    const response = await this.#post("/ws");
    return response.status === 426 ? NOT_OPENED : complaintOf(response, "");
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
    if (!response.ok && response.status !== 401) throw await this.#failure(response, ENDED);
  }

  forget() {
    this.#storage.removeItem(KEY);
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
    throw await this.#failure(response, ENDED);
  }

  async #failure(response, refused) {
    return failureOf(response, { refused, now: this.#now(), words: await complaintOf(response, "") });
  }

  #post(path, { body, token } = {}) {
    const headers = {};
    if (body) headers["Content-Type"] = "application/json";
    if (token) headers.Authorization = `Bearer ${token}`;
    return this.#request(path, { method: "POST", headers, body });
  }

  async #request(path, request = {}) {
    try {
      return await this.#fetch(path, { ...request, signal: AbortSignal.timeout(ANSWER_MS) });
    } catch {
      throw networkFailure();
    }
  }
}

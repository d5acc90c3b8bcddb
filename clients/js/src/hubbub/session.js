// Getting in over HTTP: signing in, tickets for a connection, signing out.

import { HubbubError } from "./errors.js";

const ANSWER_MS = 10_000;
// A one-time password lives five seconds on the server; one at the door should not be stale.
const FRESH_MS = 3_000;
// RFC 6750 section 2.1.
const TOKEN = /^[\w.~+/-]+=*$/;
const NO_TOKEN = "What was given as a token is none: it has other characters, such as quotes or spaces.";

/** @typedef {{method?: string, body?: unknown}} Ask */

/**
 * A token of the application's own, or what gives one that is good now; nothing where nobody is signed in there.
 * @typedef {string | (() => string | null | undefined | Promise<string | null | undefined>)} Token
 */

/**
 * How the application's own users are known: by a token, or by the cookie that its pages have.
 * @typedef {{token?: Token, credentials?: "include" | "same-origin"}} Way
 */

export class Session {
  // In a page of the server's own the token is in a cookie that no script can read, and the password is nowhere.
  // Elsewhere both are in memory: a server that has forgotten the token is asked for another one.
  #token = "";
  /** @type {{username: string, password: string} | null} */
  #login = null;
  /** @type {{otp: string, at: number} | null} */
  #ticket = null;

  /**
   * @param {string} base the server's URL
   * @param {typeof fetch} fetch
   * @param {boolean} isOwn whether it is in a page of the server's own
   * @param {Way} [way]
   */
  constructor(base, fetch, isOwn, { token, credentials } = {}) {
    this.base = base;
    this.fetch = fetch;
    this.isOwn = isOwn;
    this.token = token;
    /** @type {RequestCredentials} */
    this.credentials = credentials ?? (isOwn && token === undefined ? "same-origin" : "omit");
    /** Whether the user is an application's, which signs it in and out. */
    this.isForeign = token !== undefined || credentials !== undefined;
  }

  /** Whether to have the session in a cookie. */
  get remembers() {
    return this.isOwn && !this.isForeign;
  }

  /** Whether a session that has run out may have been renewed by the application. */
  get isRenewable() {
    return this.isForeign && typeof this.token !== "string";
  }

  /**
   * @param {string} username
   * @param {string} password
   */
  async signIn(username, password) {
    this.isForeign = false;
    const login = { username, password };
    const { otp, token } = await this.request("/login", { body: { ...login, ...(this.remembers && { remember: true }) } });
    this.#token = token ?? "";
    this.#login = token && !this.remembers ? login : null;
    this.#ticket = { otp, at: Date.now() };
  }

  /** Get in as a user of an application's, by its token or its cookie. */
  async enter() {
    this.isForeign = true;
    const otp = await this.ticket();
    this.#ticket = { otp, at: Date.now() };
  }

  /**
   * The application's token, asked for anew; `unauthorized` where there is none.
   * @returns {Promise<string>}
   */
  async newToken() {
    const found = typeof this.token === "function" ? await this.token() : this.token;
    if (!found) throw new HubbubError("unauthorized", "Nobody is signed in.", 0, 401);
    if (!TOKEN.test(found)) throw new HubbubError("unauthorized", NO_TOKEN, 0, 401);
    return (this.#token = found);
  }

  /**
   * A one-time password for a connection; `unauthorized` where only a person can sign in again.
   * @returns {Promise<string>}
   */
  async ticket() {
    const ticket = this.#ticket;
    this.#ticket = null;
    if (ticket && Date.now() - ticket.at < FRESH_MS) return ticket.otp;
    const token = this.isForeign && this.token && (await this.newToken());
    try {
      return (await this.request("/otp")).otp;
    } catch (error) {
      const login = this.#login;
      if (!(error instanceof HubbubError) || error.status !== 401) throw error;
      if (login) {
        await this.signIn(login.username, login.password);
        return this.ticket();
      }
      // A token can run out on its way.
      if (!token || (await this.newToken()) === token) throw error;
      return (await this.request("/otp")).otp;
    }
  }

  /** The application's users have no session here that could be ended. */
  async signOut() {
    if (!this.isForeign) await this.request("/logout").finally(() => this.forget());
    this.forget();
  }

  forget() {
    this.#token = "";
    this.#login = this.#ticket = null;
  }

  /** Why a WebSocket was refused, which browsers keep to themselves: the same request without an upgrade is told. */
  async whyRefused() {
    try {
      await this.request("/ws");
    } catch (error) {
      const { status, message } = /** @type {HubbubError} */ (error);
      if (status === 426) return "The server can be reached, but no WebSocket to it opens. A proxy on the way may not pass Upgrade on.";
      return status ? message : "";
    }
    return "";
  }

  /**
   * @param {string} path
   * @param {Ask} [ask]
   * @returns {Promise<any>} the answer's JSON
   */
  async request(path, { method = "POST", body } = {}) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (this.#token) headers.Authorization = `Bearer ${this.#token}`;
    const { credentials } = this;
    const text = body === undefined ? undefined : JSON.stringify(body);
    let response;
    let answer;
    try {
      const signal = AbortSignal.timeout(ANSWER_MS);
      response = await this.fetch(this.base + path, { method, headers, body: text, credentials, signal });
      answer = await response.text();
    } catch {
      throw new HubbubError("unreachable", "The server cannot be reached.");
    }
    if (!response.ok) throw refusalOf(response, answer);
    if (!answer) return {};
    try {
      return JSON.parse(answer);
    } catch {
      throw new HubbubError("unreachable", "What answers is no Hubbub server.", 0, response.status);
    }
  }
}

/**
 * @param {Response} response
 * @param {string} answer
 */
function refusalOf({ status, headers }, answer) {
  let error = { code: `http_${status}`, message: `The server answered ${status}.` };
  try {
    error = { ...error, ...JSON.parse(answer).error };
  } catch {}
  return new HubbubError(error.code, error.message, Number(headers.get("Retry-After")) || 0, status);
}

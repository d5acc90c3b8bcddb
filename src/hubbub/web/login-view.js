// The login form.

import { find, setHidden, setText } from "./dom.js";

const LOG_IN = { tagline: "Good talk, right now.", button: "Log in", waiting: "Logging in…" };
const SET_UP = { tagline: "Make the first account.", button: "Make account and log in", waiting: "One moment…" };

export class LoginView {
  #form = find("login-form");
  #name = find("login-name");
  #password = find("login-password");
  #button = find("login-button");
  #error = find("login-error");
  #words = LOG_IN;

  // login: takes name and password, resolves once logged in, throws a Failure.
  constructor({ login }) {
    this.login = login;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  show(words = "") {
    setHidden(find("login"), false);
    this.#complain(words);
    (this.#name.value ? this.#password : this.#name).focus();
  }

  // The same two fields make the first account, for who came by the link that the server printed.
  offerSetup(isOffered) {
    this.#words = isOffered ? SET_UP : LOG_IN;
    this.#password.autocomplete = isOffered ? "new-password" : "current-password";
    setText(find("login-tagline"), this.#words.tagline);
    setText(this.#button, this.#words.button);
  }

  hide() {
    setHidden(find("login"), true);
    this.#password.value = "";
    this.#complain("");
  }

  async #submit() {
    // By hand and not by the browser's bubble, which no style or screen reader setting reaches.
    if (!this.#name.value.trim()) return this.#point(this.#name, "Please enter your name.");
    if (!this.#password.value) return this.#point(this.#password, "Please enter your password.");
    if (this.#button.disabled) return;
    this.#wait(true);
    try {
      await this.login(this.#name.value.trim(), this.#password.value);
    } catch (failure) {
      this.#point(this.#password, failure.message);
      this.#password.select();
    } finally {
      this.#wait(false);
    }
  }

  #wait(isWaiting) {
    this.#button.disabled = isWaiting;
    setText(this.#button, isWaiting ? this.#words.waiting : this.#words.button);
    if (isWaiting) this.#complain("");
  }

  #point(field, words) {
    this.#complain(words);
    field.setAttribute("aria-invalid", "true");
    field.focus();
  }

  #complain(words) {
    for (const field of [this.#name, this.#password]) field.removeAttribute("aria-invalid");
    setText(this.#error, words);
    setHidden(this.#error, words === "");
  }
}

// Getting in: signing in, the first account of a new server, and signing up by an invitation.

import { make, setHidden, setText } from "./dom.js";

const KINDS = {
  signin: { tagline: "Good talk, right now.", button: "Sign in", waiting: "Signing in…" },
  setup: { tagline: "Make the first account.", button: "Make account", waiting: "One moment…" },
  signup: { tagline: "You are invited. Choose a name.", button: "Make account", waiting: "One moment…" },
};

const WRONG = "Wrong name or password.";

export class SignIn {
  #kind = "signin";
  #secret = "";

  // begin: told once somebody is signed in, and whether that is to be kept.
  constructor(element, { chat, begin }) {
    this.element = element;
    this.chat = chat;
    this.begin = begin;
    this.#build();
  }

  show(words = "") {
    setHidden(this.element, false);
    this.#complain(words);
    (this.name.value ? this.password : this.name).focus();
  }

  hide() {
    setHidden(this.element, true);
    this.password.value = "";
    this.#complain("");
    this.become("signin");
  }

  // kind: signin, setup (secret: from the link that the server printed) or signup (secret: of an invitation).
  become(kind, secret = "") {
    const { tagline, button } = KINDS[kind];
    this.#kind = kind;
    this.#secret = secret;
    setText(this.tagline, tagline);
    setText(this.button, button);
    setHidden(this.fullNameField, kind !== "signup");
    setHidden(this.nameHint, kind === "signin");
    setHidden(this.passwordHint, kind !== "signup");
    // What is hidden would be read out all the same.
    this.name.setAttribute("aria-describedby", `${kind === "signin" ? "" : "signin-name-hint "}signin-error`);
    this.password.setAttribute("aria-describedby", `${kind === "signup" ? "signin-password-hint " : ""}signin-error`);
    setHidden(this.other, kind !== "signup");
    this.password.autocomplete = kind === "signin" ? "current-password" : "new-password";
  }

  // Only the server knows whether the link of a server without accounts is still good.
  async offerSetup(secret) {
    const { open } = await this.chat.http("/setup", { method: "GET" }).catch(() => ({ open: false }));
    if (open) this.become("setup", secret);
    else this.#complain("This link has been used. Sign in, or ask for an account.");
  }

  async offerSignUp(secret) {
    this.become("signup", secret);
    try {
      const { by } = await this.chat.http("/signup/check", { method: "POST", body: { invitation: secret } });
      if (by && this.#kind === "signup") setText(this.tagline, `${by} invites you. Choose a name.`);
    } catch (error) {
      if (error.status !== 403) return;
      this.become("signin");
      this.#complain("This invitation is used up, or too old. Ask for another one.");
    }
  }

  #build() {
    this.tagline = make("p", { className: "tagline" });
    this.error = make("p", { id: "signin-error", className: "error", hidden: true });
    this.error.setAttribute("role", "alert");
    this.name = make("input", { id: "signin-name", name: "username", className: "input", maxLength: 128, required: true });
    for (const [key, value] of [["autocomplete", "username"], ["autocapitalize", "none"], ["autocorrect", "off"]]) {
      this.name.setAttribute(key, value);
    }
    this.name.spellcheck = false;
    this.nameHint = make("p", { id: "signin-name-hint", className: "hint" }, "1 to 32 of a-z, 0-9, and . _ -");
    this.fullName = make("input", { id: "signin-full-name", name: "name", className: "input", maxLength: 64 });
    this.fullName.setAttribute("autocomplete", "name");
    this.fullNameField = field("Your name, as others see it (optional)", this.fullName);
    this.password = make("input", { id: "signin-password", name: "password", type: "password", className: "input", required: true });
    this.passwordHint = make("p", { id: "signin-password-hint", className: "hint" }, "8 characters or more");
    this.remember = make("input", { id: "signin-remember", type: "checkbox", checked: true });
    this.button = make("button", { type: "submit", className: "primary" });
    this.other = make("button", { type: "button", className: "link" }, "I have an account");
    this.other.addEventListener("click", () => this.become("signin"));
    const logo = make("img", { src: "web/icon.svg", alt: "", width: 52, height: 52 });
    const form = make(
      "form",
      { className: "card", noValidate: true },
      make("div", { className: "card-head" }, logo, make("h1", {}, "Hubbub")),
      this.tagline,
      this.error,
      field("Name", this.name, this.nameHint),
      this.fullNameField,
      field("Password", this.password, this.passwordHint),
      make("label", { className: "check" }, this.remember, "Keep me signed in"),
      this.button,
      this.other,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.element.append(form);
    this.become("signin");
  }

  async #submit() {
    const name = this.name.value.trim();
    // By hand and not by the browser's bubble, which no style or screen reader setting reaches.
    if (!name) return this.#point(this.name, "Please enter your name.");
    if (!this.password.value) return this.#point(this.password, "Please enter your password.");
    if (this.button.disabled) return;
    this.#wait(true);
    try {
      await this.#enter(name, this.password.value);
      this.begin(this.remember.checked);
    } catch (error) {
      this.#point(error.field === "name" ? this.name : this.password, wordsOf(error));
      if (!error.field) this.password.select();
    } finally {
      this.#wait(false);
    }
  }

  async #enter(username, password) {
    const secret = this.#secret;
    if (this.#kind === "setup") await this.#make("/setup", { secret, username, password });
    if (this.#kind === "signup") {
      const name = this.fullName.value.trim();
      await this.#make("/signup", { invitation: secret, username, password, ...(name && { name }) });
    }
    await this.chat.signIn(username, password);
  }

  async #make(path, body) {
    try {
      await this.chat.http(path, { method: "POST", body });
    } catch (error) {
      if (error.status === 409) error.field = "name";
      // The link is used up; what is left is an account that is there already.
      if (error.status === 403 && path === "/setup") this.become("signin");
      throw error;
    }
    this.become("signin");
  }

  #wait(isWaiting) {
    const { waiting, button } = KINDS[this.#kind];
    this.button.disabled = isWaiting;
    setText(this.button, isWaiting ? waiting : button);
    if (isWaiting) this.#complain("");
  }

  #point(input, words) {
    this.#complain(words);
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }

  #complain(words) {
    for (const input of [this.name, this.password]) input.removeAttribute("aria-invalid");
    setText(this.error, words);
    setHidden(this.error, words === "");
  }
}

function field(words, input, ...more) {
  const label = make("label", {}, words);
  label.htmlFor = input.id;
  return make("div", { className: "field" }, label, input, ...more);
}

// What can go wrong, in words that a reader can act on.
export function wordsOf({ status, code, message, retryAfter }) {
  if (status === 401) return WRONG;
  if (status === 429 || code === "rate_limited") return `Too many tries. Please try again ${soon(retryAfter)}.`;
  if (status === 503) return `The server is busy. Please try again ${soon(retryAfter)}.`;
  if (code === "unreachable") return "The server cannot be reached. Check your connection and try again.";
  return message ? `${message[0].toUpperCase()}${message.slice(1)}` : "Something went wrong.";
}

export function soon(seconds) {
  if (!(seconds > 0)) return "in a moment";
  if (seconds < 90) return seconds <= 1 ? "in a second" : `in ${Math.ceil(seconds)} seconds`;
  return `in ${Math.ceil(seconds / 60)} minutes`;
}

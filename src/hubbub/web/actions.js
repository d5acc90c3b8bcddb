// What can be done with a message: a bar of buttons on the one that is pointed at or has the focus, and keys.

import { confirm } from "./dialog.js";
import { make } from "./dom.js";
import { icon } from "./icons.js";
import { openMenu } from "./menu.js";
import { openPicker } from "./picker.js";

const EXCERPT = 200;

export class Actions {
  #bar = make("div", { className: "message-actions", role: "toolbar", "aria-label": "What can be done with this message" });
  #article = null;
  // The one that had the bar when a finger came down: the tap gives the message the focus, and so the bar, on its way.
  #tappedOn = null;

  // calls: entryOf(element), may(name, entry), act(name, entry, value), report(words); linkTo(entry).
  constructor(scroller, calls) {
    Object.assign(this, { scroller, calls });
    this.#bar.append(
      this.#button("react", "smile", "React", (button) => this.react(button)),
      this.#button("quote", "reply", "Reply", () => this.#act("quote")),
      this.#button("edit", "edit", "Edit", () => this.#act("edit")),
      this.#button("more", "more", "More", (button) => openMenu(button, this.#menu())),
    );
    scroller.addEventListener("pointerover", ({ target, pointerType }) => pointerType === "mouse" && this.#showOn(target.closest(".message")));
    scroller.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && this.#leave());
    scroller.addEventListener("focusin", ({ target }) => this.#showOn(target.closest(".message")));
    // By touch there is no pointing: a tap on a message shows them, and another one hides them.
    scroller.addEventListener("pointerdown", () => {
      this.#tappedOn = this.#article;
    });
    scroller.addEventListener("click", (event) => this.#tapped(event));
    this.#bar.addEventListener("keydown", (event) => this.#movedInBar(event));
  }

  // Before a row is drawn again: the bar stays with its message.
  release(row) {
    if (row.contains(this.#bar)) this.hide();
  }

  hide() {
    this.#article?.classList.remove("is-active");
    this.#article = null;
    this.#bar.remove();
  }

  // Returns whether the key was one of ours; the message has the focus.
  pressed(key, article) {
    this.#showOn(article);
    const name = { r: "quote", e: "edit", "+": "react", Delete: "delete", Enter: "bar" }[key];
    if (name === undefined || this.#article !== article) return false;
    const entry = this.calls.entryOf(article);
    if (name === "bar") this.#bar.querySelector("button:not([hidden])").focus();
    else if (!this.calls.may(name, entry)) return false;
    else if (name === "react") this.react(this.#bar.firstElementChild);
    else this.#act(name);
    return true;
  }

  react(button) {
    const entry = this.calls.entryOf(this.#article);
    openPicker(button, (emoji) => this.calls.act("react", entry, emoji), { label: "React with" });
  }

  #button(name, picture, label, act) {
    const button = make("button", { type: "button", "aria-label": label, title: label }, icon(picture));
    if (name === "more" || name === "react") button.setAttribute("aria-haspopup", name === "more" ? "menu" : "dialog");
    button.dataset.name = name;
    button.addEventListener("click", () => act(button));
    return button;
  }

  #showOn(article) {
    if (!article || article === this.#article) return;
    const entry = this.calls.entryOf(article);
    // A message that is pointed at does not take the bar from one whose bar has the focus.
    if (!entry || entry.state || this.#bar.contains(document.activeElement)) return;
    this.hide();
    this.#article = article;
    article.classList.add("is-active");
    for (const button of this.#bar.children) button.hidden = button.dataset.name !== "more" && !this.calls.may(button.dataset.name, entry);
    article.append(this.#bar);
  }

  #leave() {
    const focused = document.activeElement?.closest?.(".message");
    if (focused && this.scroller.contains(focused)) this.#showOn(focused);
    else if (!this.#bar.querySelector("[aria-expanded=true]")) this.hide();
  }

  #tapped(event) {
    if (event.pointerType !== "touch" || event.target.closest("a, button")) return;
    const article = event.target.closest(".message");
    if (article && article !== this.#tappedOn) this.#showOn(article);
    else this.hide();
  }

  #movedInBar(event) {
    const buttons = [...this.#bar.querySelectorAll("button:not([hidden])")];
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (event.key === "Escape") this.#article.focus({ preventScroll: true });
    else if (to !== undefined) buttons.at(to % buttons.length).focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #act(name, value) {
    const entry = this.calls.entryOf(this.#article);
    if (name === "delete") this.#confirm(entry);
    else this.calls.act(name, entry, value);
  }

  #menu() {
    const entry = this.calls.entryOf(this.#article);
    const items = [{ icon: "link", words: "Copy link", act: () => this.#copy(this.calls.linkTo(entry), "The link is copied.") }];
    if (!entry.deleted) items.push({ icon: "copy", words: "Copy text", act: () => this.#copy(entry.text, "The text is copied.") });
    if (this.calls.may("delete", entry)) items.push({ icon: "trash", words: "Delete…", act: () => this.#confirm(entry), isDanger: true });
    return items;
  }

  async #copy(text, words) {
    try {
      await navigator.clipboard.writeText(text);
      this.calls.report(words);
    } catch {
      this.calls.report(text);
    }
  }

  async #confirm(entry) {
    const excerpt = entry.text.length > EXCERPT ? `${entry.text.slice(0, EXCERPT)}…` : entry.text;
    const words = `“${excerpt}” will be gone for everyone, here and on the server.`;
    if (await confirm({ title: "Delete this message?", words, act: "Delete", isDanger: true })) this.calls.act("delete", entry);
  }
}

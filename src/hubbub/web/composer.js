// The field that messages are written in: drafts, edits, quotes, formatting, and what is too long.

import { Completion } from "./completion.js";
import { make, setHidden, setText } from "./dom.js";
import { icon } from "./icons.js";
import { openPicker } from "./picker.js";
import { wordsOf } from "./signin.js";
import { characters, splitText } from "./split.js";

const COUNT_FROM = 0.9;
const FALLBACK_LIMIT = 4_000;
// Text beyond this many messages is a file, and not something said.
const MOST_PARTS = 20;
const DRAFT_MS = 300;
const FOUND = 20;

export class Composer {
  #form = make("form", { className: "composer", noValidate: true });
  #field = make("textarea", { id: "message", rows: 1, enterKeyHint: "send", autocomplete: "off" });
  #label = make("label", { className: "visually-hidden", htmlFor: "message" }, "Message");
  #banner = make("div", { className: "composer-banner", hidden: true });
  #bannerWords = make("span", {});
  #error = make("p", { className: "error composer-error", id: "composer-error", role: "alert", hidden: true });
  #counter = make("span", { className: "counter", id: "composer-counter" });
  #parts = make("button", { type: "button", className: "link", hidden: true });
  #send = make("button", { type: "submit", className: "composer-send" }, "Send");
  #completion;
  #room = null;
  #editing = null;
  // What was being written when an edit began.
  #aside = "";
  #kept = "";
  #draftTimer = 0;

  // store: nameOf, draft, keepDraft, titleOf. calls: sent(), editLast() -> bool.
  constructor(element, chat, store, calls) {
    Object.assign(this, { chat, store, calls });
    const cancel = make("button", { type: "button", className: "icon-button", "aria-label": "Cancel editing" }, icon("close"));
    cancel.addEventListener("click", () => this.#endEdit());
    this.#banner.append(this.#bannerWords, cancel);
    this.#field.setAttribute("aria-describedby", "composer-error composer-counter");
    const hint = make("span", { className: "composer-hint", "aria-hidden": "true" }, "Shift Enter for a new line");
    const tools = make("div", { className: "composer-tools" }, ...this.#tools(), hint, this.#counter, this.#parts, this.#send);
    this.#form.append(this.#label, this.#field, tools);
    const place = make("div", { className: "composer-place" }, this.#banner, this.#error, this.#form);
    element.append(place);
    this.#completion = new Completion(this.#form, this.#field, {
      people: () => this.#people(),
      find: (prefix) => this.#find(prefix),
      changed: () => this.#changed(),
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#field.addEventListener("keydown", (event) => this.#pressed(event));
    this.#field.addEventListener("input", () => this.#changed());
    this.#field.addEventListener("selectionchange", () => this.#completion.isOpen && this.#completion.update());
    this.#field.addEventListener("blur", () => this.#completion.close());
    this.#field.addEventListener("drop", (event) => this.#dropped(event));
    this.#parts.addEventListener("click", () => this.#sendParts());
    addEventListener("pagehide", () => this.#keepDraft());
  }

  show(room) {
    if (room === this.#room) return;
    this.close();
    this.#room = room;
    this.#kept = this.store.draft(room);
    this.#write(this.#kept);
    const words = `Message ${room.startsWith("dm:") ? "" : "#"}${this.store.titleOf(room)}`;
    this.#field.placeholder = words;
    setText(this.#label, words);
  }

  close() {
    this.#keepDraft();
    this.#room = null;
    this.#editing = null;
    this.#aside = "";
    this.#drawBanner();
    this.#completion.close();
    this.#field.value = "";
    this.#field.placeholder = "";
    this.#measure();
    this.#complain("");
  }

  focus() {
    this.#field.focus();
  }

  edit(entry) {
    if (this.#editing === null) this.#aside = this.#field.value;
    this.#editing = entry;
    this.#drawBanner();
    this.#write(entry.text);
    this.focus();
  }

  // Quotes the message before what is written already.
  quote({ from, text }) {
    const lines = text.trimEnd().split("\n").map((line) => `> ${line}`);
    const quoted = `${lines.join("\n")}\n@${from} `;
    const { value } = this.#field;
    this.#write(value.trim() === "" ? quoted : `${value.trimEnd()}\n${quoted}`);
    this.focus();
  }

  // Puts text where the caret is, as if it was typed: the browser's own undo takes it back.
  insert(text) {
    this.#field.focus();
    if (!document.execCommand("insertText", false, text)) this.#field.setRangeText(text, this.#field.selectionStart, this.#field.selectionEnd, "end");
    this.#changed();
  }

  get #limit() {
    return this.chat.limits?.max_message || FALLBACK_LIMIT;
  }

  // Tools

  #tools() {
    const tool = (name, label, act) => {
      const button = make("button", { type: "button", className: "composer-tool", "aria-label": label, title: label }, icon(name));
      button.addEventListener("click", () => act(button));
      return button;
    };
    const smile = tool("smile", "Emoji", (button) => openPicker(button, (emoji) => this.insert(emoji)));
    smile.setAttribute("aria-haspopup", "dialog");
    return [
      tool("bold", "Bold", () => this.#mark("**")),
      tool("italic", "Italic", () => this.#mark("*")),
      tool("code", "Code", () => this.#mark("`")),
      smile,
    ];
  }

  // Puts marks around what is selected, or around the caret; lines of code become a block.
  #mark(mark) {
    const { selectionStart: start, selectionEnd: end, value } = this.#field;
    const selected = value.slice(start, end);
    const [before, after] = mark === "`" && selected.includes("\n") ? ["```\n", "\n```"] : [mark, mark];
    this.insert(before + selected + after);
    this.#field.setSelectionRange(start + before.length, start + before.length + selected.length);
  }

  #people() {
    const members = [...(this.chat.rooms.get(this.#room)?.members ?? [])];
    return members.map((user) => ({ user, name: this.store.nameOf(user) }));
  }

  async #find(prefix) {
    const { users } = await this.chat.request("list_users", { prefix, limit: FOUND });
    return users;
  }

  // Keys and input

  #pressed(event) {
    // While an input method composes, its keys are its own; Safari tells the last one by its code alone.
    if (event.isComposing || event.keyCode === 229) return;
    const { key } = event;
    const isPlain = !event.shiftKey && !event.ctrlKey && !event.metaKey && !event.altKey;
    const mark = (event.ctrlKey || event.metaKey) && !event.altKey && { b: "**", i: "*", e: "`" }[key];
    if (!this.#actOn(key, isPlain, mark)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  // Returns whether the key was one of ours.
  #actOn(key, isPlain, mark) {
    if (isPlain && this.#completion.pressed(key)) return true;
    if (isPlain && key === "ArrowUp") return this.#field.value === "" && this.#editing === null && this.calls.editLast();
    if (isPlain && key === "Enter") this.#submit();
    else if (key === "Escape" && this.#editing !== null) this.#endEdit();
    else if (mark) this.#mark(mark);
    else return false;
    return true;
  }

  #changed() {
    this.#measure();
    this.#complain("");
    this.#completion.update();
    if (this.#editing !== null || this.#room === null) return;
    this.chat.typing(this.#room, this.#field.value.trim() !== "");
    clearTimeout(this.#draftTimer);
    this.#draftTimer = setTimeout(() => this.#keepDraft(), DRAFT_MS);
  }

  #keepDraft() {
    clearTimeout(this.#draftTimer);
    const text = this.#editing === null ? this.#field.value : this.#aside;
    // One that is kept is not written again: whoever signs out has just had it removed.
    if (this.#room === null || text === this.#kept) return;
    this.#kept = text;
    this.store.keepDraft(this.#room, text);
  }

  #write(text) {
    this.#field.value = text;
    this.#field.setSelectionRange(text.length, text.length);
    this.#measure();
    this.#complain("");
    this.#keepDraft();
  }

  // A file of text is read into the field; text itself the browser drops.
  async #dropped(event) {
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    event.preventDefault();
    const most = this.#limit * MOST_PARTS * 4;
    if (!/^text\/|json|xml/.test(file.type) || file.size > most) return this.#complain("Only a file of text can be dropped here, and not a large one.");
    this.insert(await file.text());
  }

  // Sending

  #submit() {
    const text = this.#text;
    if (text.trim() === "" || this.#room === null) return;
    if (characters(text) > this.#limit) {
      if (this.#editing === null) this.#parts.focus();
      return this.#complain(`A message has at most ${this.#limit} characters.`);
    }
    if (this.#editing !== null) this.#saveEdit(text);
    else this.#say([text]);
  }

  get #text() {
    const text = this.#field.value.trimEnd();
    return text.toWellFormed?.() ?? text;
  }

  #sendParts() {
    const parts = splitText(this.#text, this.#limit);
    if (parts.length > 0 && parts.length <= MOST_PARTS) this.#say(parts);
  }

  #say(texts) {
    const room = this.#room;
    this.#write("");
    this.#completion.close();
    this.chat.typing(room, false);
    for (const text of texts) this.chat.send(room, text);
    this.calls.sent();
    this.focus();
  }

  // The text stays in the field until the server has it.
  async #saveEdit(text) {
    const entry = this.#editing;
    const room = this.#room;
    if (text === entry.text) return this.#endEdit();
    this.#form.setAttribute("aria-busy", "true");
    try {
      await this.chat.edit(room, entry.seq, text);
      if (this.#editing === entry) this.#endEdit();
    } catch (error) {
      if (this.#editing === entry) this.#complain(wordsOf(error));
    } finally {
      this.#form.removeAttribute("aria-busy");
    }
  }

  #endEdit() {
    this.#editing = null;
    this.#drawBanner();
    this.#write(this.#aside);
    this.#aside = "";
    this.focus();
  }

  // Drawing

  #drawBanner() {
    const isEditing = this.#editing !== null;
    setHidden(this.#banner, !isEditing);
    setText(this.#bannerWords, isEditing ? "Editing a message. Enter saves it, Escape cancels." : "");
    setText(this.#send, isEditing ? "Save" : "Send");
  }

  #measure() {
    const { value } = this.#field;
    // Counting is for long texts alone: a character has at most two units.
    const count = value.length > this.#limit * COUNT_FROM ? characters(value.trimEnd()) : 0;
    const over = count - this.#limit;
    const isOver = over > 0;
    const isNear = count >= this.#limit * COUNT_FROM;
    setText(this.#counter, !isNear ? "" : isOver ? `${over} too many` : `${-over} left`);
    this.#counter.classList.toggle("is-over", isOver);
    if (isOver) this.#field.setAttribute("aria-invalid", "true");
    else this.#field.removeAttribute("aria-invalid");
    this.#offerParts(isOver && this.#editing === null ? splitText(value, this.#limit).length : 0);
    this.#send.disabled = isOver || value.trim() === "";
    this.#grow();
  }

  #offerParts(count) {
    setHidden(this.#parts, count === 0 || count > MOST_PARTS);
    if (count > MOST_PARTS) setText(this.#counter, `${this.#counter.textContent}: too long, even for ${MOST_PARTS} messages`);
    else if (count > 0) setText(this.#parts, `Send as ${count} messages`);
  }

  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }

  #complain(words) {
    setText(this.#error, words);
    setHidden(this.#error, words === "");
  }
}

// The conversation in one room: its messages, who is typing, and the field to write in.

import { react } from "../hubbub.js";
import { Actions } from "./actions.js";
import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { openDateChooser } from "./datechooser.js";
import { setClock } from "./dates.js";
import { make, setText } from "./dom.js";
import { typingWords } from "./grouping.js";
import { Loader } from "./loader.js";
import { Log } from "./log.js";
import { closePicker } from "./picker.js";
import { roomPath } from "./router.js";
import { wordsOf } from "./signin.js";

// The server counts what is unread so far. Who has read nothing of a long past begins at its end.
const UNREAD_COUNTED = 100;
const HIGHLIGHT_MS = 4_000;

export class Timeline {
  #log;
  #loader;
  #actions;
  #announcer;
  #typing = make("p", { className: "typing", "aria-live": "off" });
  #report = make("p", { className: "report", role: "status" });
  #room = null;
  #context = { unreadFrom: null, unseen: 0 };
  #target = null;
  #reportTimer = 0;
  #clock = "";

  // store: see store.js.
  constructor(element, chat, store) {
    Object.assign(this, { chat, store });
    const known = { get me() { return chat.user; }, nameOf: (user) => store.nameOf(user) };
    this.#log = new Log(element, known, {
      wantsBefore: () => this.#loader.loadBefore(),
      wantsAfter: () => this.#loader.loadAfter(),
      wantsSeq: (seq) => this.#loader.loadAround(seq),
      wantsNewest: () => this.toNewest(),
      wantsDate: (date) => openDateChooser(date, (day) => this.toDate(day)),
      newestSeq: () => chat.rooms.get(this.#room)?.seq ?? 0,
      seen: (seq) => this.#seen(seq),
      willDraw: (row) => this.#actions.release(row),
    });
    this.#loader = new Loader(chat, this.#log, {
      failed: (error) => this.#fail(error),
      placed: (span, seat) => this.#placed(span, seat),
      heard: (message) => this.#heard(message),
    });
    this.#actions = new Actions(this.#log.scroller, {
      entryOf: (article) => this.#log.entryAt(article),
      may: (name, entry) => this.#may(name, entry),
      act: (name, entry, value) => this.#act(name, entry, value),
      report: (words) => this.#tell(words),
      linkTo: ({ seq }) => `${location.origin}${location.pathname}${roomPath(this.#room, seq)}`,
    });
    element.append(this.#typing, this.#report);
    this.composer = new Composer(element, chat, store, { sent: () => this.#said(), editLast: () => this.editLast() });
    this.#announcer = new Announcer(element);
    this.#log.scroller.addEventListener("click", (event) => this.#clicked(event));
    this.#log.scroller.addEventListener("keydown", (event) => this.#pressed(event));
    for (const event of ["focus", "visibilitychange"]) addEventListener(event, () => this.#room !== null && this.#log.changed());
    chat.on("message", (message) => message.room === this.#room && this.#loader.hear(message));
    chat.on("changed", (changed) => changed.room === this.#room && this.#loader.change(changed, applied(changed)));
    chat.on("gap", (gap) => gap.room === this.#room && this.#gone(gap));
    chat.on("outgoing", ({ room }) => room === this.#room && this.#drawOutgoing());
    chat.on("typing", ({ room }) => room === this.#room && this.#drawTyping());
    chat.on("state", ({ state }) => state === "online" && this.#loader.goOn());
    store.on("names", () => {
      this.#drawTyping();
      this.#log.redraw();
    });
    store.on("settings", () => this.#applyClock());
    this.#applyClock();
  }

  // Shows a room at what is unread, or at its newest message, or at the message with the seq.
  async show(room, seq = null) {
    const isSame = room === this.#room;
    closePicker();
    if (isSame && seq === null) return;
    if (!isSame) this.#enter(room);
    this.composer.show(room);
    try {
      await this.store.enter(room);
      if (room !== this.#room) return;
      const { read = 0, unread = 0 } = this.chat.rooms.get(room) ?? {};
      if (seq !== null) {
        this.#target = seq;
        if (isSame && this.#loader.has(seq)) this.#placed(null, seq);
        else await this.#loader.loadAround(seq, { isExact: true });
        if (this.#target === seq && !this.#loader.has(seq)) this.#tell("The message of this link is not here.");
      } else if (unread > 0 && (read > 0 || unread < UNREAD_COUNTED)) {
        this.#context.unreadFrom = read + 1;
        await this.#loader.loadAround(read + 1, { isUnread: true });
      } else {
        await this.#loader.loadNewest();
      }
      this.#drawOutgoing();
    } catch (error) {
      if (room === this.#room) this.#fail(error);
    }
  }

  close() {
    this.#room = null;
    this.#loader.stop();
    this.#log.clear();
    this.#announcer.clear();
    this.#actions.hide();
    closePicker();
    this.composer.close();
    setText(this.#typing, "");
    setText(this.#report, "");
  }

  toNewest() {
    if (this.#loader.span.hasAfter) this.#loader.loadNewest();
    else if (!this.#log.isAtEnd) this.#log.seat("end");
  }

  // The page of the room that begins with the date.
  toDate(date) {
    return this.#loader.loadDate(date);
  }

  focus() {
    this.composer.focus();
  }

  // Puts the newest own message that is loaded into the composer; false where there is none.
  editLast() {
    const entry = this.#loader.span.entries.findLast((each) => this.#may("edit", each));
    if (entry) this.composer.edit(entry);
    return entry !== undefined;
  }

  #enter(room) {
    this.#room = room;
    this.#context = { unreadFrom: null, unseen: 0 };
    this.#target = null;
    this.#actions.hide();
    this.#announcer.clear();
    this.#log.clear();
    this.#loader.begin(room);
    this.#log.scroller.setAttribute("aria-label", `Messages in ${this.store.titleOf(room)}`);
    this.#log.setHint("Nothing has been said here yet. Say hello!");
    setText(this.#report, "");
    this.#drawTyping();
  }

  // What happens in the room

  // A span is loaded, or null for the one that is shown; seat: where to go in it.
  #placed(span, seat) {
    if (span === null) this.#log.seat(seat);
    else this.#log.show(span, { seat, context: this.#context });
    this.#drawOutgoing();
    if (this.#target === seat) this.#highlight(seat);
  }

  #highlight(seq) {
    this.#target = null;
    requestAnimationFrame(() => requestAnimationFrame(() => {
      const article = this.#log.elementOf(seq);
      if (!article) return;
      article.classList.add("is-target");
      article.focus({ preventScroll: true });
      setTimeout(() => article.classList.remove("is-target"), HIGHLIGHT_MS);
    }));
  }

  #heard({ seq, from, text, isOwn, isLive }) {
    if (isOwn) return;
    if (!this.#log.isPinned || this.#loader.span.hasAfter) this.#context.unseen += 1;
    if (this.#context.unreadFrom === null && !this.store.isReading(this.#room)) {
      this.#context.unreadFrom = seq;
      this.#log.touch();
    }
    if (isLive) this.#announcer.tell(this.store.nameOf(from), text);
  }

  #gone({ from, to, isNewLog }) {
    if (isNewLog) this.#loader.loadNewest();
    else this.#loader.lose(from, to);
  }

  #said() {
    this.#context.unreadFrom = null;
    this.toNewest();
    this.#log.lead();
  }

  #seen(seq) {
    if (this.store.isReading(this.#room)) this.chat.markRead(this.#room, seq);
  }

  #drawOutgoing() {
    const { last } = this.#loader.span;
    const { user } = this.chat;
    const waiting = this.chat.outbox(this.#room).map(({ key, text, state, error, at }) => {
      return { kind: "message", key, text, state, error, from: user, at: new Date(at), seq: last + 1 };
    });
    this.#log.setOutgoing(waiting);
  }

  #drawTyping() {
    const typing = this.chat.rooms.get(this.#room)?.typing ?? [];
    const others = [...typing].filter((user) => user !== this.chat.user);
    setText(this.#typing, typingWords(others.slice(0, 3).map((user) => this.store.nameOf(user))));
  }

  #applyClock() {
    const { clock } = this.store.settings;
    if (clock === this.#clock) return;
    this.#clock = clock;
    setClock(clock);
    this.#log.redraw();
  }

  // What the reader does

  #may(name, entry) {
    if (entry.kind !== "message" || entry.state || entry.deleted) return false;
    if (name === "edit") return entry.isOwn;
    return name !== "delete" || entry.isOwn || this.chat.role === "admin";
  }

  async #act(name, entry, value) {
    try {
      if (name === "quote") this.composer.quote(entry);
      else if (name === "edit") this.composer.edit(entry);
      else if (name === "delete") await this.chat.delete(this.#room, entry.seq);
      else if (name === "react") await this.#toggle(entry, value);
    } catch (error) {
      this.#fail(error);
    }
  }

  #toggle({ seq, reactions = [] }, emoji) {
    const isMine = reactions.find((each) => each.emoji === emoji)?.users.includes(this.chat.user) ?? false;
    return this.chat.react(this.#room, seq, emoji, !isMine);
  }

  #clicked({ target }) {
    const button = target.closest("button");
    if (!button) return;
    const entry = this.#log.entryAt(button);
    if (button.closest(".day")) openDateChooser(entry.at, (date) => this.toDate(date));
    else if (button.dataset.emoji) this.#act("react", entry, button.dataset.emoji);
    else if (button.dataset.act) this.chat.outbox(this.#room).find(({ key }) => key === entry.key)?.[button.dataset.act]();
    else if (button.classList.contains("unfold")) unfold(button);
  }

  #pressed(event) {
    const { key, target } = event;
    const article = target.closest(".message");
    const { scroller } = this.#log;
    if (event.ctrlKey || event.metaKey || event.altKey || (target !== article && target !== scroller)) return;
    if (key === "ArrowUp" || key === "ArrowDown") {
      const next = this.#log.neighbour(article, key === "ArrowUp" ? -1 : 1);
      next?.focus({ preventScroll: true });
      next?.scrollIntoView({ block: "nearest" });
    } else if (key === "End") {
      this.toNewest();
    } else if (key === "Escape") {
      this.composer.focus();
    } else if (!article || !this.#actions.pressed(key, article)) {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  #fail(error) {
    if (error.code !== "closed") this.#tell(wordsOf(error));
  }

  #tell(words) {
    setText(this.#report, words);
    clearTimeout(this.#reportTimer);
    this.#reportTimer = setTimeout(() => setText(this.#report, ""), 8_000);
  }
}

// What a change makes of an entry. Where the client does not know the reactions, it tells only the difference.
function applied({ room, seq, change, ...fields }) {
  return (entry) => {
    if (change?.type !== "reacted" || fields.reactions) return fields;
    return { reactions: react(entry.reactions ?? [], change.emoji, change.from, change.on) };
  };
}

function unfold(button) {
  const text = button.parentElement.querySelector(".text");
  const isFolded = text.classList.toggle("is-folded");
  button.setAttribute("aria-expanded", String(!isFolded));
  setText(button, isFolded ? "Show all of it" : "Show less");
}

// The page once somebody is signed in: which view is shown, the head of it, and the panel beside it.

import { closeDialogs } from "./dialog.js";
import { Directory } from "./directory.js";
import { find, make, setHidden, setText } from "./dom.js";
import { icon } from "./icons.js";
import { openJump } from "./jump.js";
import { drawCount, Members } from "./members.js";
import { closeMenu, openMenu } from "./menu.js";
import { roomPath } from "./router.js";
import { SearchView } from "./searchview.js";
import { Sidebar } from "./sidebar.js";
import { wordsOf } from "./signin.js";
import { directRoom } from "./store.js";
import { Timeline } from "./timeline.js";

// Where a new account begins; the page of every server has always begun there.
const FIRST_ROOM = "general";
// Rooms entered at a time after signing in: the one that is shown comes first.
const ENTERING = 4;

export class Shell {
  #panel = null;
  #isEntering = false;
  #isBegun = false;
  #refused = new Set();
  #followed = new Set();
  #wide = matchMedia("(min-width: 1001px)");
  #notice = { act: null };

  constructor({ chat, store, router }) {
    Object.assign(this, { chat, store, router });
    this.sidebar = new Sidebar({ chat, store });
    this.timeline = new Timeline(find("timeline"), chat, store);
    this.directory = new Directory(find("directory"), { chat, store });
    this.members = new Members({ chat, store, close: () => this.togglePanel("members") });
    this.search = new SearchView(find("panel"), chat, store, { close: () => this.togglePanel("search") });
    find("members-toggle").addEventListener("click", () => this.togglePanel("members"));
    find("search-toggle").addEventListener("click", () => this.togglePanel("search"));
    find("mute").addEventListener("click", () => this.#mute());
    find("room-menu").addEventListener("click", ({ currentTarget }) => openMenu(currentTarget, this.#menu()));
    find("jump").addEventListener("click", () => this.jump());
    find("skip").addEventListener("click", (event) => {
      event.preventDefault();
      find("main").focus();
    });
    find("notice-close").addEventListener("click", () => this.dismissNotice());
    find("notice-act").addEventListener("click", () => {
      const { act } = this.#notice;
      this.dismissNotice();
      act?.();
    });
    document.addEventListener("keydown", (event) => {
      const isThere = [find("panel"), find("members-toggle"), find("search-toggle")].some((part) => part.contains(event.target));
      if (event.key === "Escape" && !event.defaultPrevented && isThere) this.togglePanel(this.#panel);
    });
    // What is beside the messages on a wide page would be over them on a narrow one.
    this.#wide.addEventListener("change", () => {
      if (!this.#wide.matches) this.#closePanel();
      else if (!find("timeline").hidden) this.#followPanel(this.store.room, false);
    });
    chat.on("rooms", () => this.#roomsChanged());
    chat.on("room", ({ room }) => room === store.room && this.#drawHead());
    chat.on("members", ({ room }) => room === store.room && this.#drawHead());
    chat.on("state", ({ state }) => state === "online" && this.#online());
    store.on("names", () => this.#drawHead());
    store.on("presence", () => this.#drawHead());
    store.on("message", (user) => this.message(user));
  }

  // Coming and going

  begin() {
    this.#isBegun = false;
    this.#refused.clear();
    this.#followed.clear();
    setHidden(find("shell"), false);
    this.sidebar.draw();
    if (this.chat.state === "online") this.#online();
    else this.#showView(null);
  }

  end() {
    closeMenu();
    closeDialogs();
    this.dismissNotice();
    this.#closePanel();
    this.timeline.close();
    this.directory.hide();
    this.sidebar.clear();
    this.store.room = null;
    this.#isBegun = false;
    setHidden(find("shell"), true);
    setText(find("title-words"), "");
    find("title-words").title = "";
    setText(find("subtitle"), "");
    find("invitation").replaceChildren();
  }

  async #online() {
    if (!this.#isBegun) {
      this.#isBegun = true;
      const names = [...this.chat.rooms.keys()];
      const hasRooms = names.some((room) => this.store.otherIn(room) === null);
      // Once, unless there is nothing else to see: who has left every room is not put back into one.
      if (names.length === 0 || (!hasRooms && !this.store.kept("begun"))) await this.chat.follow(FIRST_ROOM).catch(() => {});
      this.store.keep("begun", true);
      this.router.follow();
    }
    this.#refused.clear();
    this.#enterAll();
  }

  // All rooms are heard at once; one that lets us in no more is not asked again on this connection.
  async #enterAll() {
    if (this.#isEntering || !this.#isBegun) return;
    this.#isEntering = true;
    const next = () => [...this.chat.rooms.values()].find(({ room, state }) => state === "out" && !this.#refused.has(room));
    const work = async () => {
      for (let room = next(); room !== undefined && this.chat.state === "online"; room = next()) {
        await this.store.enter(room.room).catch(() => {});
        // Also one that was entered: it is "in" now, or something is wrong, and asking again would not end.
        this.#refused.add(room.room);
      }
    };
    await Promise.all(Array.from({ length: ENTERING }, work));
    this.#isEntering = false;
  }

  #roomsChanged() {
    for (const { room, state, followed } of [...this.chat.rooms.values()]) {
      if (state === "in") this.#refused.delete(room);
      if (followed) this.#followed.add(room);
      // Unfollowed, here or on another device; a room that an application has let us into was never followed.
      else if (this.#followed.delete(room)) this.chat.leave(room).catch(() => {});
    }
    this.#enterAll();
    const { room } = this.store;
    if (!this.#isBegun || room === null) return;
    // Out of the room that is shown, here or on another device; or in it by another tab.
    if (this.#isListed(room) === find("timeline").hidden) this.router.follow();
    this.#drawHead();
  }

  #isListed(room) {
    return this.sidebar.order.includes(room);
  }

  // Going somewhere

  go(route) {
    if (!this.#isBegun) return;
    closeMenu();
    closeDialogs();
    if (route.name === "room") this.#showRoom(route.room, route.seq);
    else if (route.name === "directory" || route.name === "people") this.#showDirectory(route.name);
    else this.#goHome();
  }

  #goHome() {
    const last = this.store.kept("last");
    const room = [last, FIRST_ROOM].find((each) => this.#isListed(each)) ?? this.sidebar.order[0];
    this.router.open(room === undefined ? "#/directory" : roomPath(room), { isReplaced: true });
  }

  #showRoom(room, seq) {
    const isOther = room !== this.store.room;
    this.store.room = room;
    if (!this.#isListed(room)) return this.#showInvitation(room);
    this.store.keep("last", room);
    this.#showView("timeline");
    this.#drawHead();
    this.#followPanel(room, isOther);
    this.timeline.show(room, seq);
    if (isOther) this.#focusWriting();
  }

  // Who has a keyboard writes at once; on a phone one that comes up by itself would be in the way.
  #focusWriting() {
    if (matchMedia("(pointer: fine)").matches) this.timeline.focus();
    else find("main").focus();
  }

  // A link to a room makes nobody follow it: the reader is asked first.
  #showInvitation(room) {
    this.#showView("invitation");
    this.#drawHead();
    const other = this.store.otherIn(room);
    const title = this.store.titleOf(room);
    const join = make("button", { type: "button", className: "primary" }, other === null ? `Join ${title}` : `Message ${title}`);
    const error = make("p", { className: "error", hidden: true });
    error.setAttribute("role", "alert");
    join.addEventListener("click", () => this.#follow(room, error));
    const words = other === null ? "You have not joined this room." : "Nothing was said between the two of you yet.";
    find("invitation").replaceChildren(make("h2", {}, title), make("p", { className: "hint" }, words), error, join);
    join.focus();
  }

  // name: as the address has it. The reader may have gone elsewhere before the answer comes.
  async #follow(name, error) {
    try {
      const { room } = await this.chat.follow(name);
      if (this.store.room === name && room !== name) this.router.open(roomPath(room), { isReplaced: true });
      else if (this.store.room === name && find("timeline").hidden) this.router.follow();
    } catch (failure) {
      setText(error, wordsOf(failure));
      setHidden(error, false);
    }
  }

  #showDirectory(name) {
    this.store.room = null;
    this.#showView("directory");
    this.#drawHead(name === "people" ? "People" : "Rooms");
    this.directory.show(name === "people" ? "people" : "rooms");
  }

  #showView(name) {
    for (const id of ["timeline", "directory", "invitation"]) if (id !== name) setHidden(find(id), true);
    if (name !== "directory") this.directory.hide();
    if (name !== "timeline") {
      this.timeline.close();
      this.#closePanel();
    }
    if (name !== null) setHidden(find(name), false);
    setHidden(find("room-tools"), name !== "timeline");
  }

  async message(user) {
    const room = directRoom(this.chat.user, user);
    try {
      if (!this.#isListed(room)) await this.chat.follow(room);
      closeDialogs();
      this.router.open(roomPath(room));
    } catch (error) {
      this.notice(wordsOf(error));
    }
  }

  jump() {
    openJump({ chat: this.chat, store: this.store, order: () => this.sidebar.order });
  }

  // by: 1 for the room below, -1 for the one above. isUnread: only to one with something unread.
  step(by, isUnread) {
    const { order } = this.sidebar;
    const at = order.indexOf(this.store.room);
    const turned = order.map((_, index) => order[(((at < 0 && by < 0 ? 0 : at) + by * (index + 1)) % order.length + order.length) % order.length]);
    const room = turned.find((each) => !isUnread || this.chat.rooms.get(each).unread > 0);
    if (room !== undefined) this.router.open(roomPath(room));
  }

  // The head

  // title: of a view that is no room.
  #drawHead(title = null) {
    const { room } = this.store;
    if (room === null && title === null) return;
    const known = room === null ? undefined : this.chat.rooms.get(room);
    const other = room === null ? null : this.store.otherIn(room);
    const words = title ?? this.store.titleOf(room);
    if (this.store.title !== words) {
      this.store.title = words;
      this.store.emit("place");
    }
    setText(find("title-words"), words);
    find("title-words").title = words;
    this.#drawTitleIcon(room, other);
    setText(find("subtitle"), other === null ? "" : `@${other} · ${this.store.isOnline(other) ? "online" : "offline"}`);
    drawCount(other === null ? known : undefined);
    if (known) this.#drawMute(known.muted);
    this.sidebar.changed();
  }

  #drawTitleIcon(room, other) {
    const kind = room === null ? "" : other === null ? "hash" : "dot";
    const place = find("title-icon");
    if (place.dataset.kind !== kind) {
      place.dataset.kind = kind;
      place.replaceChildren(...(kind === "hash" ? [icon("hash")] : kind === "dot" ? [make("span", { className: "dot" })] : []));
    }
    if (kind === "dot") place.firstChild.classList.toggle("is-online", this.store.isOnline(other));
  }

  #drawMute(muted) {
    const button = find("mute");
    const pressed = String(muted);
    if (button.getAttribute("aria-pressed") === pressed && button.firstChild) return;
    button.setAttribute("aria-pressed", pressed);
    button.title = muted ? "Muted: no notifications" : "Mute this room";
    button.replaceChildren(icon(muted ? "bell-off" : "bell"));
  }

  async #mute() {
    const { room } = this.store;
    try {
      await this.chat.mute(room, !this.chat.rooms.get(room).muted);
    } catch (error) {
      this.notice(wordsOf(error));
    }
    this.#drawHead();
  }

  #menu() {
    const { room } = this.store;
    const known = this.chat.rooms.get(room);
    const isDirect = this.store.otherIn(room) !== null;
    return [
      { icon: "check", words: "Mark as read", act: () => this.chat.markRead(room, known.seq) },
      { icon: "link", words: "Copy link", act: () => this.#copyLink(room) },
      { icon: "leave", words: isDirect ? "Close conversation" : "Leave room", act: () => this.#leave(room), isDanger: !isDirect },
    ];
  }

  async #copyLink(room) {
    const url = new URL(`./${roomPath(room)}`, location.href).href;
    try {
      await navigator.clipboard.writeText(url);
      this.notice("The link is copied.");
    } catch {
      this.notice(url);
    }
  }

  async #leave(room) {
    try {
      await this.chat.unfollow(room);
      await this.chat.leave(room);
      if (this.store.room === room) {
        this.store.keep("last", null);
        this.router.open("#/", { isReplaced: true });
      }
    } catch (error) {
      this.notice(wordsOf(error));
    }
  }

  // The panel: people, or search

  togglePanel(kind) {
    if (kind === null) return;
    // On a wide page it stays as the reader wants it.
    if (this.#wide.matches) this.store.keep("people", this.#panel !== kind && kind === "members");
    if (this.#panel !== kind) return this.#openPanel(kind, { isFocused: true });
    this.#closePanel();
    find(`${kind}-toggle`).focus();
  }

  openSearch() {
    if (find("timeline").hidden) return;
    if (this.#panel === "search") this.search.focus?.();
    else this.#openPanel("search", { isFocused: true });
  }

  // Who is in a direct message is in its head already; on a narrow page the panel would be over what was gone to.
  #followPanel(room, isOther) {
    const isDirect = this.store.otherIn(room) !== null;
    if (!this.#wide.matches || (isDirect && this.#panel === "members")) this.#closePanel();
    else if (isOther && this.#panel === "search") this.search.show(room);
    else if (isOther && this.#panel !== null) this.#openPanel(this.#panel);
    else if (!isDirect && this.#panel === null && this.#wide.matches && this.store.kept("people") !== false) this.#openPanel("members");
  }

  #openPanel(kind, { isFocused = false } = {}) {
    const panel = find("panel");
    this.members.hide();
    this.search.hide?.();
    this.#panel = kind;
    setHidden(panel, false);
    panel.classList.toggle("is-wide", kind === "search");
    if (kind === "members") this.members.show(this.store.room);
    else this.search.show(this.store.room);
    this.#drawToggles();
    if (isFocused && kind === "members") panel.querySelector("button")?.focus();
  }

  #closePanel() {
    if (this.#panel === null) return;
    this.#panel = null;
    this.members.hide();
    this.search.hide?.();
    setHidden(find("panel"), true);
    this.#drawToggles();
  }

  #drawToggles() {
    for (const kind of ["members", "search"]) {
      find(`${kind}-toggle`).setAttribute("aria-expanded", String(this.#panel === kind));
    }
  }

  // Notices: what has gone wrong, or is offered. act: words and act of a button.

  notice(words, { button = "", act = null } = {}) {
    this.#notice = { act };
    setText(find("notice-words"), words);
    setText(find("notice-act"), button);
    setHidden(find("notice-act"), button === "");
    setHidden(find("notice"), false);
  }

  dismissNotice() {
    this.#notice = { act: null };
    setHidden(find("notice"), true);
    setText(find("notice-words"), "");
  }
}

// The whole page: which part is shown, and one drawing of it per frame.

import { Composer } from "./composer.js";
import { find, setHidden, setText } from "./dom.js";
import { LoginView } from "./login-view.js";
import { MessagesView } from "./messages-view.js";
import { rowsOf } from "./rows.js";
import { Sidebar } from "./sidebar.js";
import { StatusView } from "./status-view.js";
import { Title } from "./title.js";
import { typingWords } from "./typing.js";

export class View {
  #model = null;
  #isDue = false;

  // actions: what the reader can do, by name; see app.js.
  constructor(actions, { limit }) {
    this.title = new Title(document);
    this.login = new LoginView(actions);
    this.status = new StatusView(actions);
    this.messages = new MessagesView(actions);
    this.composer = new Composer({ ...actions, limit, say: (text) => this.#say(actions, text) });
    this.sidebar = new Sidebar({
      logout: actions.logout,
      goTo: (room) => {
        actions.goTo(room);
        this.composer.focus();
      },
    });
    find("notice-close").addEventListener("click", () => {
      actions.dismissNotice();
      this.composer.focus();
    });
  }

  showLogin(words = "") {
    this.#model = null;
    setHidden(find("chat"), true);
    // What others said is not left to who sits down here next.
    this.messages.clear();
    this.sidebar.clear();
    this.composer.clear();
    this.title.clear();
    setText(find("room-name"), "");
    setText(find("typing"), "");
    this.#drawNotice("", false);
    this.login.show(words);
  }

  // model: returns {chat, state, hasNetwork, now} as they are at the moment of drawing.
  showChat(model) {
    this.#model = model;
    this.login.hide();
    setHidden(find("chat"), false);
    this.#draw();
    this.composer.focus();
  }

  // Many changes, one drawing: a burst of messages must not lay out the page for each.
  changed() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      this.#draw();
    });
  }

  #draw() {
    if (this.#model === null) return;
    const { chat, state, hasNetwork, now } = this.#model();
    const { room, outbox, user } = chat;
    this.title.show(room.title);
    setText(find("room-name"), room.title);
    this.status.render({ state, isWelcomed: chat.isWelcomed, hasNetwork, now });
    this.sidebar.render({ rooms: chat.rooms, room, members: chat.members, unlisted: chat.unlisted, user });
    this.composer.show(room.name);
    const rows = rowsOf({ entries: room.timeline.entries, unsent: outbox.in(room.name), user, now });
    this.messages.render({ room, rows, hint: hintOf(room, rows), offersEarlier: chat.offersEarlier });
    setText(find("typing"), typingWords(chat.typists.names(now)));
    this.#drawNotice(chat.notice || (state.words ?? ""), chat.notice !== "");
  }

  #drawNotice(words, isClosable) {
    setText(find("notice-words"), words);
    setHidden(find("notice"), words === "");
    setHidden(find("notice-close"), !isClosable);
  }

  #say(actions, text) {
    const words = actions.say(text);
    if (words === "") this.messages.toEnd();
    return words;
  }
}

function hintOf(room, rows) {
  if (rows.length > 0 || !room.isJoined) return "";
  return room.cursor > 0 ? "What is said from now on appears here." : "Nothing has been said here yet. Say hello!";
}

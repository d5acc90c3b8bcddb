import { directRoom, otherIn, Store } from "/web/store.js";
import { equal, test } from "/modules/testing.js";

// The part of the client that the store asks.
class FakeChat {
  user = "percy";
  name = "Percy";
  state = "online";
  rooms = new Map();
  asked = [];
  joined = [];
  listeners = {};

  on(event, listener) {
    (this.listeners[event] ??= []).push(listener);
  }

  tell(event, value = {}) {
    for (const listener of this.listeners[event] ?? []) listener(value);
  }

  async request(type, { users }) {
    this.asked.push(users);
    if (type !== "profiles") throw new Error(type);
    return { names: Object.fromEntries(users.filter((user) => user !== "ghost").map((user) => [user, user.toUpperCase()])) };
  }

  async join(room, { history }) {
    this.joined.push([room, history]);
  }
}

// As localStorage has it: its keys are its properties.
function fakeStorage() {
  const methods = {
    getItem: (key) => storage[key] ?? null,
    setItem: (key, value) => (storage[key] = value),
    removeItem: (key) => delete storage[key],
  };
  const storage = Object.create(methods);
  return storage;
}

function setUp({ storage = fakeStorage(), page = { hidden: false, hasFocus: () => true } } = {}) {
  const chat = new FakeChat();
  const gone = [];
  const store = new Store({ chat, storage, page, go: (...place) => gone.push(place) });
  return { chat, store, storage, gone };
}

const moment = (ms = 80) => new Promise((resolve) => setTimeout(resolve, ms));

async function told(store, event) {
  await new Promise((resolve) => {
    const off = store.on(event, () => resolve(off()));
  });
}

test("settings outlive the tab, and what is no setting does not", () => {
  const { store, storage } = setUp();
  store.change("theme", "dark");
  equal(setUp({ storage }).store.settings.theme, "dark");
  storage.setItem("hubbub.settings", JSON.stringify({ theme: "<script>", clock: "24" }));
  equal([setUp({ storage }).store.settings.theme, setUp({ storage }).store.settings.clock], ["system", "24"]);
  storage.setItem("hubbub.settings", "{");
  equal(setUp({ storage }).store.settings.theme, "system");
});

test("a storage that takes nothing is survived", () => {
  const storage = fakeStorage();
  storage.setItem = () => {
    throw new Error("full");
  };
  const { store } = setUp({ storage });
  store.keepDraft("general", "words");
  store.change("theme", "dark");
  equal([store.draft("general"), store.settings.theme], ["", "dark"]);
});

test("drafts are kept by user and room, and end with signing out", () => {
  const { chat, store, storage } = setUp();
  store.keepDraft("general", "of percy");
  chat.user = "alice";
  equal(store.draft("general"), "");
  store.keepDraft("general", "of alice");
  store.forget("percy");
  equal(store.draft("general"), "of alice");
  chat.user = "percy";
  equal(store.draft("general"), "");
  equal(Object.keys(storage).length, 1);
});

test("names that are asked for together are asked for in one request, once", async () => {
  const { chat, store } = setUp();
  equal([store.nameOf("alice"), store.nameOf("bob"), store.nameOf("ghost")], ["alice", "bob", "ghost"]);
  await told(store, "names");
  equal(chat.asked, [["alice", "bob", "ghost"]]);
  equal([store.nameOf("alice"), store.nameOf("bob"), store.nameOf("ghost")], ["ALICE", "BOB", "ghost"]);
  await moment();
  equal(chat.asked.length, 1);
});

test("more names than one request takes are asked for in several", async () => {
  const { chat, store } = setUp();
  for (let number = 0; number < 450; number += 1) store.nameOf(`user${number}`);
  await moment();
  equal(chat.asked.map((users) => users.length), [200, 200, 50]);
});

test("a change of a name is told", () => {
  const { chat, store } = setUp();
  let count = 0;
  store.on("names", () => (count += 1));
  chat.tell("profile", { user: "alice", name: "Alice M." });
  chat.tell("profile", { user: "alice", name: "Alice M." });
  equal([store.nameOf("alice"), count], ["Alice M.", 1]);
});

test("a name that is the user's own is no news", () => {
  const { chat, store } = setUp();
  let count = 0;
  store.on("names", () => (count += 1));
  store.learn([{ user: "alice", name: "alice" }]);
  equal([store.nameOf("alice"), count], ["alice", 0]);
  chat.tell("profile", { user: "alice", name: "Alice" });
  chat.tell("profile", { user: "alice", name: "alice" });
  equal([store.nameOf("alice"), count], ["alice", 2]);
});

test("who is in any room of ours is online, as long as we are", () => {
  const { chat, store } = setUp();
  chat.rooms.set("general", { members: new Set(["alice"]) });
  chat.tell("members", { room: "general" });
  equal([store.isOnline("alice"), store.isOnline("bob"), store.isOnline("percy")], [true, false, true]);
  chat.state = "offline";
  chat.tell("state", {});
  equal([store.isOnline("alice"), store.isOnline("percy")], [false, false]);
});

test("a direct message goes by the other one's name", () => {
  const { chat, store } = setUp();
  chat.rooms.set("dm:alice,percy", { title: "dm:alice,percy", members: new Set() });
  store.learn([{ user: "alice", name: "Alice Moreau" }]);
  equal(store.titleOf("dm:alice,percy"), "Alice Moreau");
  equal(otherIn("dm:alice,percy", "percy"), "alice");
  equal(otherIn("dm:alice,bob", "percy"), null);
  equal(otherIn("general", "percy"), null);
  equal(directRoom("percy", "alice"), "dm:alice,percy");
});

test("a room is entered once, with what is unread in it", async () => {
  const { chat, store } = setUp();
  chat.rooms.set("general", { state: "out", unread: 7 });
  await Promise.all([store.enter("general"), store.enter("general")]);
  equal(chat.joined, [["general", 7]]);
  chat.rooms.get("general").state = "in";
  await store.enter("general");
  equal(chat.joined.length, 1);
});

test("a room is being read where it is shown, in a page that is seen", () => {
  const page = { hidden: false, hasFocus: () => true };
  const { store } = setUp({ page });
  store.room = "general";
  equal([store.isReading("general"), store.isReading("garden")], [true, false]);
  page.hidden = true;
  equal(store.isReading("general"), false);
});

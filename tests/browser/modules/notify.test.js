import { mentions, Notifier } from "/web/notify.js";
import { equal, test } from "/modules/testing.js";

class FakeChat {
  user = "percy";
  rooms = new Map([
    ["general", { muted: false, read: 0 }],
    ["noisy", { muted: true, read: 0 }],
    ["dm:alice,percy", { muted: false, read: 0 }],
  ]);

  on(_event, listener) {
    this.hear = listener;
  }
}

// What the browser gives each tab; the lock goes to whoever asked first.
function fakeBrowser() {
  const waiting = [];
  const channels = new Set();
  const grant = () => waiting[0]?.().then(() => (waiting.shift(), grant()));
  return {
    navigator: {
      locks: {
        request: (_name, work) => {
          waiting.push(work);
          if (waiting.length === 1) grant();
        },
      },
    },
    BroadcastChannel: class {
      constructor() {
        channels.add(this);
      }
      addEventListener(_type, listener) {
        this.listener = listener;
      }
      postMessage(data) {
        for (const channel of channels) if (channel !== this) queueMicrotask(() => channel.listener({ data }));
      }
      close() {
        channels.delete(this);
      }
    },
  };
}

function tab(browser, { permission = "granted", reading = null, notify = "mentions" } = {}) {
  const shown = [];
  let offered = 0;
  class Notification extends EventTarget {
    static permission = permission;
    constructor(title, { body }) {
      super();
      shown.push([title, body]);
    }
  }
  const chat = new FakeChat();
  const store = {
    settings: { notify },
    isReading: (room) => room === reading,
    otherIn: (room) => (room === "dm:alice,percy" ? "alice" : null),
    nameOf: (user) => user,
    titleOf: (room) => room,
  };
  const notifier = new Notifier({ chat, store, offer: () => (offered += 1), Notification, ...browser });
  notifier.start();
  const hear = (message) => chat.hear({ seq: 1, room: "general", from: "alice", text: "hi", type: "new_message", isLive: true, isOwn: false, ...message });
  return { notifier, chat, hear, shown, offers: () => offered };
}

const answered = () => new Promise((resolve) => setTimeout(resolve, 250));

test("a mention is found as a word of its own", () => {
  for (const text of ["@percy", "hey @Percy!", "(@percy)", "@percy, @bob", "@percy."]) equal(mentions(text, "percy"), true);
  for (const text of ["percy", "@percyval", "me@percy", "@percy.v", "@percy-2"]) equal(mentions(text, "percy"), false);
  equal([mentions("@a.b", "a.b"), mentions("@axb", "a.b")], [true, false]);
});

test("mentions and direct messages are told, and other messages are not", async () => {
  const { hear, shown } = tab(fakeBrowser());
  hear({ text: "@percy look" });
  hear({ text: "nothing for you" });
  hear({ room: "dm:alice,percy", text: "psst" });
  await answered();
  equal(shown, [["alice in general", "@percy look"], ["alice", "psst"]]);
});

test("nothing is told of a muted room, of old messages, or of one's own", async () => {
  const { hear, shown } = tab(fakeBrowser(), { notify: "all" });
  hear({ room: "noisy", text: "@percy" });
  hear({ isLive: false, text: "@percy" });
  hear({ isOwn: true, text: "@percy" });
  hear({ type: "vote", text: "" });
  await answered();
  equal(shown, []);
});

test("one tab of several tells", async () => {
  const browser = fakeBrowser();
  const tabs = [tab(browser), tab(browser), tab(browser)];
  for (const { hear } of tabs) hear({ text: "@percy" });
  await answered();
  equal(tabs.map(({ shown }) => shown.length), [1, 0, 0]);
  tabs[0].notifier.stop();
  await answered();
  for (const { hear } of tabs.slice(1)) hear({ text: "@percy", seq: 2 });
  await answered();
  equal(tabs.map(({ shown }) => shown.length), [1, 1, 0]);
});

test("what is being read in another tab is not told", async () => {
  const browser = fakeBrowser();
  const [first, second] = [tab(browser), tab(browser, { reading: "general" })];
  for (const { hear } of [first, second]) hear({ text: "@percy" });
  await answered();
  equal([first.shown, second.shown], [[], []]);
});

test("what was read meanwhile is not told", async () => {
  const { hear, shown, chat } = tab(fakeBrowser());
  hear({ text: "@percy", seq: 5 });
  chat.rooms.get("general").read = 5;
  await answered();
  equal(shown, []);
});

test("who was never asked is offered it with the first that would have been told", async () => {
  const { hear, shown, offers } = tab(fakeBrowser(), { permission: "default", notify: "all" });
  hear({ text: "nothing for you" });
  equal(offers(), 0);
  hear({ text: "@percy" });
  equal([offers(), shown.length], [1, 0]);
});

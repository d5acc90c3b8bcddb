import { Brief } from "/web/brief.js";
import { equal, FakeStorage, test } from "/modules/testing.js";

// Each test has a browser of its own: what its tabs share.
function browser() {
  const local = new FakeStorage();
  const channels = new Set();
  class Channel {
    listeners = [];
    constructor() {
      channels.add(this);
    }
    addEventListener(_type, listener) {
      this.listeners.push(listener);
    }
    postMessage(data) {
      for (const channel of channels) {
        if (channel !== this) for (const listener of channel.listeners) queueMicrotask(() => listener({ data }));
      }
    }
    close() {
      channels.delete(this);
    }
  }
  const tab = (session = new FakeStorage()) => new Brief({ local, session, BroadcastChannel: Channel });
  return { tab, closeAll: () => channels.clear() };
}

test("a session that is kept is never over", async () => {
  const { tab, closeAll } = browser();
  tab().begin(true);
  closeAll();
  equal(await tab().isOver(), false);
});

test("one that is not kept is over with its last tab", async () => {
  const { tab, closeAll } = browser();
  tab().begin(false);
  const second = tab();
  equal(await second.isOver(), false);
  closeAll();
  equal(await tab().isOver(), true);
});

test("a reload of its only tab does not end it", async () => {
  const { tab, closeAll } = browser();
  const session = new FakeStorage();
  tab(session).begin(false);
  closeAll();
  equal(await tab(session).isOver(), false);
});

test("signing in anew, to stay, takes the place of one that was not kept", async () => {
  const { tab, closeAll } = browser();
  const first = tab();
  first.begin(false);
  first.begin(true);
  closeAll();
  equal(await tab().isOver(), false);
});

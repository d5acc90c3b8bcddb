import { Backoff } from "/web/backoff.js";
import { Connection } from "/web/connection.js";
import { Failure, networkFailure } from "/web/failures.js";
import { equal, test } from "./testing.js";

class FakeSocket {
  sent = [];
  isClosed = false;

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
  }

  send(text) {
    this.sent.push(text);
  }

  close() {
    this.isClosed = true;
  }
}

// A connection in a world where time passes when we say so.
class World {
  now = 0;
  sockets = [];
  states = [];
  frames = [];
  #timers = new Map();
  #count = 0;

  constructor({ ticket = async () => "ticket", why = async () => "", random = () => 1 } = {}) {
    const world = this;
    this.connection = new Connection({
      url: "wss://hubbub.test/ws",
      ticket,
      why,
      backoff: new Backoff({ random }),
      WebSocket: class extends FakeSocket {
        constructor(...args) {
          super(...args);
          world.sockets.push(this);
        }
      },
      timers: {
        set: (act, ms) => {
          this.#timers.set((this.#count += 1), { act, at: this.now + ms });
          return this.#count;
        },
        clear: (timer) => this.#timers.delete(timer),
      },
      random,
      now: () => this.now,
      onState: (state) => this.states.push(state.name),
      onFrame: (text) => this.frames.push(text),
    });
  }

  get socket() {
    return this.sockets.at(-1);
  }

  async pass(ms) {
    this.now += ms;
    for (const [timer, { act, at }] of [...this.#timers]) {
      if (at > this.now) continue;
      this.#timers.delete(timer);
      act();
    }
    await settled();
  }

  async online() {
    this.connection.start();
    await settled();
    this.socket.onmessage({ data: "welcome" });
  }

  get waitMs() {
    return this.connection.state.until - this.now;
  }
}

// Lets every promise that can settle do so.
const settled = () => new Promise((resolve) => setTimeout(resolve));

test("the ticket travels as a subprotocol, and the first frame makes it online", async () => {
  const world = new World();
  world.connection.start();
  await settled();
  equal([world.socket.url, world.socket.protocols], ["wss://hubbub.test/ws", ["hubbub.v1", "otp.ticket"]]);
  equal(world.connection.send("early"), false);
  world.socket.onmessage({ data: "welcome" });
  equal(world.connection.send("hello"), true);
  equal([world.states, world.frames, world.socket.sent], [["connecting", "online"], ["welcome"], ["hello"]]);
});

test("a drop is followed by a pause and a new ticket", async () => {
  let tickets = 0;
  const world = new World({ ticket: async () => `t${(tickets += 1)}` });
  await world.online();
  world.socket.onclose({ code: 1006 });
  equal([world.connection.state.name, world.waitMs], ["waiting", 500]);
  await world.pass(500);
  equal([world.sockets.length, world.socket.protocols[1]], [2, "otp.t2"]);
});

test("only a stable connection resets the backoff", async () => {
  const world = new World();
  await world.online();
  for (const expected of [500, 1000, 2000]) {
    await world.pass(100);
    world.socket.onclose({ code: 1012 });
    equal(world.waitMs, expected);
    await world.pass(expected);
    world.socket.onmessage({ data: "welcome" });
  }
  await world.pass(6000);
  world.socket.onclose({ code: 1012 });
  equal(world.waitMs, 500);
});

test("a ticket that cannot be had now is tried again, not before Retry-After", async () => {
  const world = new World({
    ticket: async () => {
      throw new Failure("busy", { retryAfterMs: 7000 });
    },
  });
  world.connection.start();
  await settled();
  equal([world.connection.state.name, world.waitMs], ["waiting", 7500]);
});

test("the words of a refusal are those of the server", async () => {
  const refusing = new World({ why: async () => "this server is full" });
  refusing.connection.start();
  await settled();
  refusing.socket.onclose({ code: 1006 });
  await settled();
  equal(refusing.connection.state, { name: "waiting", until: 500, words: "this server is full" });
  const busy = new World({ ticket: () => Promise.reject(new Failure("busy")) });
  busy.connection.start();
  await settled();
  equal(busy.connection.state.words, "busy");
});

test("no reason is asked for where a connection is lost, or comes too late", async () => {
  let give;
  let asked = 0;
  const why = () => {
    asked += 1;
    return new Promise((resolve) => (give = resolve));
  };
  const world = new World({ why });
  await world.online();
  world.socket.onclose({ code: 1006 });
  equal(asked, 0);
  await world.pass(500);
  world.socket.onclose({ code: 1006 });
  equal(asked, 1);
  world.connection.stop();
  give("late");
  await settled();
  equal(world.connection.state, { name: "stopped" });
  const gone = new World({ ticket: () => Promise.reject(networkFailure()) });
  gone.connection.start();
  await settled();
  equal(gone.connection.state.words, "");
});

test("a final refusal of the ticket asks for a login", async () => {
  const world = new World({
    ticket: async () => {
      throw new Failure("over", { isFinal: true });
    },
  });
  world.connection.start();
  await settled();
  equal(world.connection.state, { name: "ended", words: "over", needsLogin: true });
});

test("4100 to 4199 end it until the reader asks", async () => {
  const world = new World();
  await world.online();
  world.socket.onclose({ code: 4101 });
  equal(world.connection.state.name, "ended");
  await world.pass(60_000);
  equal(world.sockets.length, 1);
  world.connection.retryNow();
  await settled();
  equal(world.sockets.length, 2);
});

test("a handshake that never ends is given up", async () => {
  const world = new World();
  world.connection.start();
  await settled();
  await world.pass(10_000);
  equal([world.connection.state.name, world.socket.isClosed], ["waiting", true]);
});

test("a ticket that arrives after a stop opens nothing", async () => {
  let give;
  const world = new World({ ticket: () => new Promise((resolve) => (give = resolve)) });
  world.connection.start();
  world.connection.stop();
  give("late");
  await settled();
  equal([world.sockets.length, world.states.at(-1)], [0, "stopped"]);
});

test("a socket left behind is not heard any more", async () => {
  const world = new World();
  await world.online();
  const old = world.socket;
  world.connection.lost();
  equal([old.isClosed, old.onmessage, old.onclose, world.connection.state.name], [true, null, null, "waiting"]);
});

test("asked to move, it stays online for its random pause and then reconnects", async () => {
  const world = new World({ random: () => 0.5 });
  await world.online();
  world.connection.moveWithin(4000);
  await world.pass(1999);
  equal([world.connection.state.name, world.sockets.length], ["online", 1]);
  await world.pass(1);
  equal([world.sockets[0].isClosed, world.sockets.length], [true, 2]);
});

test("a server gone before the pause is over is not returned to early", async () => {
  const world = new World({ random: () => 0.5 });
  await world.online();
  world.connection.moveWithin(4000);
  world.socket.onclose({ code: 1012 });
  equal(world.waitMs, 2250);
});

test("trying now skips the pause, once", async () => {
  const world = new World();
  await world.online();
  world.socket.onclose({ code: 1006 });
  world.connection.retryNow();
  world.connection.retryNow();
  await world.pass(20_000);
  equal(world.sockets.length, 2);
});

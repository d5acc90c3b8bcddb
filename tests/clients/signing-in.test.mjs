// The JavaScript client with users of an application's own: a server that is a few functions, and time that is told.

import assert from "node:assert/strict";
import { test } from "node:test";

const { Hubbub } = await import(new URL("../../clients/js/src/hubbub.js", import.meta.url));
const { Renewal } = await import(new URL("../../clients/js/src/hubbub/renewal.js", import.meta.url));

const settled = () => new Promise((resolve) => setImmediate(resolve));

/** Lets everything happen that can happen at once. */
async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await settled();
}

/** A server: `sockets` are its connections, `asked` what came over HTTP, `otp` answers for a one-time password. */
class Server {
  sockets = [];
  asked = [];
  welcome = { user: "percy" };
  ends = null;
  renewed = [];
  otp = () => Response.json({ otp: "o" });

  fetch = async (url, { method, headers, credentials }) => {
    const path = new URL(url).pathname;
    this.asked.push({ path, method, token: headers.Authorization?.replace("Bearer ", ""), credentials });
    return path === "/otp" ? this.otp(headers) : new Response(null, { status: 426 });
  };

  get WebSocket() {
    const server = this;
    return class {
      constructor(url, protocols) {
        Object.assign(this, { url, protocols, said: [] });
        server.sockets.push(this);
        queueMicrotask(() => {
          if (server.ends) this.onclose?.(server.ends);
          else this.tell("welcome", server.welcome);
        });
      }

      tell(type, payload, id) {
        this.onmessage?.({ data: JSON.stringify({ type, id, payload }) });
      }

      send(text) {
        const event = JSON.parse(text);
        this.said.push(event);
        if (event.type === "renew") this.tell("ack", { expires: 100 }, event.id);
      }

      close() {}
    };
  }

  get socket() {
    return this.sockets.at(-1);
  }

  client(options) {
    const chat = new Hubbub("https://chat.example", { fetch: this.fetch, WebSocket: this.WebSocket, ...options });
    chat.closed = [];
    chat.on("closed", (event) => chat.closed.push(event));
    return chat;
  }
}

const unauthorized = () => Response.json({ error: { code: "unauthorized", message: "no" } }, { status: 401 });

/** Tokens one after the other, and how many were asked for. */
function tokens() {
  const give = async () => `t${++give.count}`;
  give.count = 0;
  return give;
}

/** A client whose time a test moves on. */
function onTime(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_000_000 });
  t.mock.method(Math, "random", () => 0.5);
  return async (ms) => {
    t.mock.timers.tick(ms);
    await settle();
  };
}

test("a token signs in, is asked for before each connection, and leaves the cookies alone", async () => {
  const server = new Server();
  const chat = server.client({ token: tokens() });
  await chat.signIn();
  assert.deepEqual(server.asked, [{ path: "/otp", method: "POST", token: "t1", credentials: "omit" }]);
  assert.deepEqual(server.socket.protocols, ["hubbub.v1", "otp.o"]);
  assert.equal(chat.user, "percy");
  await chat.signOut();
  assert.equal(server.asked.length, 1, "the session is the application's to end");
});

test("a token may be a string, and what is written goes out as its user", async () => {
  const server = new Server();
  const chat = server.client({ token: "t" });
  await chat.signIn();
  const sending = chat.send("lunch", "hi");
  await settle();
  const { id } = server.socket.said[0];
  server.socket.tell("ack", { room: "lunch", seq: 1, sent: "then" }, id);
  assert.equal((await sending.done).seq, 1);
  chat.close();
});

test("the application's cookie signs in", async () => {
  const server = new Server();
  const chat = server.client({ credentials: "include" });
  await chat.signIn();
  assert.deepEqual(server.asked, [{ path: "/otp", method: "POST", token: undefined, credentials: "include" }]);
  assert.equal(chat.user, "percy");
  chat.close();
});

test("a token that has run out on its way is asked for once more, and the same one is not sent twice", async () => {
  const server = new Server();
  const token = tokens();
  server.otp = ({ Authorization }) => (Authorization === "Bearer t1" ? unauthorized() : Response.json({ otp: "o" }));
  const chat = server.client({ token });
  await chat.signIn();
  assert.equal(token.count, 2);
  chat.close();
  for (const same of ["old", () => "old"]) {
    const other = new Server();
    other.otp = unauthorized;
    await assert.rejects(other.client({ token: same }).signIn(), { code: "unauthorized" });
    assert.equal(other.asked.length, 1);
  }
});

test("where nobody is signed in, no request is made", async () => {
  for (const nobody of [() => null, async () => undefined, () => ""]) {
    const server = new Server();
    await assert.rejects(server.client({ token: nobody }).signIn(), { code: "unauthorized" });
    assert.equal(server.asked.length, 0);
  }
});

test("what the function throws is thrown when signing in, and a reason to try again later on", async (t) => {
  const tick = onTime(t);
  const server = new Server();
  let isBroken = true;
  const token = async () => {
    if (isBroken) throw new TypeError("Failed to fetch");
    return "t";
  };
  const chat = server.client({ token });
  await assert.rejects(chat.signIn(), TypeError);
  isBroken = false;
  await chat.signIn();
  isBroken = true;
  server.socket.onclose({ code: 1006, reason: "" });
  await tick(250);
  assert.equal(chat.state, "offline");
  isBroken = false;
  await tick(500);
  assert.equal(chat.state, "online");
  chat.close();
});

test("what is no token is told so, and not sent", async () => {
  for (const token of [{ token: "t" }, '"t"', "t t", "t\r\nX-Evil: 1", "t\n", "ü"]) {
    const server = new Server();
    const none = { code: "unauthorized", message: /^What was given as a token is none: / };
    await assert.rejects(server.client({ token: () => token }).signIn(), none);
    assert.equal(server.asked.length, 0);
  }
});

test("who may not come in any more is told why, and does not ask for ever", async (t) => {
  const tick = onTime(t);
  const server = new Server();
  const chat = server.client({ token: tokens() });
  await chat.signIn();
  server.otp = () => Response.json({ error: { code: "forbidden", message: "this account is blocked" } }, { status: 403 });
  server.socket.onclose({ code: 4100, reason: "" });
  await tick(250);
  assert.deepEqual(chat.closed, [{ code: 4103, reason: "this account is blocked" }]);
});

test("a function that never answers holds up no later one", async (t) => {
  const tick = onTime(t);
  const server = new Server();
  let isStuck = false;
  const chat = server.client({ token: () => (isStuck ? new Promise(() => {}) : "t") });
  await chat.signIn();
  isStuck = true;
  server.socket.onclose({ code: 1006, reason: "" });
  await tick(250);
  assert.equal(chat.state, "connecting");
  isStuck = false;
  await tick(30_000);
  await tick(500);
  assert.equal(chat.state, "online");
  chat.close();
});

test("a token is renewed on the connection before it runs out, and again", async (t) => {
  const tick = onTime(t);
  const server = new Server();
  server.welcome = { user: "percy", expires: 10 };
  const chat = server.client({ token: tokens() });
  await chat.signIn();
  await tick(7_999);
  assert.deepEqual(server.socket.said, []);
  await tick(1);
  await tick(80_000);
  assert.deepEqual(server.socket.said.map(({ type, payload }) => [type, payload.token]), [["renew", "t2"], ["renew", "t3"]]);
  assert.equal(server.sockets.length, 1);
  chat.close();
  await tick(1_000_000);
  assert.equal(server.socket.said.length, 2);
});

test("where the cookie signs in, another connection takes the place of one that runs out", async (t) => {
  const tick = onTime(t);
  const server = new Server();
  server.welcome = { user: "percy", expires: 10 };
  const chat = server.client({ credentials: "include" });
  await chat.signIn();
  server.welcome = { user: "percy" };
  await tick(8_000);
  await tick(0);
  assert.deepEqual([server.sockets.length, chat.state], [2, "online"]);
  assert.deepEqual(server.sockets[0].said, []);
  chat.close();
});

test("a session that has run out is gone on with by another token; without one the conversation is over", async (t) => {
  const tick = onTime(t);
  const server = new Server();
  let isIn = true;
  const chat = server.client({ token: () => (isIn ? "t" : null) });
  await chat.signIn();
  server.socket.onclose({ code: 4100, reason: "" });
  await tick(250);
  assert.equal(chat.state, "online");
  isIn = false;
  server.socket.onclose({ code: 4100, reason: "" });
  await tick(500);
  assert.deepEqual([chat.state, chat.closed[0].code], ["closed", 4100]);
  const once = server.client({ token: "t" });
  await once.signIn();
  server.socket.onclose({ code: 4100, reason: "" });
  assert.equal(once.state, "closed", "a string cannot be another one");
});

test("another user's token does not go on with the conversation", async (t) => {
  const tick = onTime(t);
  const server = new Server();
  const chat = server.client({ token: tokens() });
  await chat.signIn();
  server.welcome = { user: "alice" };
  server.socket.onclose({ code: 1006, reason: "" });
  await tick(250);
  assert.deepEqual([chat.state, chat.closed[0].code], ["closed", 4100]);
});

test("who is turned away is told why, and does not come back", async (t) => {
  const tick = onTime(t);
  const server = new Server();
  server.ends = { code: 4103, reason: "The cinema is full." };
  const chat = server.client({ token: "t" });
  await assert.rejects(chat.signIn(), { code: "forbidden", message: "The cinema is full." });
  assert.deepEqual(chat.closed, [{ code: 4103, reason: "The cinema is full." }]);
  await tick(60_000);
  assert.equal(server.sockets.length, 1);
});

test("a server that no WebSocket leads to is told when signing in", async () => {
  const server = new Server();
  server.ends = { code: 1006, reason: "" };
  const chat = server.client({ token: "t" });
  await assert.rejects(chat.signIn(), { code: "unreachable" });
  assert.equal(chat.state, "closed");
});

test("what could not be renewed is tried again in what is left, and no longer", async (t) => {
  const tick = onTime(t);
  t.mock.method(console, "warn", () => {});
  const at = [];
  const renewal = new Renewal(async () => {
    at.push(Date.now() - 1_000_000);
    throw new Error("not now");
  });
  renewal.start(100);
  for (let step = 0; step < 1_000; step += 1) await tick(200);
  assert.deepEqual(at, [80_000, 96_000, 99_200, 100_200]);
});

test("a renewal that ends after its connection begins no other one", async (t) => {
  const tick = onTime(t);
  let [count, answer] = [0, null];
  const renewal = new Renewal(() => new Promise((resolve) => ([count, answer] = [count + 1, resolve])));
  renewal.start(10);
  await tick(8_000);
  renewal.stop();
  answer(10);
  await settle();
  await tick(100_000);
  assert.equal(count, 1);
});

test("a token that is a string is not renewed, nor is any while there is no connection", async (t) => {
  const tick = onTime(t);
  const server = new Server();
  server.welcome = { user: "percy", expires: 10 };
  const once = server.client({ token: "t" });
  await once.signIn();
  await tick(10_000);
  assert.deepEqual(server.socket.said, []);
  once.close();
  const token = tokens();
  const chat = server.client({ token });
  await chat.signIn();
  server.otp = () => new Response(null, { status: 503, headers: { "Retry-After": "60" } });
  server.socket.onclose({ code: 1006, reason: "" });
  await tick(50_000);
  assert.equal(token.count, 2, "one to sign in, one for the connection that did not come");
  chat.close();
});

test("a server may be under a path, of the page's own server or of another one", async () => {
  globalThis.location = { origin: "https://example.com" };
  try {
    for (const [url, expected] of [
      ["/chat/", "https://example.com/chat/otp"],
      ["", "https://example.com/otp"],
      ["https://chat.example/hub", "https://chat.example/hub/otp"],
    ]) {
      const asked = [];
      const fetch = async (place) => (asked.push(place), unauthorized());
      const chat = new Hubbub(url, { fetch, WebSocket: Object, token: "t" });
      await assert.rejects(chat.signIn(), { code: "unauthorized" });
      assert.deepEqual(asked, [expected]);
    }
    assert.throws(() => new Hubbub("//chat.example", { WebSocket: Object }), TypeError);
    assert.throws(() => new Hubbub("chat", { WebSocket: Object }), TypeError);
  } finally {
    delete globalThis.location;
  }
  assert.throws(() => new Hubbub("/chat", { WebSocket: Object }), TypeError, "there is no page");
});

test("the session of a server's own page is kept, under a path too", async () => {
  globalThis.location = { origin: "https://example.com" };
  try {
    for (const [url, expected] of [["/chat", "same-origin"], ["https://example.com.evil.example", "omit"]]) {
      const asked = [];
      const fetch = async (place, { credentials, body }) => (asked.push([credentials, JSON.parse(body).remember]), unauthorized());
      await assert.rejects(new Hubbub(url, { fetch, WebSocket: Object }).signIn("percy", "123"));
      assert.deepEqual(asked, [[expected, expected === "same-origin" ? true : undefined]]);
    }
  } finally {
    delete globalThis.location;
  }
});

test("a page of the server's own can sign in by the application's cookie, and then by a name and a password", async () => {
  globalThis.location = { origin: "https://chat.example" };
  try {
    const server = new Server();
    const chat = server.client({});
    await chat.signIn();
    assert.deepEqual(server.asked, [{ path: "/otp", method: "POST", token: undefined, credentials: "same-origin" }]);
    await chat.signOut();
    assert.equal(server.asked.length, 1);
    await chat.signIn("percy", "123").catch(() => {});
    assert.equal(server.asked.at(-1).path, "/login");
  } finally {
    delete globalThis.location;
  }
});

test("a page of the server's own asks for no cookie where the users are an application's", async () => {
  globalThis.location = { origin: "https://chat.example" };
  try {
    const server = new Server();
    const chat = server.client({ token: "t" });
    await chat.signIn();
    assert.deepEqual(server.asked.map(({ credentials }) => credentials), ["omit"]);
    assert.equal(await chat.resumeSession(), false);
    chat.close();
  } finally {
    delete globalThis.location;
  }
});

test("what lasts for ever, or for months, is no trouble for timers", async (t) => {
  const tick = onTime(t);
  let count = 0;
  const renewal = new Renewal(async () => void (count += 1));
  for (const left of [undefined, 0, -1, NaN, "soon", {}]) renewal.start(left);
  await tick(2 ** 31 - 2);
  assert.equal(count, 0);
  renewal.start(1e9);
  await tick(2 ** 31 - 2);
  assert.equal(count, 0);
  await tick(1);
  assert.equal(count, 1);
});

import { readRetryAfter } from "/web/failures.js";
import { Session } from "/web/session.js";
import { equal, FakeStorage, test, thrownBy } from "./testing.js";

const answer = (status, body = {}, headers = {}) => new Response(status === 204 ? null : JSON.stringify(body), { status, headers });

// answers: what the server says, in turn; "down" for no answer at all.
function sessionWith(...answers) {
  const asked = [];
  const storage = new FakeStorage();
  const clock = { now: 0 };
  const fetch = async (path, { headers = {} }) => {
    asked.push(headers.Authorization ? `${path} ${headers.Authorization}` : path);
    const next = answers.shift();
    if (next === "down") throw new TypeError("no network");
    return next;
  };
  return { session: new Session({ fetch, storage, now: () => clock.now }), asked, storage, clock };
}

const welcome = (number) => answer(200, { otp: `o${number}`, token: `t${number}`, expires_in: 60 });

test("the ticket of the login serves the first connection, later ones are asked for", async () => {
  const { session, asked } = sessionWith(welcome(1), answer(200, { otp: "o2" }));
  await session.login("percy", "123");
  equal([await session.ticket(), await session.ticket()], ["o1", "o2"]);
  equal(asked, ["/login", "/otp Bearer t1"]);
});

test("a ticket that has become stale is not used", async () => {
  const { session, clock } = sessionWith(welcome(1), answer(200, { otp: "o2" }));
  await session.login("percy", "123");
  clock.now = 4000;
  equal(await session.ticket(), "o2");
});

test("a forgotten token ends the session: nothing here knows the password", async () => {
  const { session, asked } = sessionWith(welcome(1), answer(401));
  await session.login("percy", "123");
  await session.ticket();
  const failure = await thrownBy(() => session.ticket());
  equal([failure.isFinal, failure.message], [true, "Your session has ended. Please log in again."]);
  equal(asked, ["/login", "/otp Bearer t1"]);
});

test("the server is asked whether the first account is still to be made", async () => {
  const { session, asked } = sessionWith(answer(200, { open: true }), answer(200, { open: false }), answer(404));
  equal([await session.isSetupOpen(), await session.isSetupOpen(), await session.isSetupOpen()], [true, false, false]);
  equal(asked, ["/setup", "/setup", "/setup"]);
});

test("the reason of a refusal is the server's", async () => {
  const full = answer(503, { error: { code: "unavailable", message: "this server is full" } });
  const { session } = sessionWith(full, new Response("?", { status: 502 }));
  equal([await session.whyRefused(), await session.whyRefused()], ["this server is full", ""]);
});

test("a server that would let a WebSocket in has not seen one", async () => {
  const { session } = sessionWith(answer(426, { error: { message: "connect" } }));
  equal((await session.whyRefused()).includes("A proxy on the way may not pass Upgrade on"), true);
});

test("what the operator has to mend is said in the server's words", async () => {
  const words = "a proxy on the way does not pass Host on";
  for (const status of [403, 421]) {
    const refused = () => answer(status, { error: { code: "forbidden", message: words } });
    const { session } = sessionWith(refused(), welcome(1), refused());
    equal((await thrownBy(() => session.login("percy", "123"))).message, words);
    await session.login("percy", "123");
    await session.ticket();
    const failure = await thrownBy(() => session.ticket());
    equal([failure.message, failure.isFinal, failure.isAnswer], [words, false, true]);
  }
});

test("a server that is down or busy on return is only late", async () => {
  const { session } = sessionWith(welcome(1), "down", answer(503, {}, { "Retry-After": "7" }));
  await session.login("percy", "123");
  await session.ticket();
  for (const retryAfterMs of [0, 7000]) {
    const failure = await thrownBy(() => session.ticket());
    equal([failure.isFinal, failure.retryAfterMs], [false, retryAfterMs]);
  }
});

test("after a reload, a refused token ends the session", async () => {
  const { session, storage } = sessionWith(answer(401));
  storage.setItem("hubbub.token", "t0");
  equal(session.isOpen, true);
  equal((await thrownBy(() => session.ticket())).isFinal, true);
});

test("the password is never stored", async () => {
  const { session, storage } = sessionWith(welcome(1));
  await session.login("percy", "secret-words");
  equal([...storage.items.values()], ["t1"]);
});

test("a refused login says why in words", async () => {
  const cases = [
    [answer(401), "Wrong name or password."],
    [answer(429, {}, { "Retry-After": "12" }), "Too many tries. Please try again in 12 seconds."],
    [answer(503), "The server is busy. Please try again in a moment."],
    ["down", "The server cannot be reached. Check your connection and try again."],
    [answer(500), "The server gave an unexpected answer (500)."],
    [new Response("<html>", { status: 403 }), "The server gave an unexpected answer (403)."],
  ];
  for (const [said, words] of cases) {
    const { session } = sessionWith(said);
    equal((await thrownBy(() => session.login("percy", "123"))).message, words);
    equal(session.isOpen, false);
  }
});

test("logging out forgets first and tells the server after", async () => {
  const { session, asked } = sessionWith(welcome(1), answer(204));
  await session.login("percy", "123");
  const leaving = session.logout();
  equal(session.isOpen, false);
  await leaving;
  equal(asked, ["/login", "/logout Bearer t1"]);
});

test("Retry-After is seconds or a date", () => {
  equal(readRetryAfter("3", 0), 3000);
  equal(readRetryAfter("Thu, 01 Jan 1970 00:00:05 GMT", 1000), 4000);
  for (const header of [null, "", "-1", "soon"]) equal(readRetryAfter(header, 0), 0);
});

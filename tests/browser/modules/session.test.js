import { readRetryAfter } from "/web/failures.js";
import { Session } from "/web/session.js";
import { equal, FakeStorage, test, thrownBy } from "./testing.js";

const answer = (status, body = {}, headers = {}) => new Response(status === 204 ? null : JSON.stringify(body), { status, headers });

// answers: what the server says, in turn; "down" for no answer at all.
function sessionWith(...answers) {
  const asked = [];
  const storage = new FakeStorage();
  const clock = { now: 0 };
  const fetch = async (path, { headers }) => {
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

test("a forgotten token is replaced by logging in again, without asking", async () => {
  const { session, asked, storage } = sessionWith(welcome(1), answer(401), welcome(2), answer(200, { otp: "o3" }));
  await session.login("percy", "123");
  await session.ticket();
  equal([await session.ticket(), await session.ticket()], ["o2", "o3"]);
  equal(asked, ["/login", "/otp Bearer t1", "/login", "/otp Bearer t2"]);
  equal(storage.getItem("hubbub.token"), "t2");
});

test("a password refused on return ends the session", async () => {
  const { session } = sessionWith(welcome(1), answer(401), answer(401));
  await session.login("percy", "123");
  await session.ticket();
  const failure = await thrownBy(() => session.ticket());
  equal([failure.isFinal, failure.message], [true, "Your session has ended. Please log in again."]);
});

test("a server that is down or busy on return is only late", async () => {
  const { session } = sessionWith(welcome(1), "down", answer(503, {}, { "Retry-After": "7" }), answer(401), "down");
  await session.login("percy", "123");
  await session.ticket();
  for (const retryAfterMs of [0, 7000, 0]) {
    const failure = await thrownBy(() => session.ticket());
    equal([failure.isFinal, failure.retryAfterMs], [false, retryAfterMs]);
  }
});

test("without the password in memory, as after a reload, a refused token ends the session", async () => {
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

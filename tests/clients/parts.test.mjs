// Parts of the JavaScript client by themselves: no socket, no time that passes.

import assert from "node:assert/strict";
import { test } from "node:test";

const parts = new URL("../../clients/js/src/hubbub/", import.meta.url);
const { Cursor } = await import(new URL("cursor.js", parts));
const { Room } = await import(new URL("room.js", parts));
const { Requests, RESEND_MS } = await import(new URL("requests.js", parts));
const { Outbox } = await import(new URL("outbox.js", parts));
const { Conversation, fold } = await import(new URL("conversation.js", parts));
const { Pace, fullJitter } = await import(new URL("pace.js", parts));
const { endingOf } = await import(new URL("errors.js", parts));
const { react } = await import(new URL("message.js", parts));
const { Session } = await import(new URL("session.js", parts));

const said = (...seqs) => seqs.map((seq) => ({ seq, from: "alice", message: `m${seq}`, sent: "2026-01-01T00:00:00Z" }));
const entered = (seq, messages, more = {}) => ({ room: "lunch", epoch: "one", seq, messages, recovered: false, ...more });
const seqs = (shown) => shown.map((item) => ("gap" in item ? [item.gap.from, item.gap.to, item.gap.isNewLog] : item.payload.seq));

function joined(seq) {
  const cursor = new Cursor();
  cursor.enter(entered(seq, []));
  return cursor;
}

function hear(cursor, ...heard) {
  return heard.flatMap((seq) => seqs(cursor.hear("new_message", said(seq)[0])));
}

// A cursor

test("what comes out of order is held until it follows, and nothing comes twice", () => {
  const cursor = joined(3);
  assert.deepEqual(hear(cursor, 3, 5, 6, 4, 4, 7), [4, 5, 6, 7]);
});

test("a hole is seen, and filled from history", () => {
  const cursor = joined(1);
  assert.deepEqual(hear(cursor, 4), []);
  assert.equal(cursor.isBehind, true);
  assert.deepEqual(seqs(cursor.fill(said(2, 3), 1)), [2, 3, 4]);
  assert.equal(cursor.isBehind, false);
});

test("what history does not have is a gap", () => {
  const cursor = joined(1);
  hear(cursor, 6);
  assert.deepEqual(seqs(cursor.fill(said(4, 5), 1)), [[2, 3, false], 4, 5, 6]);
});

test("a page that was asked for from another place says nothing of what is before it", () => {
  const cursor = joined(1);
  hear(cursor, 6);
  cursor.fill(said(2, 3), 1);
  assert.deepEqual(seqs(cursor.fill(said(5), 1)), []);
  assert.equal(cursor.last, 3);
});

test("a resumption goes on where it was", () => {
  const cursor = joined(3);
  cursor.drop();
  assert.deepEqual(cursor.since, { epoch: "one", seq: 3 });
  assert.deepEqual(seqs(cursor.resume(entered(5, said(4, 5), { recovered: true }))), [4, 5]);
});

test("a resumption that is refused tells what is missing, unless nothing is", () => {
  const near = joined(3);
  near.drop();
  assert.deepEqual(seqs(near.resume(entered(5, said(2, 3, 4, 5)))), [4, 5]);
  const far = joined(3);
  far.drop();
  assert.deepEqual(seqs(far.resume(entered(9, said(8, 9)))), [[4, 7, false], 8, 9]);
  const other = joined(3);
  other.drop();
  assert.deepEqual(seqs(other.resume(entered(2, said(1, 2), { epoch: "two" }))), [[1, 0, true], 1, 2]);
  assert.equal(other.epoch, "two");
});

test("no more than a bound is held, and the rest is asked for", () => {
  const cursor = joined(0);
  for (let seq = 2; seq < 1000; seq += 1) hear(cursor, seq);
  assert.equal(hear(cursor, 1).length, 257);
  assert.equal(cursor.isBehind, true);
});

test("an epoch goes on, unless more was shown than the log has", () => {
  const cursor = joined(5);
  assert.equal(cursor.goOn({ epoch: "two", seq: 5 }), true);
  assert.equal(cursor.goOn({ epoch: "three", seq: 4 }), false);
  assert.equal(cursor.epoch, "two");
});

// What is unread

const message = (seq, more = {}) => ({ room: "lunch", seq, type: "new_message", text: "", sent: "2026-01-01", ...more });
const ME = /@percy/;

function followed(entry) {
  const room = new Room("lunch");
  room.follow({ room: "lunch", epoch: "one", ...entry });
  room.enter(entered(entry.seq, []));
  return room;
}

test("messages of others are unread until they are marked, own and deleted ones are not", () => {
  const room = followed({ seq: 10, read: 8, unread: 2 });
  room.see([message(11), message(12, { isOwn: true }), message(13, { deleted: true }), message(14, { text: "@percy" })], ME);
  assert.deepEqual([room.unread, room.mentions], [4, 1]);
  room.markRead(11);
  assert.deepEqual([room.unread, room.mentions], [1, 1]);
  room.unsee(14);
  assert.deepEqual([room.unread, room.mentions], [0, 0]);
  room.markRead(5);
  assert.equal(room.read, 11);
});

test("what the server has counted is not counted again when it is heard", () => {
  const room = followed({ seq: 10, read: 8, unread: 2 });
  room.see([message(9), message(10, { text: "@percy" }), message(11)], ME);
  assert.deepEqual([room.unread, room.mentions], [3, 1]);
  room.markRead(9);
  assert.equal(room.unread, 2);
});

test("so many unread are a hundred", () => {
  const room = followed({ seq: 0, read: 0, unread: 0 });
  for (let seq = 1; seq <= 500; seq += 1) room.see([message(seq)], ME);
  assert.equal(room.unread, 100);
  room.markRead(500);
  assert.equal(room.unread, 0);
});

// Reactions

test("a reaction that is repeated changes nothing, and the order is the server's", () => {
  let reactions = react([], "b", "percy", true);
  reactions = react(reactions, "a", "percy", true);
  reactions = react(reactions, "b", "alice", true);
  assert.deepEqual(react(reactions, "b", "alice", true), reactions);
  assert.deepEqual(reactions, [{ emoji: "a", users: ["percy"] }, { emoji: "b", users: ["alice", "percy"] }]);
  assert.deepEqual(react(reactions, "a", "percy", false), [{ emoji: "b", users: ["alice", "percy"] }]);
  assert.deepEqual(react([], "a", "percy", false), []);
});

function talking() {
  const told = [];
  const line = { wake() {}, lose() {}, move() {}, moved() {} };
  const conversation = new Conversation((type, event) => told.push({ type, event }), line);
  conversation.begin();
  conversation.opened({ user: "percy" });
  return { conversation, told, of: (type) => told.filter((each) => each.type === type).map(({ event }) => event) };
}

async function inLunch(messages) {
  const here = talking();
  const joining = here.conversation.join("Lunch", 50);
  const { number } = here.conversation.requests.next(0);
  here.conversation.received({ type: "ack", id: number, payload: entered(messages.length, messages) });
  return { ...here, joined: await joining };
}

test("changes come as what the message is now, and one that was overtaken is none", async () => {
  const { conversation, of } = await inLunch(said(1, 2));
  let seq = 2;
  const event = (type, payload) =>
    conversation.received({ type, payload: { room: "lunch", seq: ++seq, from: "alice", sent: "then", ...payload } });
  event("message_edited", { of: 1, message: "new" });
  event("message_edited", { of: 1 });
  event("reacted", { of: 1, emoji: "+", on: true });
  event("reacted", { of: 999, emoji: "+", on: true });
  event("message_deleted", { of: 1 });
  event("reacted", { of: 1, emoji: "-", on: true });
  const changed = of("changed").map(({ seq, text, deleted, reactions }) => [seq, text, deleted, reactions]);
  assert.deepEqual(changed, [
    [1, "new", undefined, undefined],
    [1, undefined, undefined, [{ emoji: "+", users: ["alice"] }]],
    [999, undefined, undefined, undefined],
    [1, "", true, []],
  ]);
  assert.equal(of("message").length, 0);
});

test("changes in a page are not listed, and its reach is told", async () => {
  const { conversation, joined } = await inLunch([...said(1), { seq: 2, type: "reacted", of: 1, emoji: "+", on: true }]);
  assert.deepEqual(joined.messages.map(({ seq }) => seq), [1]);
  const asking = conversation.history("lunch", { limit: 2 });
  const { number } = conversation.requests.next(0);
  const messages = [{ seq: 2, type: "reacted", of: 1, emoji: "+", on: true }, ...said(3)];
  conversation.received({ type: "ack", id: number, payload: { room: "lunch", epoch: "one", messages, more: true } });
  const page = await asking;
  assert.deepEqual([page.messages.length, page.first, page.last, page.more], [1, 2, 3, true]);
});

test("names are mentions as whole words", async () => {
  const { conversation } = await inLunch([]);
  const texts = ["@percy", "hi @Percy, and", "@percy.", "@percyval", "a@percy.com", "@percy-x", "percy"];
  for (const [index, message] of texts.entries()) {
    conversation.received({ type: "new_message", payload: { room: "lunch", seq: index + 1, from: "alice", message, sent: "x" } });
  }
  assert.equal(conversation.rooms.get("lunch").mentions, 3);
});

test("any name of a user may be mentioned, whatever its characters mean in a pattern", () => {
  for (const user of ["a+b@example.com", "(x", "[y", "z\\", "ann lee", "жанна", "😀", "o'neil", "*"]) {
    const conversation = new Conversation(() => {}, { wake() {}, lose() {}, move() {}, moved() {} });
    conversation.begin();
    conversation.opened({ user, rooms: [{ room: "lunch", epoch: "one", seq: 0, read: 0, unread: 0 }] });
    const room = conversation.rooms.get("lunch");
    room.enter(entered(0, []));
    const tell = (seq, message) =>
      conversation.received({ type: "new_message", payload: { room: "lunch", seq, from: "alice", message, sent: "x" } });
    tell(1, `hi @${user}, and`);
    tell(2, `hi @b${user}`);
    assert.equal(room.mentions, 1, user);
  }
});

test("a room goes by its folded name, and one of two users as it is written", () => {
  assert.deepEqual(["Lunch \uff2f\uff30\uff33", "dm:anna,zo%C3%AB"].map(fold), ["lunch ops", "dm:anna,zo%C3%AB"]);
});

test("rooms that are followed come and go, with what changes about them", () => {
  const { conversation, of } = talking();
  const entry = { room: "ops", title: "Ops", epoch: "one", seq: 4, read: 1, unread: 3, muted: false, active: null };
  conversation.opened({ user: "percy", rooms: [entry] });
  conversation.received({ type: "room_added", payload: { entry: { ...entry, room: "dm:alice,percy" } } });
  assert.deepEqual([...conversation.rooms.keys()], ["ops", "dm:alice,percy"]);
  conversation.received({ type: "room_changed", payload: { room: "ops", muted: true } });
  conversation.received({ type: "room_changed", payload: { room: "ops", read: 4 } });
  const { muted, read, unread, title } = conversation.rooms.get("ops");
  assert.deepEqual({ muted, read, unread, title }, { muted: true, read: 4, unread: 0, title: "Ops" });
  conversation.received({ type: "room_removed", payload: { room: "ops" } });
  conversation.opened({ user: "percy", rooms: [] });
  assert.equal(conversation.rooms.size, 0);
  assert.ok(of("rooms").length >= 4);
});

test("what is said between the word on a room and the join to it is unread", async () => {
  const { conversation, of } = talking();
  conversation.received({ type: "room_added", payload: { entry: { room: "lunch", epoch: "one", seq: 4, read: 4, unread: 0 } } });
  const joining = conversation.join("lunch", 0);
  const acked = (payload) => conversation.received({ type: "ack", id: conversation.requests.next(0).number, payload });
  acked(entered(6, [], { read: 4 }));
  await joining;
  conversation.received({ type: "new_message", payload: { room: "lunch", ...said(7)[0] } });
  acked({ room: "lunch", epoch: "one", messages: said(5, 6, 7) });
  await new Promise(setImmediate);
  assert.equal(conversation.rooms.get("lunch").unread, 3);
  assert.deepEqual(of("message").map(({ seq }) => seq), [7]);
});

test("a join that has all that was not counted asks for no more", async () => {
  const { conversation } = talking();
  conversation.received({ type: "room_added", payload: { entry: { room: "lunch", epoch: "one", seq: 4, read: 2, unread: 2 } } });
  const joining = conversation.join("lunch", 2);
  conversation.received({ type: "ack", id: conversation.requests.next(0).number, payload: entered(6, said(5, 6), { read: 2 }) });
  await joining;
  assert.equal(conversation.rooms.get("lunch").unread, 4);
  assert.equal(conversation.requests.next(0), null);
});

// Requests

test("requests of a room keep their order when one is refused for now", () => {
  const requests = new Requests();
  for (const type of ["a", "b"]) requests.add(type, {}, "keyed", "lunch").catch(() => {});
  requests.add("c", {}, "keyed", "tea").catch(() => {});
  const first = requests.next(0);
  assert.equal(requests.refused(first, { code: "rate_limited", retry_after: 2 }, 0), false);
  assert.equal(requests.next(0).type, "c");
  assert.equal(requests.next(0), null);
  assert.equal(requests.wait(0), 2000);
  assert.deepEqual([requests.next(2000).type, requests.next(2000).type], ["a", "b"]);
});

test("nothing is asked before the rooms are back", () => {
  const requests = new Requests();
  requests.add("send", {}, "keyed", "lunch").catch(() => {});
  requests.add("join_room", {}, "connection", "lunch").catch(() => {});
  const resume = requests.next(0);
  assert.equal(resume.type, "join_room");
  assert.equal(requests.next(0), null);
  requests.acked(resume, {});
  assert.equal(requests.next(0).type, "send");
});

test("what means a connection waits for no room, holds nothing up, and goes with it", () => {
  const requests = new Requests();
  requests.add("send", {}, "keyed", "lunch").catch(() => {});
  requests.add("renew", {}, "connection").catch(() => {});
  assert.deepEqual([requests.next(0).type, requests.next(0).type], ["send", "renew"]);
  requests.drop();
  assert.deepEqual([requests.next(0).type, requests.next(0)], ["send", null]);
  requests.drop();
  requests.add("join_room", {}, "connection", "lunch").catch(() => {});
  requests.add("renew", {}, "connection").catch(() => {});
  assert.deepEqual([requests.next(0).type, requests.next(0).type, requests.next(0)], ["join_room", "renew", null]);
});

test("a lost connection gives up what might be done twice, and keeps the rest", async () => {
  const requests = new Requests();
  const once = requests.add("vote", {}, "once");
  requests.add("send", { key: "k" }, "keyed", "lunch").catch(() => {});
  requests.add("typing", {}, "fleeting", "lunch").catch(() => {});
  for (let n = 0; n < 2; n += 1) requests.next(0);
  requests.drop();
  await assert.rejects(once, { code: "unanswered" });
  assert.equal(requests.next(0).payload.key, "k");
  assert.equal(requests.next(0), null);
});

test("what is refused for good, or for too long, is told", async () => {
  const requests = new Requests();
  const asked = requests.add("send", {}, "keyed", "lunch");
  let request = requests.next(0);
  for (let now = 0; !requests.refused(request, { code: "unavailable", retry_after: 10 }, now); ) {
    now += 10_000;
    request = requests.next(now);
  }
  await assert.rejects(asked, { code: "unavailable", retryAfter: 10 });
});

// Keys and their age

test("a key that the server may have forgotten is not sent again by itself", async (t) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1_000_000 });
  const requests = new Requests();
  const sent = requests.add("send", {}, "keyed", "lunch");
  requests.next(0);
  requests.drop();
  t.mock.timers.tick(RESEND_MS);
  requests.expire();
  assert.notEqual(requests.next(0), null);
  requests.drop();
  t.mock.timers.tick(1);
  requests.expire();
  await assert.rejects(sent, { code: "unanswered" });
});

function outbox(kept, ask) {
  const puts = [];
  const store = {
    all: async () => kept,
    put: async (entries) => void puts.push(...entries),
    delete: async (key) => void puts.push({ gone: key }),
  };
  const told = [];
  const box = new Outbox(store, false, { isReady: () => true, ask, told: ({ key, state }) => told.push([key, state]) });
  return { box, puts, told };
}

const entry = (more) => ({ key: "k", scope: "s", owner: "another", room: "lunch", text: "hi", at: 1, sentAt: 0, error: null, ...more });
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("what another page has left is sent, with its key", async () => {
  const asked = [];
  const { box, puts } = outbox([entry({ sentAt: Date.now() })], async ({ key }) => (asked.push(key), { seq: 7, sent: "then" }));
  await box.open("s");
  await settled();
  assert.deepEqual(asked, ["k"]);
  assert.deepEqual(box.in(), []);
  assert.deepEqual(puts.at(-1), { gone: "k" });
});

test("what another page has left four minutes ago may have arrived, and its writer decides", async () => {
  const asked = [];
  const { box } = outbox([entry({ sentAt: Date.now() - RESEND_MS - 1 })], async ({ key }) => (asked.push(key), { seq: 7 }));
  await box.open("s");
  await settled();
  const [outgoing] = box.in("lunch");
  assert.deepEqual([asked, outgoing.state, outgoing.error.code], [[], "failed", "unanswered"]);
  outgoing.retry();
  assert.equal((await outgoing.done).seq, 7);
  assert.notEqual(asked[0], "k", "the server may know that key by another seq");
});

test("it is kept before it is sent, in the order in which it was written", async () => {
  const asked = [];
  const { box, puts } = outbox([], async ({ text }) => {
    assert.ok(puts.some((put) => put.text === text && put.sentAt > 0));
    asked.push(text);
    return { seq: asked.length, sent: "then" };
  });
  await box.open("s");
  const all = [1, 2, 3].map((n) => box.send("lunch", `m${n}`));
  await Promise.all(all.map(({ done }) => done));
  assert.deepEqual(asked, ["m1", "m2", "m3"]);
});

test("no more than a bound waits", async () => {
  const { box } = outbox([], () => new Promise(() => {}));
  await box.open("s");
  const all = Array.from({ length: 1001 }, (_, n) => box.send("lunch", `${n}`));
  assert.equal(all[999].state, "waiting");
  assert.equal(all[1000].error.code, "full");
});

// Time and codes

test("pauses are anything up to a ceiling that doubles up to a cap", (t) => {
  t.mock.method(Math, "random", () => 0.5);
  assert.deepEqual([0, 1, 2, 10, 5000].map((tries) => fullJitter(tries, 500, 20_000)), [250, 500, 1000, 10_000, 10_000]);
});

test("a pace stays within the rate, and nothing is lost when there is none", () => {
  const pace = new Pace(10, 20);
  for (let n = 0; n < 10; n += 1) {
    assert.equal(pace.delay(0), 0);
    pace.take();
  }
  assert.ok(pace.delay(0) > 100);
  assert.equal(pace.delay(106), 0);
  assert.equal(new Pace(0, 0).delay(0), 0);
});

test("close codes tell whether to come back", () => {
  for (const code of [1001, 1005, 1006, 1011, 1012, 1013, 1014, 4000, 4001, 4099]) assert.equal(endingOf(code), "");
  for (const code of [1000, 1009, 4100, 4101, 4102, 4103, 4199, 3000]) assert.notEqual(endingOf(code), "");
  assert.equal(endingOf(4103, "Full."), "Full.");
  assert.notEqual(endingOf(4101, "Full."), "Full.", "only a refusal is told in the application's words");
});

test("a server that has forgotten the session is signed in to again, where the password is known", async () => {
  const paths = [];
  const answers = { "/login": { otp: "o", token: "t" }, "/otp": null };
  const fetch = async (url) => {
    const path = url.slice(1);
    paths.push(path);
    return answers[path] ? Response.json(answers[path]) : Response.json({ error: { code: "unauthorized" } }, { status: 401 });
  };
  const session = new Session("x", fetch, false);
  await session.signIn("percy", "123");
  assert.equal(await session.ticket(), "o");
  assert.equal(await session.ticket(), "o");
  assert.deepEqual(paths, ["/login", "/otp", "/login"]);
});

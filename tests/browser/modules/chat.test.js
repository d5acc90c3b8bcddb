import { Chat } from "/web/chat.js";
import { Rooms } from "/web/rooms.js";
import { equal, FakeStorage, test } from "./testing.js";

const SENT = "2026-01-01T00:00:00.000Z";

// A chat and the server's side of it, in the server's words.
class Talk {
  now = 0;
  isUp = true;
  frames = [];
  heard = [];
  moves = [];

  constructor() {
    let keys = 0;
    this.chat = new Chat({
      rooms: new Rooms(new FakeStorage()),
      send: (text) => this.isUp && this.frames.push(JSON.parse(text)) > 0,
      changed: () => {},
      heard: (message) => this.heard.push(message.message),
      move: (within) => this.moves.push(within),
      newKey: () => `k${(keys += 1)}`,
      now: () => this.now,
    });
  }

  // The requests since last asked.
  taken() {
    return this.frames.splice(0);
  }

  event(type, payload, id) {
    this.chat.receive({ type, id, payload });
  }

  ack(request, payload) {
    this.event("ack", payload, request.id);
  }

  refuse(request, code) {
    this.event("error", { code, message: code }, request.id);
  }

  message(seq, from, message) {
    this.event("new_message", { room: this.chat.room.name, seq, from, message, sent: SENT });
  }

  join(ack = {}) {
    this.event("welcome", { user: "percy" });
    const [request] = this.taken();
    this.enter(request, ack);
    return request;
  }

  // Lets the page in, and answers its question who is here with `presence`.
  enter(request, ack = {}, presence = (question) => this.refuse(question, "unknown_type")) {
    this.ack(request, { room: this.chat.room.name, epoch: "e1", seq: 0, messages: [], ...ack });
    const at = this.frames.findIndex(({ type }) => type === "presence");
    if (at >= 0) presence(this.frames.splice(at, 1)[0]);
  }

  drop() {
    this.chat.disconnected();
  }

  get shown() {
    return this.chat.room.timeline.entries.map((entry) => entry.message ?? entry.words);
  }

  get unsent() {
    return this.chat.outbox.in(this.chat.room.name).map((entry) => `${entry.message} ${entry.state}`);
  }
}

test("it enters the room after welcome, and not before", () => {
  const talk = new Talk();
  equal(talk.taken(), []);
  talk.event("welcome", { user: "percy" });
  equal(talk.taken().map(({ type, payload }) => [type, payload]), [["change_room", { name: "general" }]]);
});

test("a message is pending until its ack, and its own copy does not show twice", () => {
  const talk = new Talk();
  talk.join();
  talk.chat.say("hi");
  const [request] = talk.taken();
  equal(request.payload, { room: "general", message: "hi", key: "k1" });
  equal([talk.unsent, talk.shown], [["hi sent"], []]);
  talk.ack(request, { room: "general", seq: 1, sent: SENT });
  talk.message(1, "percy", "hi");
  equal([talk.unsent, talk.shown, talk.heard], [[], ["hi"], []]);
});

test("what is said before the room lets us in waits for it", () => {
  const talk = new Talk();
  talk.chat.say("early");
  talk.event("welcome", { user: "percy" });
  const [request] = talk.taken();
  talk.enter(request);
  equal(talk.taken().map(({ payload }) => payload.message), ["early"]);
});

test("after a drop it resumes where it was and sends the unacked again with the same key", () => {
  const talk = new Talk();
  talk.join({ seq: 3 });
  talk.message(4, "alice", "four");
  talk.chat.say("lost?");
  const [first] = talk.taken();
  talk.drop();
  const request = talk.join({ recovered: true, seq: 5, messages: [{ room: "general", seq: 5, from: "alice", message: "five", sent: SENT }] });
  equal([request.type, request.payload], ["join_room", { room: "general", since: { epoch: "e1", seq: 4 } }]);
  const [again] = talk.taken();
  equal([again.payload.key, again.id === first.id], [first.payload.key, false]);
  equal(talk.shown, ["four", "five"]);
});

test("a message kept before the drop does not show twice when it is sent again", () => {
  const talk = new Talk();
  talk.join();
  talk.chat.say("hi");
  talk.taken();
  talk.drop();
  talk.join({ recovered: true, seq: 1, messages: [{ room: "general", seq: 1, from: "percy", message: "hi", sent: SENT }] });
  const [again] = talk.taken();
  talk.ack(again, { room: "general", seq: 1, sent: SENT });
  equal([talk.shown, talk.unsent], [["hi"], []]);
});

test("a server without join_room is returned to by change_room, and not asked again", () => {
  const talk = new Talk();
  talk.join();
  talk.drop();
  talk.event("welcome", { user: "percy" });
  talk.refuse(talk.taken()[0], "unknown_type");
  const [fallback] = talk.taken();
  equal(fallback.type, "change_room");
  talk.enter(fallback);
  talk.drop();
  equal(talk.join().type, "change_room");
});

test("a server without typing is told of none after the first", () => {
  const talk = new Talk();
  talk.join();
  talk.chat.typed(true);
  talk.refuse(talk.taken()[0], "unknown_type");
  talk.now = 60_000;
  talk.chat.typed(true);
  equal([talk.taken(), talk.chat.notice], [[], ""]);
});

test("a refused message fails in words and can be tried again", () => {
  const talk = new Talk();
  talk.join();
  talk.chat.say("hi");
  const [request] = talk.taken();
  talk.event("error", { code: "rate_limited", message: "x", retry_after: 2.4 }, request.id);
  const [entry] = talk.chat.outbox.in("general");
  equal([entry.state, entry.words], ["failed", "That was too fast. Try again in 3 seconds."]);
  talk.chat.retry(entry.key);
  equal(talk.taken()[0].payload.key, request.payload.key);
});

test("a room that lets us not in takes us back to the one before", () => {
  const talk = new Talk();
  talk.join();
  talk.chat.goTo("vault");
  equal(talk.chat.room.name, "vault");
  talk.refuse(talk.taken()[0], "forbidden");
  equal([talk.chat.room.name, talk.chat.rooms.names], ["general", ["general"]]);
  equal(talk.chat.notice, "You cannot enter vault: You are not allowed to do that.");
  equal(talk.taken()[0].payload, { room: "general", since: { epoch: "e1", seq: 0 } });
});

test("a room that we are put out of is left for the first one, and says why", () => {
  const talk = new Talk();
  talk.join();
  talk.chat.goTo("vault");
  talk.ack(talk.taken()[0], { room: "vault", epoch: "e1", seq: 0, messages: [] });
  talk.taken();
  talk.event("removed", { room: "vault", code: "forbidden", message: "x" });
  equal([talk.chat.room.name, talk.chat.rooms.names], ["general", ["general"]]);
  equal(talk.chat.notice, "You are out of vault: You are not allowed to do that.");
});

test("messages of a room we left are not shown", () => {
  const talk = new Talk();
  talk.join();
  talk.chat.goTo("garden");
  const [request] = talk.taken();
  talk.event("new_message", { room: "general", seq: 1, from: "alice", message: "late", sent: SENT });
  talk.ack(request, { room: "garden", epoch: "e2", seq: 0, members: ["percy"] });
  talk.event("new_message", { room: "general", seq: 2, from: "alice", message: "later", sent: SENT });
  equal([talk.shown, talk.heard], [[], []]);
});

test("a late ack of a room passed through changes nothing", () => {
  const talk = new Talk();
  talk.join();
  talk.chat.goTo("one");
  talk.chat.goTo("two");
  const [one, two] = talk.taken();
  talk.ack(one, { room: "one", epoch: "e", seq: 7, messages: [] });
  equal([talk.chat.room.name, talk.chat.room.isJoined], ["two", false]);
  talk.ack(two, { room: "two", epoch: "e", seq: 0, messages: [] });
  equal(talk.chat.room.isJoined, true);
});

test("a message over the limit is refused here", () => {
  const talk = new Talk();
  talk.join();
  equal(talk.chat.say("😀".repeat(4000)), "");
  equal(talk.chat.say("x".repeat(4001)), "A message has at most 4000 characters.");
  equal(talk.chat.say("\u0001".repeat(4000)), "This message takes too much space. Please shorten it.");
  equal(talk.taken().length, 1);
});

test("a request without an answer shows that the line is dead", () => {
  const talk = new Talk();
  talk.join();
  talk.chat.say("hi");
  talk.now = 10_000;
  equal(talk.chat.tick(), false);
  talk.now = 10_001;
  equal(talk.chat.tick(), true);
  talk.drop();
  equal(talk.chat.tick(), false);
});

test("members are shown where the server answers presence, and only there", () => {
  const talk = new Talk();
  talk.join({ members: ["percy"] });
  equal(talk.chat.members, null);
  const other = new Talk();
  other.event("welcome", { user: "percy" });
  other.enter(other.taken()[0], {}, (question) => other.ack(question, { room: "general", members: ["percy", "alice"] }));
  other.event("member_joined", { room: "general", user: "bob" });
  equal(other.chat.members, ["alice", "bob", "percy"]);
});

test("how far others have read does not move the place to resume from", () => {
  const talk = new Talk();
  talk.join({ seq: 3 });
  talk.event("read", { room: "general", user: "alice", seq: 5 });
  talk.message(4, "alice", "four");
  equal([talk.shown, talk.chat.room.since.seq], [["four"], 4]);
});

test("a log that goes on under another epoch is taken up, or asked where it stands", () => {
  const talk = new Talk();
  talk.join({ seq: 3 });
  talk.event("epoch", { room: "elsewhere", epoch: "e3", seq: 3 });
  talk.event("epoch", { room: "general", epoch: "e2", seq: 3 });
  equal([talk.chat.room.since, talk.moves], [{ epoch: "e2", seq: 3 }, []]);
  talk.event("epoch", { room: "general", epoch: "e3", seq: 2 });
  equal([talk.chat.room.since, talk.moves], [{ epoch: "e2", seq: 3 }, [0]]);
});

test("an epoch that comes before the room has let us in waits for its ack", () => {
  const talk = new Talk();
  talk.join({ seq: 3 });
  talk.drop();
  talk.event("epoch", { room: "general", epoch: "e2", seq: 3 });
  equal(talk.chat.room.since.epoch, "e1");
  talk.join({ recovered: true, seq: 3, epoch: "e4" });
  equal(talk.chat.room.since.epoch, "e4");
});

test("who types is shown, except ourselves, until they speak", () => {
  const talk = new Talk();
  talk.join();
  for (const user of ["alice", "percy"]) talk.event("typing", { room: "general", user, on: true });
  equal(talk.chat.typists.names(0), ["alice"]);
  talk.message(1, "alice", "done");
  equal(talk.chat.typists.names(0), []);
});

test("earlier messages are asked for before the oldest one shown", () => {
  const talk = new Talk();
  talk.join({ seq: 9, messages: [{ room: "general", seq: 9, from: "alice", message: "nine", sent: SENT }] });
  equal(talk.chat.offersEarlier, true);
  talk.chat.showEarlier();
  const [request] = talk.taken();
  equal([request.type, request.payload.before], ["history", 9]);
  const earlier = [{ room: "general", seq: 8, from: "bob", message: "eight", sent: SENT }];
  talk.ack(request, { room: "general", epoch: "e1", messages: earlier, more: false });
  equal([talk.shown, talk.chat.offersEarlier], [["eight", "nine"], false]);
});

test("a room is shown as it was first written, and goes by what the server says", () => {
  const talk = new Talk();
  talk.join();
  talk.chat.goTo("Ops Straße");
  const [request] = talk.taken();
  equal(request.payload, { name: "Ops Straße" });
  talk.chat.say("first");
  talk.enter(request, { room: "ops strasse", title: "OPS Strasse" });
  equal([talk.chat.room.name, talk.chat.room.title], ["ops strasse", "OPS Strasse"]);
  equal([talk.chat.rooms.current, talk.chat.rooms.titleOf("ops strasse")], ["ops strasse", "OPS Strasse"]);
  equal(
    talk.taken().map(({ payload }) => payload.room),
    ["ops strasse"],
  );
  talk.chat.goTo("ops strasse");
  equal(talk.taken(), []);
});

import { Room } from "/web/room.js";
import { equal, test } from "./testing.js";

const message = (seq, more) => ({ room: "general", seq, from: "alice", message: `m${seq}`, sent: "2026-01-01T00:00:00.000Z", ...more });
const shown = (room) => room.timeline.entries.map((entry) => entry.message ?? entry.words);

function roomWith(seqs, ack = {}) {
  const room = new Room("general");
  room.enter({ epoch: "e1", seq: seqs.at(-1) ?? 0, messages: seqs.map((seq) => message(seq)), ...ack });
  return room;
}

test("a first join shows the server's page and resumes from its seq", () => {
  const room = roomWith([4, 5]);
  equal(shown(room), ["m4", "m5"]);
  equal(room.since, { epoch: "e1", seq: 5 });
  equal(room.hasEarlier, true);
});

test("a server without history or members is fine", () => {
  const room = new Room("general");
  room.enter({ epoch: "e1", seq: 9 });
  equal([shown(room), room.since.seq, room.members, room.hasEarlier], [[], 9, null, false]);
});

test("a repeated message is not shown again", () => {
  const room = roomWith([1]);
  equal([room.hear(message(2)), room.hear(message(2)), room.hear(message(1))], [true, false, false]);
  equal(shown(room), ["m1", "m2"]);
});

test("an own message acked ahead of others takes its place, and its copy is no news", () => {
  const room = roomWith([1]);
  room.keepOwn({ ...message(4), key: "k" });
  equal(room.since.seq, 1);
  equal([2, 3, 4].map((seq) => room.hear(message(seq))), [true, true, false]);
  equal(shown(room), ["m1", "m2", "m3", "m4"]);
  equal(room.since.seq, 4);
});

test("a recovered return adds what was missed", () => {
  const room = roomWith([1, 2]);
  equal(room.enter({ epoch: "e1", seq: 4, recovered: true, messages: [message(3), message(4)] }), "resumed");
  equal(shown(room), ["m1", "m2", "m3", "m4"]);
});

test("an unrecovered return with messages replaces what is shown", () => {
  const room = roomWith([1, 2]);
  equal(room.enter({ epoch: "e2", seq: 1, recovered: false, messages: [message(1, { message: "other" })] }), "fresh");
  equal(shown(room), ["other"]);
  equal(room.since, { epoch: "e2", seq: 1 });
});

test("an unrecovered return without messages keeps them and says so", () => {
  const room = roomWith([1, 2]);
  equal(room.enter({ epoch: "e2", seq: 0, recovered: false, messages: [] }), "hole");
  equal(shown(room), ["m1", "m2", "Reconnected"]);
  equal(room.hear(message(1, { message: "new era" })), true);
  equal(shown(room), ["m1", "m2", "Reconnected", "new era"]);
});

test("a return by change_room that shows nothing was missed needs no divider", () => {
  const room = roomWith([1, 2]);
  equal(room.enter({ epoch: "e1", seq: 2 }), "resumed");
  equal(room.enter({ epoch: "e1", seq: 4, messages: [message(2), message(3), message(4)] }), "resumed");
  equal(shown(room), ["m1", "m2", "m3", "m4"]);
  equal(room.enter({ epoch: "e1", seq: 9 }), "hole");
  equal(room.since.seq, 9);
});

test("an application's own events move the place to resume from, unseen", () => {
  const room = roomWith([1]);
  room.hear({ room: "general", seq: 2, type: "vote", poll: "x" });
  equal([shown(room), room.since.seq], [["m1"], 2]);
});

test("a gap is shown where it is", () => {
  const room = roomWith([1]);
  room.missed(2, 8);
  room.hear(message(9));
  equal(shown(room), ["m1", "Some messages here are no longer kept", "m9"]);
});

test("a resumption may go on under another epoch", () => {
  const room = roomWith([1, 2]);
  equal(room.enter({ epoch: "e2", seq: 3, recovered: true, messages: [message(3)] }), "resumed");
  equal(room.since, { epoch: "e2", seq: 3 });
  equal(shown(room), ["m1", "m2", "m3"]);
  equal(room.hear(message(3)), false);
});

test("a log that goes on under another epoch is resumed under that", () => {
  const room = roomWith([1, 2]);
  equal(room.goOn({ epoch: "e2", seq: 2 }), true);
  room.hear(message(3));
  equal(room.since, { epoch: "e2", seq: 3 });
  equal(room.enter({ epoch: "e2", seq: 4, recovered: true, messages: [message(4)] }), "resumed");
  equal(shown(room), ["m1", "m2", "m3", "m4"]);
});

test("a log that goes on without what was shown is no longer the same", () => {
  const room = roomWith([1, 2]);
  equal(room.goOn({ epoch: "e2", seq: 1 }), false);
  equal(room.since, { epoch: "e1", seq: 2 });
});

test("those whom the server does not name are counted", () => {
  const room = roomWith([], { members: ["bob", "carol"], count: 5 });
  equal(room.unlisted, 3);
  room.memberJoined("alice");
  room.memberLeft("bob");
  room.memberLeft("zoe");
  equal([room.members, room.unlisted], [["alice", "carol"], 2]);
  room.takeMembers({ members: ["bob"] });
  room.memberLeft("zoe");
  equal([room.members, room.unlisted], [["bob"], 0]);
});

test("members come and go only where they are known", () => {
  const room = roomWith([], { members: ["bob"] });
  room.memberJoined("alice");
  room.memberJoined("bob");
  equal(room.members, ["alice", "bob"]);
  room.memberLeft("bob");
  equal(room.members, ["alice"]);
  const unknown = roomWith([]);
  unknown.memberJoined("alice");
  equal(unknown.members, null);
});

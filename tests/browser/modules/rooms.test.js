import { identityOf, readRoomName, Rooms, ROOMS_KEPT } from "/web/rooms.js";
import { equal, FakeStorage, test } from "./testing.js";

test("a room name is 1 to 64 letters, digits, spaces and . _ -", () => {
  for (const name of ["general", "Room 7", "a.b_c-d", "größe", "東京", "x".repeat(64)]) equal(readRoomName(name), name);
  for (const name of ["", "   ", "a/b", "a\nb", "#general", "<b>", "x".repeat(65), "dm:percy"]) equal(readRoomName(name), null);
});

test("a name is spelled as the server spells it", () => {
  equal(readRoomName("  cafe\u0301 "), "café");
  equal(readRoomName("dm:alice,bob"), "dm:alice,bob");
});

test("names that look the same go by one", () => {
  for (const name of ["ops", "Ops", "OPS", "\uff2f\uff30\uff33"]) equal(identityOf(name), "ops");
  equal(readRoomName("a  b"), "a b");
});

test("how a room is written is remembered", () => {
  const storage = new FakeStorage();
  new Rooms(storage).visit("ops", "Ops");
  const rooms = new Rooms(storage);
  equal([rooms.titleOf("ops"), rooms.titleOf("general")], ["Ops", "general"]);
  rooms.drop("ops");
  equal(rooms.titleOf("ops"), "ops");
});

test("the visited rooms and the last one are remembered", () => {
  const storage = new FakeStorage();
  new Rooms(storage).visit("garden");
  const { names, current } = new Rooms(storage);
  equal([names, current], [["general", "garden"], "garden"]);
});

test("general is always there, and a dropped room is not", () => {
  const rooms = new Rooms(new FakeStorage());
  rooms.visit("garden");
  rooms.drop("garden");
  rooms.drop("general");
  equal([rooms.names, rooms.current], [["general"], "general"]);
});

test("the list is bounded, and the room just entered is on it", () => {
  const rooms = new Rooms(new FakeStorage());
  for (let count = 0; count < 100; count += 1) rooms.visit(`room ${count}`);
  equal(rooms.names.length, ROOMS_KEPT);
  equal([rooms.names[0], rooms.names.at(-1)], ["general", "room 99"]);
});

test("spoilt storage counts as empty", () => {
  for (const text of ["{", "null", "7", '{"names":7,"current":["x"]}', '{"names":["<b>"],"current":"a/b"}']) {
    const storage = new FakeStorage();
    storage.setItem("hubbub.rooms", text);
    const { names, current } = new Rooms(storage);
    equal([names, current], [["general"], "general"]);
  }
});

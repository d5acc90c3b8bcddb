import { characters, decode, encode, fitsInFrame } from "/web/codec.js";
import { equal, test } from "./testing.js";

test("what is encoded is decoded alike", () => {
  equal(decode(encode("typing", { on: true }, "c1")), { type: "typing", id: "c1", payload: { on: true } });
});

test("a request without an id has no id member", () => {
  equal(encode("typing", {}), '{"type":"typing","payload":{}}');
});

test("what is not an envelope is null, and never throws", () => {
  for (const text of ["", "{", "null", "[]", "7", '"ack"', "{}", '{"type":7}']) equal(decode(text), null);
});

test("a missing payload is an empty one", () => {
  equal(decode('{"type":"ack","id":"c1"}'), { type: "ack", id: "c1", payload: {} });
  equal(decode('{"type":"ack","id":"c1","payload":null}').payload, {});
});

test("a frame is measured in bytes, a message in code points", () => {
  equal(fitsInFrame("x".repeat(16_384)), true);
  equal(fitsInFrame("x".repeat(16_385)), false);
  equal(fitsInFrame("é".repeat(8193)), false);
  equal(characters("a😀é"), 3);
});

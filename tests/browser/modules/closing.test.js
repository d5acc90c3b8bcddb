import { readCloseCode } from "/web/closing.js";
import { equal, test } from "./testing.js";

test("a lost, restarted or overloaded server is returned to", () => {
  for (const code of [1001, 1006, 1011, 1012, 1013, 4000, 4001, 4099]) equal(readCloseCode(code).verdict, "return");
});

test("4100 to 4199 are not returned to, and say why", () => {
  equal(readCloseCode(4100).verdict, "login");
  for (const code of [4101, 4102, 4150, 4199]) {
    equal(readCloseCode(code).verdict, "stop");
    equal(readCloseCode(code).words.length > 0, true);
  }
});

test("our own mistakes are not repeated without end", () => {
  for (const code of [1002, 1003, 1007, 1009]) equal(readCloseCode(code).verdict, "stop");
});

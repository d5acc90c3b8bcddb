import { readRoute, roomPath, Router } from "/web/router.js";
import { equal, test } from "/modules/testing.js";

test("every room has an address, whatever its name", () => {
  for (const room of ["general", "release 1.0", "dm:alice,bob", "gärten", "עברית", "a_b-c"]) {
    equal(readRoute(roomPath(room)), { name: "room", room, seq: null });
    equal(readRoute(roomPath(room, 1234)), { name: "room", room, seq: 1234 });
  }
  equal(roomPath("dm:alice,bob"), "#/room/dm:alice,bob");
});

test("the other places have one, too", () => {
  equal(readRoute("#/directory"), { name: "directory" });
  equal(readRoute("#/directory/people"), { name: "people" });
  equal(readRoute("#/signup/abc-_123"), { name: "signup", token: "abc-_123" });
});

test("an address that says nothing is home", () => {
  for (const hash of ["", "#", "#/", "#/room", "#/room/", "#/nothing", "#setup=secret", "#/room/%E0%A4%A"]) {
    equal(readRoute(hash), { name: "home" });
  }
});

test("what is no seq is left out", () => {
  for (const seq of ["0", "-1", "1e3", "x", "12345678901234567"]) {
    equal(readRoute(`#/room/general/${seq}`), { name: "room", room: "general", seq: null });
  }
});

class FakeWindow extends EventTarget {
  location = { hash: "", pathname: "/" };
  replaced = [];
  history = {
    replaceState: (_state, _title, path) => {
      this.replaced.push(path);
      this.location.hash = path;
    },
  };
}

test("the same address again goes there again", () => {
  const window = new FakeWindow();
  const seen = [];
  const router = new Router({ window, go: (route) => seen.push(route.name) });
  router.open("#/directory");
  equal(seen, []); // the browser's event tells
  window.dispatchEvent(new Event("hashchange"));
  router.open("#/directory");
  equal(seen, ["directory", "directory"]);
});

test("an address may take the place of the present one", () => {
  const window = new FakeWindow();
  const seen = [];
  new Router({ window, go: ({ room }) => seen.push(room) }).open("#/room/general", { isReplaced: true });
  equal(window.replaced, ["#/room/general"]);
  equal(seen, ["general"]);
});

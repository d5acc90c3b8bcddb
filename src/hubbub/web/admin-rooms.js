// Rooms, and the acts on them.

import { confirm, find, make, tell } from "./admin-dom.js";
import { act, cell, showTable } from "./admin-table.js";
import { count, day } from "./admin-units.js";

const LIMIT = 50;

let shown = [];

export const rooms = {
  open(chat) {
    find("rooms").querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      rooms.refresh(chat);
    });
  },

  async refresh(chat) {
    shown = [];
    await load(chat, "");
  },
};

async function load(chat, after) {
  const prefix = find("rooms").querySelector("input").value.trim().toLowerCase();
  const page = await chat.request("admin_rooms", { prefix, after, limit: LIMIT });
  shown = [...shown, ...page.rooms];
  showTable(find("rooms").querySelector(".rows"), {
    caption: "List of rooms",
    heads: [["Room"], ["In it now", "number"], ["Events so far", "number"], ["Last active"], ["State"], ["Acts", "number"]],
    rows: shown.map((room) => row(chat, room)),
    more: page.next && (() => load(chat, page.next)),
    empty: "There is no such room.",
  });
}

function row(chat, { room, title, members, seq, active, closed }) {
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, title),
    cell("In it now", count(members), "number"),
    cell("Events so far", count(seq), "number"),
    cell("Last active", day(active)),
    cell("State", make("span", { className: closed ? "state is-bad" : "state" }, closed ? "closed" : "open")),
    make(
      "td",
      { className: "acts" },
      closed
        ? act("Reopen", title, () => perform(chat, "admin_reopen_room", room, `${title} is open again.`))
        : act("Close", title, () => ask(chat, "admin_close_room", room, `Close ${title}?`, "Everybody is out of it, and nobody enters it until it is reopened.", "Close", `${title} is closed.`)),
      act("Delete", title, () => ask(chat, "admin_delete_room", room, `Delete ${title}?`, "All that was said in it is gone for good.", "Delete", `${title} is deleted.`)),
    ),
  );
}

async function ask(chat, type, room, title, text, yes, done) {
  if (await confirm(title, text, yes)) await perform(chat, type, room, done);
}

async function perform(chat, type, room, done) {
  try {
    await chat.request(type, { room });
    tell(done);
  } catch (error) {
    tell(error.message, { isBad: true });
  }
  await rooms.refresh(chat);
}

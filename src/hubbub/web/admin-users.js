// Accounts, their connections, and the acts on them.

import { confirm, find, make, tell } from "./admin-dom.js";
import { act, cell, showTable } from "./admin-table.js";

const ROLES = ["admin", "member", "guest"];
const LIMIT = 50;

let shown = [];

export const users = {
  open(chat) {
    find("users").querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      users.refresh(chat);
    });
  },

  async refresh(chat) {
    shown = [];
    await load(chat, "");
  },
};

async function load(chat, after) {
  const prefix = find("users").querySelector("input").value.trim().toLowerCase();
  const page = await chat.request("admin_users", { prefix, after, limit: LIMIT });
  shown = [...shown, ...page.users];
  showTable(find("users").querySelector(".rows"), {
    caption: "List of users",
    heads: [["Name"], ["Role"], ["Connections", "number"], ["State"], ["Acts", "number"]],
    rows: shown.map((user) => row(chat, user)),
    more: page.next && (() => load(chat, page.next)),
    empty: "There is nobody of that name.",
  });
}

function row(chat, user) {
  const role = make("select", { "aria-label": `Role of ${user.user}` }, ...ROLES.map((name) => make("option", { value: name, selected: name === user.role }, name)));
  role.addEventListener("change", async () => {
    await perform(chat, "admin_role", { user: user.user, role: role.value }, `${user.user} is ${role.value} now.`);
  });
  const state = user.blocked ? "blocked" : user.connections ? "online" : "offline";
  const line = make(
    "tr",
    {},
    make("th", { scope: "row" }, user.user, user.name && user.name !== user.user ? ` (${user.name})` : ""),
    cell("Role", role),
    cell("Connections", String(user.connections), "number"),
    cell("State", make("span", { className: user.blocked ? "state is-bad" : "state" }, state)),
  );
  const acts = make("td", { className: "acts" });
  acts.append(
    act("Connections", user.user, (button) => toggleConnections(chat, user, line, button)),
    act("End sessions", user.user, () =>
      ask(chat, "admin_revoke", user, "End the sessions of", "Every device has to sign in again.", "End sessions", "has to sign in again."),
    ),
    user.blocked
      ? act("Unblock", user.user, () => perform(chat, "admin_unblock", { user: user.user }, `${user.user} can sign in again.`))
      : act("Block", user.user, () =>
          ask(chat, "admin_block", user, "Block", "Every connection ends, and nobody can sign in with this account.", "Block", "is blocked."),
        ),
  );
  line.append(acts);
  return line;
}

async function ask(chat, type, { user }, title, text, yes, done) {
  if (await confirm(`${title} ${user}?`, text, yes)) await perform(chat, type, { user }, `${user} ${done}`);
}

/** Do something, say so, and show how things are then. */
async function perform(chat, type, payload, done) {
  try {
    await chat.request(type, payload);
    tell(done);
  } catch (error) {
    tell(error.message, { isBad: true });
  }
  await users.refresh(chat);
}

function disconnect(chat, user) {
  const button = act("Disconnect", user, () => perform(chat, "admin_disconnect", { user }, `${user} is disconnected, and may come back.`));
  button.classList.add("more");
  return button;
}

async function toggleConnections(chat, { user }, line, button) {
  const open = line.nextElementSibling?.classList.contains("detail");
  button.setAttribute("aria-expanded", String(!open));
  if (open) {
    line.nextElementSibling.remove();
    return;
  }
  try {
    const { connections, count } = await chat.request("admin_sessions", { user });
    const items = connections.map(({ address, dialect, session, rooms, refused, dropped }) =>
      make("li", {}, `${address || "unknown address"}, ${dialect}, session ${session}…, in ${rooms.join(", ") || "no room"}; ${refused} refused, ${dropped} over its rate`),
    );
    const content = count ? [make("ul", {}, ...items), disconnect(chat, user)] : ["No connection to this process of the server."];
    line.after(make("tr", { className: "detail" }, make("td", { colSpan: 5 }, ...content)));
  } catch (error) {
    tell(error.message, { isBad: true });
  }
}

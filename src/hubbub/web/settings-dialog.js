// The settings: how the page looks and tells, the reader's name and password, and invitations.

import { confirm, openDialog } from "./dialog.js";
import { make, setHidden, setText } from "./dom.js";
import { showShortcuts } from "./shortcuts.js";
import { wordsOf } from "./signin.js";

const NAME_LENGTH = 64;

// isTheirs: an application has the users, and with them their passwords and invitations.
export function openSettings({ chat, store, notifier, signOut, isTheirs }) {
  const who = make("p", { className: "hint" }, `Signed in as ${chat.user}`);
  const out = make("button", { type: "button", className: "secondary" }, "Sign out");
  const keys = make("button", { type: "button", className: "secondary" }, "Keyboard shortcuts");
  const invitations = part("Invitations");
  invitations.hidden = true;
  const body = make(
    "div",
    { className: "dialog-body" },
    part("You", who, nameForm(chat, store), make("div", { className: "row" }, out, keys)),
    part(
      "Appearance",
      choices(store, "theme", "Colours", [["system", "As the system"], ["light", "Light"], ["dark", "Dark"]]),
      choices(store, "clock", "Time", [["system", "As the language has it"], ["24", "24 hours"], ["12", "12 hours"]]),
    ),
    part("Notifications", ...notifications(store, notifier)),
    part("Keyboard", check(store, "singleKeys", "Shortcuts of a single key (? and /)")),
    ...(isTheirs ? [] : [part("Password", passwordForm(chat)), invitations]),
  );
  const dialog = openDialog({ title: "Settings", className: "settings" }, body);
  out.addEventListener("click", () => {
    dialog.close();
    signOut();
  });
  keys.addEventListener("click", showShortcuts);
  if (!isTheirs) showInvitations(invitations, chat);
  return dialog;
}

let lastNumber = 0;

function part(title, ...content) {
  return make("section", { className: "part" }, make("h3", {}, title), ...content);
}

function field(words, input) {
  lastNumber += 1;
  input.id = `setting-${lastNumber}`;
  input.classList.add("input");
  const label = make("label", {}, words);
  label.htmlFor = input.id;
  return make("div", { className: "field" }, label, input);
}

function choices(store, name, title, options) {
  const rows = options.map(([value, words]) => {
    const input = make("input", { type: "radio", name: `setting-${name}`, value, checked: store.settings[name] === value });
    input.addEventListener("change", () => store.change(name, value));
    return make("label", { className: "check" }, input, words);
  });
  return make("fieldset", { className: "choices" }, make("legend", {}, title), ...rows);
}

function check(store, name, words) {
  const input = make("input", { type: "checkbox", checked: store.settings[name] });
  input.addEventListener("change", () => store.change(name, input.checked));
  return make("label", { className: "check" }, input, words);
}

function notifications(store, notifier) {
  const which = choices(store, "notify", "Tell me about", [
    ["mentions", "Mentions and direct messages"],
    ["all", "Everything"],
    ["off", "Nothing"],
  ]);
  const words = make("p", { className: "hint" });
  const button = make("button", { type: "button", className: "secondary" }, "Allow notifications");
  const draw = () => {
    const { permission } = notifier;
    setHidden(button, permission !== "default");
    setText(words, {
      granted: "Rooms that you mute are left out.",
      default: "This browser has not been asked yet.",
      denied: "This browser does not allow notifications of this page; the title and the icon count all the same.",
    }[permission]);
  };
  button.addEventListener("click", () => notifier.ask().then(draw));
  draw();
  return [which, words, make("div", { className: "row" }, button)];
}

// A form that says how it went. send: returns the words for what went well, or throws.
function form(fields, act, send) {
  const said = make("p", { className: "hint" });
  said.setAttribute("role", "status");
  const button = make("button", { type: "submit", className: "secondary" }, act);
  const element = make("form", { className: "part", noValidate: true }, ...fields, make("div", { className: "row" }, button, said));
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    try {
      const words = await send();
      said.className = "hint";
      setText(said, words);
    } catch (error) {
      said.className = "error";
      setText(said, error.words ?? wordsOf(error));
    }
    button.disabled = false;
  });
  return element;
}

function refuse(words) {
  throw Object.assign(new Error(words), { words });
}

function nameForm(chat, store) {
  const input = make("input", { type: "text", maxLength: NAME_LENGTH, value: store.nameOf(chat.user), autocomplete: "name" });
  return form([field("Display name", input)], "Change name", async () => {
    const { user, name } = await chat.request("set_profile", { name: input.value.trim() });
    store.learn([{ user, name }]);
    return "Changed.";
  });
}

function passwordForm(chat) {
  const current = make("input", { type: "password", autocomplete: "current-password" });
  const fresh = make("input", { type: "password", autocomplete: "new-password" });
  const again = make("input", { type: "password", autocomplete: "new-password" });
  const user = make("input", { type: "text", value: chat.user, autocomplete: "username", hidden: true });
  const fields = [user, field("Present password", current), field("New password, of 8 characters or more", fresh), field("The new password again", again)];
  return form(fields, "Change password", async () => {
    if (!current.value || !fresh.value) refuse("Please fill in all three.");
    if (fresh.value !== again.value) refuse("The new passwords differ.");
    try {
      await chat.http("/password", { method: "POST", body: { current: current.value, new: fresh.value } });
    } catch (error) {
      if (error.status === 403) refuse("The present password is another one.");
      throw error;
    }
    for (const input of [current, fresh, again]) input.value = "";
    return "Changed. Your other sessions have ended.";
  });
}

// Shown to those who may: admins, and whom the server's rules let invite. Others are not asked about, in vain.
async function showInvitations(section, chat) {
  if (chat.role !== "admin" && !chat.features?.includes("invite")) return;
  const list = make("ul", { className: "entries" });
  const draw = async () => {
    const { invitations } = await chat.http("/invitations", { method: "GET" });
    list.replaceChildren(...invitations.map((invitation) => invitationRow(invitation, chat, draw)));
    setHidden(list, invitations.length === 0);
  };
  try {
    await draw();
  } catch {
    return;
  }
  section.append(invitationForm(chat, draw), list);
  section.hidden = false;
}

function invitationForm(chat, draw) {
  const uses = make("input", { type: "number", min: 1, max: 1000, value: 1 });
  const days = make("input", { type: "number", min: 1, max: 90, value: 7 });
  const note = make("input", { type: "text", maxLength: 100 });
  const link = make("input", { type: "text", readOnly: true, className: "input copied" });
  link.setAttribute("aria-label", "The link of the invitation");
  const copy = make("button", { type: "button", className: "secondary" }, "Copy");
  const made = make("div", { className: "row", hidden: true }, link, copy);
  copy.addEventListener("click", async () => {
    await copyText(link);
    setText(copy, "Copied");
  });
  const numbers = make("div", { className: "row" }, field("How many may use it", uses), field("For how many days", days));
  const making = form([numbers, field("What it is for (optional)", note)], "Make a link", async () => {
    const body = { uses: Number(uses.value), days: Number(days.value), ...(note.value.trim() && { note: note.value.trim() }) };
    const { link_token: token } = await chat.http("/invitations", { method: "POST", body });
    link.value = new URL(`./#/signup/${token}`, location.href).href;
    made.hidden = false;
    setText(copy, "Copy");
    link.focus();
    link.select();
    made.scrollIntoView({ block: "center" });
    await draw();
    return "Give this link to whom you invite. It is not shown again.";
  });
  return make("div", { className: "part" }, making, made);
}

// The clipboard is for secure pages alone; the selection is for all.
async function copyText(input) {
  input.select();
  try {
    await navigator.clipboard.writeText(input.value);
  } catch {
    document.execCommand("copy");
  }
}

function invitationRow({ id, by, uses: left, expires, note }, chat, draw) {
  const until = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" }).format(new Date(expires));
  const facts = `${left === 1 ? "one use" : `${left} uses`} left · until ${until}${by ? ` · by ${by}` : ""}`;
  const words = make("span", { className: "entry-words" }, make("b", {}, note || "Invitation"), make("small", {}, facts));
  const button = make("button", { type: "button", className: "secondary is-danger" }, "Revoke");
  button.setAttribute("aria-label", `Revoke ${note || "the invitation"}, ${facts}`);
  button.addEventListener("click", async () => {
    const isAgreed = await confirm({ title: "Revoke the invitation?", words: "Its link lets nobody in any more.", act: "Revoke", isDanger: true });
    if (!isAgreed) return;
    await chat.http(`/invitations/${encodeURIComponent(id)}`, { method: "DELETE" }).catch(() => {});
    await draw().catch(() => {});
  });
  return make("li", { className: "entry" }, words, button);
}

// What the keyboard does anywhere on the page, and the list of it.

import { openDialog } from "./dialog.js";
import { make } from "./dom.js";

const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
export const MOD = isMac ? "⌘" : "Ctrl";

const LIST = [
  [[MOD, "K"], "Jump to a room or a person"],
  [["Alt", "↑"], "The room above"],
  [["Alt", "↓"], "The room below"],
  [["Alt", "Shift", "↓"], "The next room with something unread"],
  [["/"], "Search"],
  [["Esc"], "Close what is open; at the newest message: mark it read"],
  [["Enter"], "Send"],
  [["Shift", "Enter"], "A new line"],
  [["↑"], "In an empty field: edit your last message"],
  [["?"], "This list"],
];

// acts: jump, step (by: 1 or -1, isUnread), search. All of them are deaf while a dialog is open.
export function listen({ store, isActive, acts }) {
  document.addEventListener("keydown", (event) => {
    if (!isActive() || event.isComposing || event.defaultPrevented) return;
    if (act(event, store, acts)) event.preventDefault();
  });
}

// Returns whether the key was one of ours.
function act(event, store, acts) {
  const { key, altKey, shiftKey, ctrlKey, metaKey } = event;
  if ((isMac ? metaKey : ctrlKey) && !altKey && !shiftKey && key.toLowerCase() === "k") {
    acts.jump();
    return true;
  }
  if (document.querySelector("dialog[open]")) return false;
  if (altKey && !ctrlKey && !metaKey && (key === "ArrowDown" || key === "ArrowUp")) {
    acts.step(key === "ArrowDown" ? 1 : -1, shiftKey);
    return true;
  }
  // A single character is a shortcut only where it is not text, and can be switched off (WCAG 2.1.4).
  if (altKey || ctrlKey || metaKey || !store.settings.singleKeys || isWriting(event.target)) return false;
  if (key === "?") showShortcuts();
  else if (key === "/") acts.search();
  else return false;
  return true;
}

function isWriting(element) {
  return element.isContentEditable || element.matches("input, textarea, select");
}

export function showShortcuts() {
  const rows = LIST.flatMap(([keys, words]) => [
    make("dt", {}, ...keys.map((key) => make("kbd", {}, key))),
    make("dd", {}, words),
  ]);
  openDialog({ title: "Keyboard" }, make("div", { className: "dialog-body" }, make("dl", { className: "keys" }, ...rows)));
}

// A small choice of emoji: a field to find one by name, and a grid that arrow keys go through.

import { make } from "./dom.js";
import { emojiLike, groups, nameForEmoji, QUICK } from "./emoji.js";

const COLUMNS = 8;
const MOST_FOUND = 40;

let closeOpen = null;

// Opens beside the button; pick is told the emoji. Escape, a click elsewhere, or the button again end it.
export function openPicker(button, pick, { label = "Choose an emoji" } = {}) {
  if (closeOpen !== null && button.getAttribute("aria-expanded") === "true") return closeOpen();
  closeOpen?.();
  const field = make("input", { type: "text", className: "picker-field", placeholder: "Find by name…", "aria-label": "Find an emoji by name", autocomplete: "off", spellcheck: false });
  const grid = make("div", { className: "picker-grid" });
  const picker = make("div", { className: "picker", role: "dialog", "aria-label": label }, field, grid);
  const listening = new AbortController();
  const { signal } = listening;
  const close = () => {
    closeOpen = null;
    listening.abort();
    const hadFocus = picker.contains(document.activeElement);
    picker.remove();
    button.setAttribute("aria-expanded", "false");
    if (hadFocus && button.isConnected) button.focus({ preventScroll: true });
  };
  closeOpen = close;
  fill(grid, "");
  document.body.append(picker);
  place(picker, button);
  button.setAttribute("aria-expanded", "true");
  field.addEventListener("input", () => fill(grid, field.value.trim().replace(/^:|:$/g, "").replaceAll(" ", "_")));
  grid.addEventListener("click", ({ target }) => {
    const { emoji } = target.closest("button")?.dataset ?? {};
    if (!emoji) return;
    close();
    pick(emoji);
  });
  picker.addEventListener("keydown", (event) => pressed(event, { field, grid, close }));
  document.addEventListener("pointerdown", ({ target }) => picker.contains(target) || button.contains(target) || close(), { signal });
  window.addEventListener("resize", close, { signal });
  window.addEventListener("hashchange", close, { signal });
  field.focus({ preventScroll: true });
}

export function closePicker() {
  closeOpen?.();
}

function fill(grid, words) {
  const buttons = (list) => list.map(({ emoji, name }) => {
    const button = make("button", { type: "button", tabIndex: -1, title: `:${name}:`, "aria-label": name.replaceAll("_", " ") }, emoji);
    button.dataset.emoji = emoji;
    return button;
  });
  if (words === "") {
    const quick = { title: "Often used", emoji: QUICK.map((emoji) => ({ emoji, name: nameForEmoji(emoji).replaceAll(" ", "_") })) };
    grid.replaceChildren(...[quick, ...groups].flatMap(({ title, emoji }) => [make("p", {}, title), make("div", { role: "group", "aria-label": title }, ...buttons(emoji))]));
  } else {
    const found = emojiLike(words, MOST_FOUND);
    grid.replaceChildren(found.length === 0 ? make("p", { role: "status" }, "No emoji has such a name.") : make("div", { role: "group", "aria-label": "Found" }, ...buttons(found)));
  }
  const first = grid.querySelector("button");
  if (first) first.tabIndex = 0;
}

function pressed(event, { field, grid, close }) {
  const buttons = [...grid.querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement);
  const isInField = document.activeElement === field;
  let to;
  if (event.key === "Escape") {
    close();
  } else if (event.key === "Tab") {
    // Two stops, field and grid; the focus stays within until the picker is closed.
    (isInField ? buttons.find(({ tabIndex }) => tabIndex === 0) : field)?.focus();
  } else if (isInField) {
    if (event.key === "Enter") buttons[0]?.click();
    else if (event.key === "ArrowDown") to = 0;
    else return;
  } else {
    to = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + COLUMNS, ArrowUp: at - COLUMNS, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined) return;
  }
  event.preventDefault();
  event.stopPropagation();
  if (to !== undefined && to < 0) return field.focus();
  const target = to === undefined ? null : buttons[Math.min(to, buttons.length - 1)];
  if (!target) return;
  for (const button of buttons) button.tabIndex = button === target ? 0 : -1;
  target.focus();
}

function place(picker, button) {
  const { top, bottom, right } = button.getBoundingClientRect();
  const { offsetHeight: height, offsetWidth: width } = picker;
  const isAbove = bottom + height + 8 > innerHeight && top > innerHeight - bottom;
  const wanted = isAbove ? top - height - 4 : bottom + 4;
  picker.style.top = `${Math.max(8, Math.min(wanted, innerHeight - height - 8))}px`;
  picker.style.left = `${Math.max(8, Math.min(right - width, innerWidth - width - 8))}px`;
}

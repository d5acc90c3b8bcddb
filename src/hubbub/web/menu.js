// A menu under a button: arrow keys go through it, Escape and a click elsewhere end it.

import { make } from "./dom.js";
import { icon } from "./icons.js";

let ending = null;

// items: [{icon, words, act, isDanger}]
export function openMenu(button, items) {
  const isSame = ending?.button === button;
  closeMenu();
  if (isSame) return;
  const menu = make("div", { className: "menu" });
  menu.setAttribute("role", "menu");
  menu.setAttribute("aria-label", button.getAttribute("aria-label") ?? "Menu");
  menu.append(...items.map((item) => itemOf(item)));
  place(menu, button);
  button.setAttribute("aria-expanded", "true");
  const listening = new AbortController();
  ending = { button, menu, listening };
  menu.addEventListener("keydown", (event) => pressed(event, menu));
  const { signal } = listening;
  document.addEventListener("pointerdown", (event) => {
    if (!menu.contains(event.target) && !button.contains(event.target)) closeMenu();
  }, { signal });
  window.addEventListener("resize", closeMenu, { signal });
  window.addEventListener("hashchange", closeMenu, { signal });
  menu.firstElementChild.focus();
}

export function closeMenu() {
  if (ending === null) return;
  const { button, menu, listening } = ending;
  ending = null;
  listening.abort();
  button.setAttribute("aria-expanded", "false");
  if (menu.contains(document.activeElement)) button.focus();
  menu.remove();
}

function itemOf({ icon: name, words, act, isDanger = false }) {
  const item = make("button", { type: "button", className: isDanger ? "is-danger" : "" }, icon(name), words);
  item.setAttribute("role", "menuitem");
  item.tabIndex = -1;
  item.addEventListener("click", () => {
    closeMenu();
    act();
  });
  return item;
}

function place(menu, button) {
  document.body.append(menu);
  const { bottom, top, right } = button.getBoundingClientRect();
  const isAbove = bottom + menu.offsetHeight + 8 > innerHeight && top > menu.offsetHeight;
  menu.style.top = `${isAbove ? top - menu.offsetHeight - 4 : bottom + 4}px`;
  menu.style.left = `${Math.max(8, Math.min(right, innerWidth - 8) - menu.offsetWidth)}px`;
}

function pressed(event, menu) {
  const items = [...menu.children];
  const at = items.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (event.key === "Escape" || event.key === "Tab") closeMenu();
  else if (to !== undefined) items.at(to % items.length).focus();
  if (event.key === "Escape" || to !== undefined) {
    event.preventDefault();
    event.stopPropagation();
  }
}

// A dialog over the page: the browser keeps the focus in it, ends it with Escape, and gives the focus back.

import { make } from "./dom.js";
import { icon } from "./icons.js";

let lastNumber = 0;

// Opens one and returns its <dialog>; it leaves the page when it is closed.
export function openDialog({ title, className = "" }, ...content) {
  lastNumber += 1;
  const id = `dialog-title-${lastNumber}`;
  const close = make("button", { type: "button", className: "icon-button" }, icon("close"));
  close.setAttribute("aria-label", "Close");
  const head = make("header", { className: "dialog-head" }, make("h2", { id }, title), close);
  const dialog = make("dialog", { className: `dialog ${className}` }, head, ...content);
  dialog.setAttribute("aria-labelledby", id);
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("mousedown", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// Resolves to whether the reader agrees.
export function confirm({ title, words, act, isDanger = false }) {
  return new Promise((resolve) => {
    const yes = make("button", { type: "button", className: `secondary ${isDanger ? "is-danger" : ""}` }, act);
    const no = make("button", { type: "button", className: "secondary" }, "Cancel");
    const body = make("div", { className: "dialog-body" }, make("p", {}, words));
    const dialog = openDialog({ title }, body, make("footer", { className: "dialog-foot" }, no, yes));
    let isAgreed = false;
    yes.addEventListener("click", () => {
      isAgreed = true;
      dialog.close();
    });
    no.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => resolve(isAgreed));
    no.focus();
  });
}

export function closeDialogs() {
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
}

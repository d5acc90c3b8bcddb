// A list in pages, as a table that becomes a list of cards where it is narrow.

import { make } from "./admin-dom.js";

/** A cell; where the table is narrow its name is written before it. */
export function cell(name, content, className = "") {
  return make("td", { className, dataset: { name } }, content ?? "");
}

/** A button of a row. */
export function act(label, name, run) {
  const button = make("button", { className: "plain", type: "button", "aria-label": `${label}: ${name}` }, label);
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      await run(button);
    } finally {
      button.disabled = false;
    }
  });
  return button;
}

/**
 * Show a list, and a button for the rest of it.
 * @param {HTMLElement} place
 * @param {{caption: string, heads: [string, string?][], rows: HTMLElement[], more: (() => void) | null, empty: string}} list
 */
export function showTable(place, { caption, heads, rows, more, empty }) {
  if (!rows.length) {
    place.replaceChildren(make("p", { className: "empty" }, empty));
    return;
  }
  const head = make("tr", {}, ...heads.map(([name, className]) => make("th", { scope: "col", className }, name)));
  const table = make("table", { "aria-label": caption }, make("thead", {}, head), make("tbody", {}, ...rows));
  place.replaceChildren(make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": caption }, table));
  if (more) {
    const button = make("button", { className: "plain more", type: "button" }, "Show more");
    button.addEventListener("click", more);
    place.append(button);
  }
}

// Making elements for the page of admins.

const SVG = "http://www.w3.org/2000/svg";

/** An element; strings among the children become text, never markup. */
export function make(tag, { className, dataset, ...properties } = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  Object.assign(element.dataset, dataset);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** An element of a drawing. */
export function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function find(id) {
  return document.getElementById(id);
}

/** Says something for a moment, to eyes and ears. */
export function tell(text, { isBad = false } = {}) {
  const told = find("told");
  told.textContent = text;
  told.classList.toggle("is-bad", isBad);
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => (told.textContent = ""), isBad ? 10_000 : 4_000);
}

/** Asks before something that cannot be taken back; resolves with the answer. */
export function confirm(title, text, yes) {
  const dialog = find("confirm");
  find("confirm-title").textContent = title;
  find("confirm-text").textContent = text;
  find("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// The two things every view does to the page: find an element, make one.

export function find(id) {
  return document.getElementById(id);
}

// Strings among the children become text, never markup.
export function make(tag, { className = "", ...properties } = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

// Writes only what differs: a live region reads out every write, equal or not.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setHidden(element, isHidden) {
  if (element.hidden !== isHidden) element.hidden = isHidden;
}

// A colour for a name, the same on every screen; the classes are in style.css.
export function tintOf(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 9973;
  return `tint-${sum % 8}`;
}

// The text of a message as blocks and marks, and those as DOM nodes. No part of a message is ever read as HTML.
//
// Block: {type: "text" | "quote", children: Inline[]} or {type: "code", text}.
// Inline: a string, {type: "code", text}, {type: "link", href, text}, {type: "mention", user, text},
// {type: "room", room, text}, or {type: "bold" | "italic", children: Inline[]}.
// Each character is looked at a bounded number of times, and marks nest three deep at most, whatever the text is.

import { make } from "./dom.js";
import { emojiFor } from "./emoji.js";

const FENCE = "```";
const LANGUAGE = /^[\w+#.-]{1,20}\n/;
const QUOTE = /^>(?: |$)/;
const WORD = /[\p{L}\p{N}]/u;
const SPACE = /\s/;

// What may begin something else than plain text.
const SPECIAL = /[`*_@#:]|https?:\/\//gi;
// Without the controls of direction: they could show another address than the one that is opened.
const ADDRESS = /https?:\/\/[^\s<>"`\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+/iy;
const MENTION = /@([a-z0-9._-]{1,32})/iy;
const ROOM = /#([\p{L}\p{N}][\p{L}\p{N}\p{M}._-]{0,63})/uy;
const SHORTCODE = /:([a-z0-9_+-]{1,32}):/y;
const MARKS = { "*": "italic", _: "italic", "**": "bold" };
const TRAILING = ".,:;!?'*_";
const PAIRS = { ")": "(", "]": "[", "}": "{" };

// isRoom: tells whether a name after # is a room; without it every name with a letter is one.
export function parse(text, { isRoom = hasLetter } = {}) {
  const blocks = [];
  let at = 0;
  while (at < text.length) {
    const open = text.indexOf(FENCE, at);
    const close = open < 0 ? -1 : text.indexOf(FENCE, open + FENCE.length);
    const code = close < 0 ? "" : text.slice(open + FENCE.length, close).replace(LANGUAGE, "").replace(/^\n/, "");
    if (close < 0 || code.trim() === "") {
      addLines(blocks, text.slice(at), isRoom);
      break;
    }
    addLines(blocks, text.slice(at, open).replace(/\n$/, ""), isRoom);
    blocks.push({ type: "code", text: code.endsWith("\n") ? code.slice(0, -1) : code });
    at = close + FENCE.length;
    if (text[at] === "\n") at += 1;
  }
  return blocks;
}

// The user names that a message mentions, in lower case.
export function mentionsIn(blocks) {
  const users = new Set();
  const visit = (inline) => {
    if (inline.type === "mention") users.add(inline.user);
    inline.children?.forEach(visit);
  };
  blocks.forEach(visit);
  return users;
}

// me: the reader's user name. hrefOf: the page's address of a room.
export function render(blocks, { me = "", hrefOf = (room) => `#/room/${encodeURIComponent(room)}` } = {}) {
  const fragment = document.createDocumentFragment();
  const nodes = (children) => children.map((child) => node(child, { me, hrefOf }, nodes));
  for (const block of blocks) {
    if (block.type === "code") fragment.append(make("pre", { tabIndex: 0 }, make("code", {}, block.text)));
    else fragment.append(make(block.type === "quote" ? "blockquote" : "p", { dir: "auto" }, ...nodes(block.children)));
  }
  return fragment;
}

function node(inline, { me, hrefOf }, nodes) {
  if (typeof inline === "string") return inline;
  const { type, text } = inline;
  if (type === "code") return make("code", {}, text);
  if (type === "bold") return make("strong", {}, ...nodes(inline.children));
  if (type === "italic") return make("em", {}, ...nodes(inline.children));
  if (type === "mention") return make("span", { className: inline.user === me ? "mention is-me" : "mention" }, text);
  if (type === "room") return make("a", { className: "mention", href: hrefOf(inline.room) }, text);
  return make("a", { href: inline.href, target: "_blank", rel: "noopener noreferrer" }, text);
}

// Blocks of lines

function addLines(blocks, text, isRoom) {
  if (text === "") return;
  let block = null;
  for (const line of text.split("\n")) {
    const type = QUOTE.test(line) ? "quote" : "text";
    if (block?.type === type) {
      push(block.children, "\n");
    } else {
      block = { type, children: [] };
      blocks.push(block);
    }
    for (const inline of inlinesOf(type === "quote" ? line.slice(2) : line, isRoom)) push(block.children, inline);
  }
}

// Two strings side by side are one.
function push(children, inline) {
  const last = children.length - 1;
  if (typeof inline === "string" && typeof children[last] === "string") children[last] += inline;
  else if (inline !== "") children.push(inline);
}

// Marks within a line

function inlinesOf(line, isRoom) {
  const marks = new Marks();
  const special = new RegExp(SPECIAL);
  let at = 0;
  let isWithoutTicks = false;
  for (let found = special.exec(line); found; found = special.exec(line)) {
    const { index } = found;
    marks.add(line.slice(at, index));
    at = index;
    const sign = line[index];
    if (sign === "`") {
      const end = isWithoutTicks ? -1 : line.indexOf("`", index + 1);
      isWithoutTicks ||= end < 0;
      if (end > index + 1) {
        marks.add({ type: "code", text: line.slice(index + 1, end) });
        at = end + 1;
      } else {
        at = takePlain(marks, line, index, end < 0 ? index + 1 : end + 1);
      }
    } else if (sign === "*" || sign === "_") {
      at = takeMarks(marks, line, index);
    } else {
      const taken = (TAKERS[sign] ?? takeAddress)(line, index, isRoom);
      marks.add(taken.inline);
      at = taken.end;
    }
    special.lastIndex = at;
  }
  marks.add(line.slice(at));
  return marks.end();
}

function takePlain(marks, line, from, to) {
  marks.add(line.slice(from, to));
  return to;
}

const TAKERS = {
  "@": (line, index) => {
    const name = boundedMatch(MENTION, line, index, /[\p{L}\p{N}._@/-]/u);
    return name ? { inline: { type: "mention", user: name.toLowerCase(), text: `@${name}` }, end: index + 1 + name.length } : plain(line, index);
  },
  "#": (line, index, isRoom) => {
    const name = boundedMatch(ROOM, line, index, /[\p{L}\p{N}#&/]/u);
    return name && isRoom(name) ? { inline: { type: "room", room: name.toLowerCase(), text: `#${name}` }, end: index + 1 + name.length } : plain(line, index);
  },
  ":": (line, index) => {
    const [whole, name] = matchAt(SHORTCODE, line, index) ?? [];
    const emoji = name && emojiFor(name);
    return emoji ? { inline: emoji, end: index + whole.length } : plain(line, index);
  },
};

function takeAddress(line, index) {
  const address = WORD.test(line[index - 1] ?? "") ? null : matchAt(ADDRESS, line, index)?.[0];
  const text = address && withoutTail(address);
  const href = text && hrefFor(text);
  return href ? { inline: { type: "link", href, text }, end: index + text.length } : plain(line, index, address?.length);
}

function plain(line, index, length = 1) {
  return { inline: line.slice(index, index + length), end: index + length };
}

function matchAt(pattern, line, index) {
  pattern.lastIndex = index;
  return pattern.exec(line);
}

// A name with what is not its end taken off; "" where the character before makes it none.
function boundedMatch(pattern, line, index, before) {
  if (before.test(line[index - 1] ?? "")) return "";
  return matchAt(pattern, line, index)?.[1].replace(/[._-]{1,64}$/, "") ?? "";
}

// A full stop after an address, or the bracket around it, is not a part of it.
function withoutTail(address) {
  const counts = {};
  for (const character of address) counts[character] = (counts[character] ?? 0) + 1;
  let end = address.length;
  while (end > 0) {
    const last = address[end - 1];
    const opening = PAIRS[last];
    if (opening ? counts[last] <= (counts[opening] ?? 0) : !TRAILING.includes(last)) break;
    counts[last] -= 1;
    end -= 1;
  }
  return address.slice(0, end);
}

function hrefFor(text) {
  try {
    const { protocol, href } = new URL(text);
    return protocol === "http:" || protocol === "https:" ? href : null;
  } catch {
    return null;
  }
}

// Takes a run of * or _ at the index; returns where it ends.
function takeMarks(marks, line, index) {
  let end = index + 1;
  while (line[end] === line[index]) end += 1;
  const length = end - index;
  const previous = line[index - 1] ?? " ";
  const next = line[end] ?? " ";
  const canOpen = !WORD.test(previous) && !SPACE.test(next);
  const canClose = !SPACE.test(previous) && !WORD.test(next);
  if (length > (line[index] === "_" ? 1 : 3) || !(canOpen || canClose)) return takePlain(marks, line, index, end);
  for (const mark of marks.split(line.slice(index, end))) {
    if (canClose && marks.close(mark)) continue;
    if (!canOpen || !marks.open(mark)) marks.add(mark);
  }
  return end;
}

// The marks that are open, innermost last. Each kind is open once at most, which bounds the depth.
class Marks {
  #frames = [{ mark: "", children: [] }];

  add(inline) {
    push(this.#frames.at(-1).children, inline);
  }

  // Three stars are two marks; what was opened last is closed first.
  split(run) {
    if (run.length < 3) return [run];
    return this.#frames.at(-1).mark === "*" ? ["*", "**"] : ["**", "*"];
  }

  open(mark) {
    if (this.#frames.some((frame) => frame.mark === mark)) return false;
    this.#frames.push({ mark, children: [] });
    return true;
  }

  close(mark) {
    if (!this.#frames.some((frame) => frame.mark === mark)) return false;
    while (this.#frames.at(-1).mark !== mark) this.#drop();
    if (this.#frames.at(-1).children.length === 0) return false;
    const { children } = this.#frames.pop();
    this.add({ type: MARKS[mark], children });
    return true;
  }

  end() {
    while (this.#frames.length > 1) this.#drop();
    return this.#frames[0].children;
  }

  // The innermost mark was never closed: it is text.
  #drop() {
    const { mark, children } = this.#frames.pop();
    this.add(mark);
    for (const child of children) this.add(child);
  }
}

function hasLetter(name) {
  return /\p{L}/u.test(name);
}

// One message on the page.

import { fullTimeOf, timeOf } from "./dates.js";
import { make, tintOf } from "./dom.js";
import { nameForEmoji } from "./emoji.js";
import { mentionsIn, parse, render } from "./format.js";

// Longer than this, a message begins folded: a screen is not one message's to fill.
const FOLD_LINES = 40;
const FOLD_CHARACTERS = 3_000;
const NAMED = 20;

const STATE_WORDS = { waiting: "Waiting to be sent", sending: "Sending", failed: "Not sent" };

// known: {me, nameOf}. Fills the element, which stays with the message.
export function drawRow(element, entry, lead, known) {
  const parts = [];
  if (lead.day) parts.push(make("div", { className: "day" }, make("button", { type: "button", "aria-haspopup": "dialog", title: "Go to a date" }, lead.day)));
  if (lead.isNew) parts.push(make("div", { className: "new" }, "New"));
  parts.push(entry.kind === "gap" ? gapOf(entry) : messageOf(entry, lead, known));
  element.replaceChildren(...parts);
}

function gapOf({ seq, to }) {
  const count = to - seq + 1;
  return make("div", { className: "gap" }, count === 1 ? "A message here is no longer kept." : `${count} messages here are no longer kept.`);
}

function messageOf(entry, { isFirst }, known) {
  const { from, at, deleted, edited, state } = entry;
  const name = known.nameOf(from);
  const body = make("div", { className: "body" });
  if (isFirst) body.append(make("div", { className: "who" }, make("span", { className: `author ${tintOf(from)}` }, name), timeElement(entry)));
  const blocks = deleted ? [] : parse(entry.text);
  body.append(deleted ? make("p", { className: "deleted" }, "This message was deleted.") : textOf(entry, blocks, known));
  if (edited && !deleted) body.lastChild.append(make("span", { className: "edited", title: edited.sent ? fullTimeOf(new Date(edited.sent)) : "" }, "edited"));
  if (entry.reactions?.length) body.append(reactionsOf(entry.reactions, known));
  if (state === "failed") body.append(failureOf(entry));
  const side = isFirst
    ? make("span", { className: `avatar ${tintOf(from)}`, "aria-hidden": "true" }, [...name][0]?.toUpperCase() ?? "?")
    : timeElement(entry);
  const isMention = !deleted && from !== known.me && mentionsIn(blocks).has(known.me);
  const classes = ["message", isFirst && "is-first", isMention && "is-mention", state && state !== "failed" && "is-waiting", state === "failed" && "is-failed"];
  const article = make("article", { className: classes.filter(Boolean).join(" "), tabIndex: -1, "aria-label": labelOf(entry, name, at) }, side, body);
  article.dataset.state = state ?? "sent";
  if (from === known.me) article.classList.add("is-own");
  return article;
}

function labelOf({ state }, name, at) {
  return state ? `${name}, ${STATE_WORDS[state]}` : `${name}, ${timeOf(at)}`;
}

function timeElement({ at, state }) {
  if (state) return make("span", { className: "time" }, make("span", { "aria-hidden": "true" }, "…"), make("span", { className: "visually-hidden" }, STATE_WORDS[state]));
  return make("time", { className: "time", dateTime: at.toISOString(), title: fullTimeOf(at) }, timeOf(at));
}

function textOf({ text }, blocks, { me }) {
  const element = make("div", { className: "text", dir: "auto" }, render(blocks, { me }));
  if (text.length <= FOLD_CHARACTERS && !hasLines(text, FOLD_LINES)) return element;
  element.classList.add("is-folded");
  const more = make("button", { type: "button", className: "link unfold", "aria-expanded": "false" }, "Show all of it");
  return make("div", {}, element, more);
}

function hasLines(text, count) {
  let at = -1;
  for (let line = 0; line < count; line += 1) {
    at = text.indexOf("\n", at + 1);
    if (at < 0) return false;
  }
  return true;
}

function reactionsOf(reactions, { me, nameOf }) {
  return make("div", { className: "reactions" }, ...reactions.map(({ emoji, users }) => {
    const isMine = users.includes(me);
    const names = users.slice(0, NAMED).map((user) => (user === me ? "you" : nameOf(user)));
    if (users.length > NAMED) names.push(`${users.length - NAMED} others`);
    const words = `${names.join(", ")} reacted with ${nameForEmoji(emoji)}`;
    const button = make("button", { type: "button", className: isMine ? "reaction is-mine" : "reaction", title: words, "aria-label": `${emoji} ${users.length}: ${words}`, "aria-pressed": String(isMine) }, make("span", {}, emoji), ` ${users.length}`);
    button.dataset.emoji = emoji;
    return button;
  }));
}

function failureOf({ error }) {
  const act = (name, words) => {
    const button = make("button", { type: "button", className: "link" }, words);
    button.dataset.act = name;
    return button;
  };
  return make("p", { className: "failure" }, `Not sent. ${error?.message ?? ""} `, act("retry", "Try again"), " ", act("discard", "Discard"));
}

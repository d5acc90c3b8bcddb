// What stands before a message: its day, the line above what is unread, its author.

import { dayWords, isSameDay } from "./dates.js";

const GROUP_MS = 5 * 60_000;

// previous: the entry before it, or null. unreadFrom: the seq from which on messages are unread, or null.
export function leadOf(previous, entry, { unreadFrom, hasBefore, now }) {
  if (entry.kind === "gap") return { day: "", isNew: false, isFirst: true };
  const isNewDay = !previous?.at || !isSameDay(previous.at, entry.at);
  const isNew = unreadFrom !== null && entry.seq >= unreadFrom && (previous ? previous.seq < unreadFrom : !hasBefore);
  const isFirst = isNewDay || isNew || previous.from !== entry.from || entry.at - previous.at > GROUP_MS;
  return { day: isNewDay ? dayWords(entry.at, now) : "", isNew, isFirst };
}

export function typingWords(names) {
  if (names.length === 0) return "";
  if (names.length === 1) return `${names[0]} is typing…`;
  if (names.length === 2) return `${names[0]} and ${names[1]} are typing…`;
  return "Several people are typing…";
}

// Dates and times as the reader's own locale writes them.

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DAY_AND_YEAR = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });

export const timeOf = (date) => TIME.format(date);
export const fullTimeOf = (date) => FULL.format(date);

export function isSameDay(one, other) {
  return one.toDateString() === other.toDateString();
}

export function dayWords(date, today) {
  if (isSameDay(date, today)) return "Today";
  const yesterday = new Date(today);
  // By calendar and not by 24 hours: days of 23 and 25 hours exist.
  yesterday.setDate(today.getDate() - 1);
  if (isSameDay(date, yesterday)) return "Yesterday";
  return (date.getFullYear() === today.getFullYear() ? DAY : DAY_AND_YEAR).format(date);
}

// Dates and times as the reader's own locale writes them.

const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DAY_AND_YEAR = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });
const SHORT_DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const SHORT_DAY_AND_YEAR = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

let time;
let full;
setClock("locale");

// clock: "12", "24", or "locale" for what the reader's locale has.
export function setClock(clock) {
  const hourCycle = { 12: "h12", 24: "h23" }[clock];
  time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle });
  full = new Intl.DateTimeFormat(undefined, {
    weekday: "long", day: "numeric", month: "long", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle,
  });
}

export const timeOf = (date) => time.format(date);
export const fullTimeOf = (date) => full.format(date);

export function isSameDay(one, other) {
  return one.getDate() === other.getDate() && one.getMonth() === other.getMonth() && one.getFullYear() === other.getFullYear();
}

export function dayWords(date, today) {
  if (isSameDay(date, today)) return "Today";
  const yesterday = new Date(today);
  // By calendar and not by 24 hours: days of 23 and 25 hours exist.
  yesterday.setDate(today.getDate() - 1);
  if (isSameDay(date, yesterday)) return "Yesterday";
  return (date.getFullYear() === today.getFullYear() ? DAY : DAY_AND_YEAR).format(date);
}

// The time for what was sent today, the day for all else.
export function shortWords(date, today) {
  if (isSameDay(date, today)) return timeOf(date);
  return `${(date.getFullYear() === today.getFullYear() ? SHORT_DAY : SHORT_DAY_AND_YEAR).format(date)}, ${timeOf(date)}`;
}

// The value of an <input type="date">.
export function dayValue(date) {
  const two = (number) => String(number).padStart(2, "0");
  return `${String(date.getFullYear()).padStart(4, "0")}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

// The first moment of such a value's day where the reader is; null for what is no day.
export function dayStart(value) {
  const parts = /^(\d{4})-(\d{2})-(\d{2})$/.exec(value);
  if (!parts) return null;
  const date = new Date(Number(parts[1]), Number(parts[2]) - 1, Number(parts[3]));
  return dayValue(date) === value ? date : null;
}

// How long ago something was, in a word or two.

const STEPS = [
  ["year", 365 * 24 * 3600],
  ["month", 30 * 24 * 3600],
  ["day", 24 * 3600],
  ["hour", 3600],
  ["minute", 60],
];

// when: RFC 3339, or what Date reads. Returns "" for no time at all.
export function agoWords(when, now = Date.now()) {
  const seconds = (Date.parse(when) - now) / 1000;
  if (Number.isNaN(seconds)) return "";
  const [unit, length] = STEPS.find(([, each]) => Math.abs(seconds) >= each) ?? [];
  if (unit === undefined) return "just now";
  return new Intl.RelativeTimeFormat(undefined, { numeric: "auto" }).format(Math.trunc(seconds / length), unit);
}

// Figures as people read them.

const NONE = "–";

export function count(value) {
  return value == null ? NONE : Math.round(value).toLocaleString("en-US");
}

/** Something per second. */
export function rate(value) {
  if (value == null) return NONE;
  return value > 0 && value < 10 ? value.toFixed(1) : count(value);
}

export function duration(seconds) {
  if (seconds == null) return NONE;
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  const ms = seconds * 1000;
  return `${ms >= 10 ? ms.toFixed(0) : ms.toFixed(1)} ms`;
}

export function bytes(value) {
  if (value == null) return NONE;
  const mebibytes = value / 1048576;
  return mebibytes >= 1024 ? `${(mebibytes / 1024).toFixed(1)} GiB` : `${mebibytes.toFixed(0)} MiB`;
}

export function percent(part) {
  return part == null ? NONE : `${Math.round(part * 100)} %`;
}

/** A moment, in milliseconds since 1970 or as text of RFC 3339. */
export function time(at) {
  return new Date(at).toLocaleTimeString("en-GB");
}

export function day(at) {
  return at ? new Date(at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" }) : "never";
}

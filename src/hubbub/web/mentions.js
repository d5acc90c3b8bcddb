// Completing @names and :emoji: while a message is written: what is asked for, who fits, and what the text becomes.

// "@" or ":" after a space or at the start, and a name up to the caret; an emoji's needs two characters,
// so that ":)" and a colon in a sentence open nothing.
const QUERY = /(?:^|[\s([{>"'*_])(?:@([\p{L}\p{N}._-]{0,32})|:([a-z0-9_+-]{2,32}))$/iu;
const REACH = 40;

// {kind: "user" | "emoji", prefix, from} for what ends at the caret, or null. `from` is the place of its first sign.
export function queryAt(text, caret) {
  const found = QUERY.exec(text.slice(Math.max(0, caret - REACH), caret));
  if (!found) return null;
  const [, user, emoji] = found;
  const prefix = user ?? emoji;
  return { kind: user === undefined ? "emoji" : "user", prefix: prefix.toLowerCase(), from: caret - prefix.length - 1 };
}

// people: [{user, name}]. Those whose user name begins with the prefix, then a word of the display name, each once.
export function peopleLike(people, prefix, limit = 8) {
  const wanted = prefix.toLowerCase();
  const seen = new Set();
  const ranked = [];
  for (const { user, name = user } of people) {
    if (seen.has(user)) continue;
    const rank = user.startsWith(wanted) ? 0 : wordsOf(name).some((word) => word.startsWith(wanted)) ? 1 : 2;
    if (rank === 2) continue;
    seen.add(user);
    ranked.push({ user, name, rank });
  }
  ranked.sort((one, other) => one.rank - other.rank || (one.user < other.user ? -1 : 1));
  return ranked.slice(0, limit).map(({ user, name }) => ({ user, name }));
}

// The text with the query replaced by the word and a space, and where the caret is then.
export function replaceQuery(text, caret, from, word) {
  const rest = text.slice(caret);
  const gap = rest.startsWith(" ") ? "" : " ";
  return { text: text.slice(0, from) + word + gap + rest, caret: from + word.length + 1 };
}

function wordsOf(name) {
  return name.toLowerCase().split(/[\s._-]+/);
}

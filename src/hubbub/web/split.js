// A text that is too long for one message as several: between paragraphs where it can be, else between lines or words.

const BREAKS = ["\n\n", "\n", " "];
// A part is not cut shorter than this for the sake of a better place.
const LEAST = 0.5;

// Characters are code points, as the server counts them.
export function characters(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

// Nothing is lost but the white space at the places of the cuts.
export function splitText(text, limit) {
  const parts = [];
  let rest = text.trimEnd();
  while (rest !== "") {
    const most = lengthOf(rest, limit);
    let end = most;
    if (most < rest.length) {
      const found = BREAKS.map((each) => rest.lastIndexOf(each, most)).find((at) => at >= most * LEAST);
      if (found !== undefined) end = found;
    }
    const part = rest.slice(0, end).trimEnd();
    if (part !== "") parts.push(part);
    rest = rest.slice(end).replace(/^[ \t]*\n+|^ /, "");
    if (rest.trim() === "") break;
  }
  return parts;
}

// How long in UTF-16 units the first `limit` characters are.
function lengthOf(text, limit) {
  let length = 0;
  let count = 0;
  for (const character of text) {
    if (count === limit) break;
    count += 1;
    length += character.length;
  }
  return length;
}

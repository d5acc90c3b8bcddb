// Which rows of a long list are in the document, and how much room the others take. Lengths are in pixels.
//
// Rows that are drawn stand in the flow; above and below them are two spacers. A row that is drawn or dropped above
// what is being read takes from the upper spacer, or gives to it, exactly its height: what is read stays where it is,
// and the scroll position need not be written, which would end a smooth scroll. The spacers are only estimates, and
// are set right where they do not suffice.

export const ROW_PX = 34;
const LEAST_PX = 18;
const MOST_PX = 400;
// No more rows than these are drawn in one frame.
export const AT_ONCE = 120;
// Beyond what can be seen this much is drawn, on a high screen, too.
const MARGIN_PX = 1_000;
// Browsers lay out no more than 17 million pixels (Firefox), or 33 (Chromium).
const SPACER_PX = 6_000_000;
// Farther than this from what is loaded, the pages in between are skipped.
export const SEEK_PX = 12_000;

export const margin = (height) => Math.min(height, MARGIN_PX);

// How many rows to draw beyond the last drawn one. slack: how far drawn rows reach beyond the edge of what is seen.
export function rowsToDraw({ slack, height, average }) {
  const wanted = margin(height);
  if (slack >= wanted) return 0;
  return Math.min(AT_ONCE, Math.ceil((2 * wanted - slack) / average));
}

// Whether rows are far enough out of sight to be dropped, and how far they must be for that.
export function dropsBeyond({ slack, height }) {
  return slack > 3.5 * margin(height) ? 2.5 * margin(height) : null;
}

// The room that rows take that are not drawn.
export function spacerFor(count, average) {
  return Math.min(SPACER_PX, Math.max(0, Math.round(count * average)));
}

// The mean height of a row, of those seen lately.
export class Average {
  value = ROW_PX;

  take(pixels, rows) {
    if (rows < 10) return;
    const mean = Math.min(MOST_PX, Math.max(LEAST_PX, pixels / rows));
    this.value += (mean - this.value) * 0.2;
  }
}

// The first of `count` things for which `holds` is true, where it is false for all before it; `count` for none.
export function firstWhere(count, holds) {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

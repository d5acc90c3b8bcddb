// A small plot of one or two figures over the last hour, or the time that there is.

import { draw, make } from "./admin-dom.js";
import { time } from "./admin-units.js";

const HOUR_MS = 3_600_000;
const LEAST_MS = 300_000;
const WIDTH = 600;
const HEIGHT = 68;

// Longer without a sample, and the curve is interrupted: nobody knows what was then.
const HOLE_MS = 20_000;

/**
 * How much time a plot shows: all that there is, within bounds.
 * @param {{at: number}[]} samples
 */
export function spanOf(samples) {
  return samples.length ? Math.min(Math.max(samples.at(-1).at - samples[0].at, LEAST_MS), HOUR_MS) : LEAST_MS;
}

/**
 * Runs of points without a hole, in the drawing's coordinates.
 * @param {{at: number, value: number | null}[]} points in the order of time
 * @param {number} end of the plot, in milliseconds
 * @param {number} span of the plot, in milliseconds
 * @param {number} most the value at the top
 */
export function runsOf(points, end, span, most) {
  const runs = [];
  let last = -Infinity;
  for (const { at, value } of points) {
    if (value == null || at < end - span) continue;
    if (at - last > HOLE_MS) runs.push([]);
    last = at;
    const x = WIDTH * (1 - (end - at) / span);
    runs.at(-1).push([Math.round(x * 10) / 10, Math.round((HEIGHT - (HEIGHT * value) / most) * 10) / 10]);
  }
  return runs;
}

/** The largest value at the top of a plot: 1, 2 or 5 times a power of ten, so that it does not move all the time. */
export function roof(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.9999);
}

const lines = (runs) => runs.map((run) => `M${run.map((point) => point.join(" ")).join("L")}`).join("");
const areas = (runs) =>
  runs.map((run) => `M${run[0][0]} ${HEIGHT}L${run.map((point) => point.join(" ")).join("L")}L${run.at(-1)[0]} ${HEIGHT}Z`).join("");

/** A plot with its figure. What it shows is said in words, too: for who does not see it, and where a pointer is. */
export class Plot {
  #samples = [];
  #fields;

  /**
   * @param {string} name
   * @param {(value: number | null) => string} written how values are written
   * @param {string[]} fields of the samples: one, or two of which the second is drawn thinner
   * @param {string[]} [keys] what to call these, where there are two
   * @param {number} [least] the smallest roof, so that noise does not fill the plot
   */
  constructor(name, written, fields, keys = [], least = 0) {
    this.name = name;
    this.written = written;
    this.#fields = fields;
    this.keys = keys;
    this.least = least;
    this.now = make("span", { className: "now" });
    this.left = make("span", {});
    this.right = make("span", {});
    this.svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    const name_ = make("span", { className: "name" }, name);
    if (keys.length) name_.append(` ${keys[0]}, `, make("span", { className: "key" }, keys[1]));
    const scale = make("p", { className: "scale" }, this.left, this.right);
    this.element = make("figure", { className: "plot" }, make("figcaption", {}, name_, this.now), this.svg, scale);
    this.svg.addEventListener("pointermove", (event) => this.#point(event));
    this.svg.addEventListener("pointerleave", () => this.#show());
  }

  /** @param {Record<string, number>[]} samples */
  update(samples) {
    this.#samples = samples;
    this.#show();
  }

  #values(sample) {
    return this.#fields.map((field) => this.written(sample?.[field] ?? null)).join(" · ");
  }

  #show() {
    const samples = this.#samples;
    const newest = samples.at(-1);
    const end = newest?.at ?? 0;
    const span = spanOf(samples);
    const values = samples.flatMap((sample) => this.#fields.map((field) => sample[field] ?? 0));
    const largest = Math.max(0, ...values);
    const most = roof(Math.max(largest, this.least));
    const [first, second] = this.#fields.map((field) =>
      runsOf(samples.map((sample) => ({ at: sample.at, value: sample[field] })), end, span, most),
    );
    this.svg.replaceChildren(
      draw("path", { class: "area", d: areas(first) }),
      draw("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }),
      draw("path", { class: "curve", d: lines(first) }),
    );
    if (second) this.svg.append(draw("path", { class: "second", d: lines(second) }));
    this.now.textContent = this.#values(newest);
    this.left.textContent = `most ${this.written(largest)}`;
    this.right.textContent = samples.length ? `${time(end - span)} – ${time(end)}` : "";
    const now = this.keys.length ? `${this.keys.join(" and ")} ${this.#values(newest)}` : this.#values(newest);
    this.svg.setAttribute("aria-label", `${this.name}: now ${now}, most ${this.written(largest)}`);
  }

  /** Show the sample under the pointer. */
  #point(event) {
    const end = this.#samples.at(-1)?.at;
    if (!end) return;
    const box = this.svg.getBoundingClientRect();
    const span = spanOf(this.#samples);
    const at = end - span * (1 - (event.clientX - box.left) / box.width);
    const nearest = this.#samples.reduce((best, each) => (Math.abs(each.at - at) < Math.abs(best.at - at) ? each : best));
    this.svg.querySelector(".hand")?.remove();
    const x = WIDTH * (1 - (end - nearest.at) / span);
    this.svg.append(draw("line", { class: "hand", x1: x, x2: x, y1: 0, y2: HEIGHT }));
    this.now.textContent = this.#values(nearest);
    this.right.textContent = `at ${time(nearest.at)}`;
  }
}

// Going to a day of a room: one that is typed or picked, or one of a few near ones.

import { dayStart, dayValue } from "./dates.js";
import { openDialog } from "./dialog.js";
import { make } from "./dom.js";

const NEAR_DAYS = [0, 1, 7, 30];
const NEAR_WORDS = ["Today", "Yesterday", "A week ago", "A month ago"];

// date: the one to begin with. choose: is told the first moment of the day.
export function openDateChooser(date, choose) {
  const field = make("input", { type: "date", className: "input", value: dayValue(date), max: dayValue(new Date()), required: true });
  const label = make("label", { className: "field" }, make("span", {}, "Day"), field);
  const go = make("button", { type: "submit", className: "primary" }, "Go");
  const near = NEAR_DAYS.map((days, index) => {
    const button = make("button", { type: "button", className: "secondary" }, NEAR_WORDS[index]);
    button.addEventListener("click", () => goTo(daysAgo(days)));
    return button;
  });
  const first = make("button", { type: "button", className: "secondary" }, "The very beginning");
  first.addEventListener("click", () => goTo(new Date(0)));
  const form = make("form", { className: "dialog-body date-chooser" }, make("div", { className: "date-near" }, ...near, first), label, make("footer", { className: "dialog-foot" }, go));
  const dialog = openDialog({ title: "Go to a date" }, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const day = dayStart(field.value);
    if (day) goTo(day);
  });
  const goTo = (day) => {
    dialog.close();
    choose(day);
  };
  field.focus();
}

function daysAgo(days) {
  const now = new Date();
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() - days);
}

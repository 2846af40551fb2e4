// Numbers and times as text, and small helpers for elements. Text of tweets is only ever inserted as
// text, never as HTML.

const integers = new Intl.NumberFormat("en");
const clockTime = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });

export const byId = (id) => document.getElementById(id);
export const whole = (number) => integers.format(number);
export const clock = (at) => clockTime.format(new Date(at));
export const plural = (count, word) => `${whole(count)} ${word}${count === 1 ? "" : "s"}`;

// Formats with a minus sign instead of a hyphen, because it is as wide as the plus sign.
export function signed(number, digits = 2) {
  const [integer, fraction] = Math.abs(number).toFixed(digits).split(".");
  return `${number < 0 ? "−" : "+"}${integer.replace(/\B(?=(\d{3})+$)/g, ",")}.${fraction}`;
}

export const rateText = (rate) => (rate < 10 ? rate.toFixed(1) : whole(Math.round(rate)));
export const perSecond = (rate) => rateText(rate) + "/s";

export function age(seconds) {
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${whole(Math.round(seconds / 86400))} days`;
}

// Creates an element. Children that are strings become text.
export function element(name, attributes = {}, ...children) {
  const created = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) created.setAttribute(key, "");
    else if (value !== false && value != null) created.setAttribute(key, value);
  }
  created.append(...children);
  return created;
}

// Gives a node one child for each item, and updates each child.
export function showEach(parent, items, create, update) {
  while (parent.children.length > items.length) parent.lastChild.remove();
  items.forEach((item, index) => update(parent.children[index] ?? parent.appendChild(create()), item));
}

// Sets a text only if it differs. An equal text would cause another layout.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export const toneOf = (number) => (number > 0 ? "positive-text" : number < 0 ? "negative-text" : "");

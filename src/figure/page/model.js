// The state of each listener. An update contains only the changes.

import { view } from "./view.js";

// The listeners in the order of the server. Times are in milliseconds since 1970.
export const listeners = [];

// Returns the listener whose numbers and tweets are shown.
export const chosen = () => listeners.find(({ name }) => name === view.listener) ?? listeners[0];

const fresh = (update) => ({ generation: update.generation, lines: [], moods: { at: [], counted: [], compounds: [] }, rows: [] });

// Keeps the first `keep` values of a list and appends others.
function splice(list, keep, values) {
  list.length = Math.min(keep, list.length);
  for (const value of values) list.push(value);
}

// Merges an update. The rows of new tweets wait in `rows` for the table.
export function merge({ listeners: updates }) {
  listeners.length = Math.min(listeners.length, updates.length);
  updates.forEach((update, index) => {
    let listener = listeners[index];
    if (listener?.generation !== update.generation) listener = listeners[index] = fresh(update);
    const { lines, moods, latest, ...numbers } = update;
    Object.assign(listener, numbers);
    lines.forEach((line, number) => {
      const known = (listener.lines[number] ??= { x: [], y: [] });
      known.name = line.name;
      known.counted = line.counted;
      splice(known.x, line.keep, line.x);
      splice(known.y, line.keep, line.y);
    });
    for (const list of ["at", "counted", "compounds"]) splice(listener.moods[list], moods.keep, moods[list]);
    const known = listener.rows.at(-1)?.number ?? 0;
    const numbered = latest.map((tweet, index) => ({ ...tweet, number: update.counted - latest.length + index + 1 }));
    listener.rows = [...listener.rows, ...numbered.filter(({ number }) => number > known)].slice(-20);
  });
}

// The page follows the latest time of this many of the newest points of a line. A clock may go back, and a
// single tweet may have any time before now.
const NEWEST = 16;

// Returns the earliest and the latest time of all points, and the time of the newest points. Tweets are not
// always in the order of their times.
export function timeRange() {
  let [first, last, newest] = [Infinity, -Infinity, -Infinity];
  for (const { lines } of listeners) {
    const times = lines[0]?.x ?? [];
    for (const at of times) {
      first = Math.min(first, at);
      last = Math.max(last, at);
    }
    newest = Math.max(newest, ...times.slice(-NEWEST));
  }
  return { first, last, newest };
}

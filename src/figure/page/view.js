// The view that the reader has chosen. It is stored in the fragment of the address, so a link to the page is a
// link to the view.

const FOLLOW = { all: Infinity, "5": 300_000, "1": 60_000 };

// `range` is set while the reader looks at a fixed stretch of time; otherwise the page follows the
// newest tweets. A stretch is selected between `selection[0]` and `selection[1]`.
export const view = { chart: "sum", follow: "all", range: null, listener: null, hidden: new Set(), selection: null };
const observers = [];

// Calls `observer` after each change.
export function onChange(observer) {
  observers.push(observer);
}

export function change(values) {
  Object.assign(view, values);
  history.replaceState(null, "", "#" + toFragment());
  for (const observer of observers) observer();
}

// How much time the page follows, in milliseconds.
export const followed = () => FOLLOW[view.follow];

function toFragment() {
  const parts = new URLSearchParams();
  if (view.chart !== "sum") parts.set("chart", view.chart);
  if (view.follow !== "all") parts.set("follow", view.follow);
  if (view.range) parts.set("range", view.range.map(Math.round).join(","));
  if (view.listener) parts.set("listener", view.listener);
  if (view.selection) parts.set("selection", view.selection.map(Math.round).join(","));
  for (const name of view.hidden) parts.append("hidden", name);
  return parts.toString();
}

const times = (text) => {
  const pair = (text ?? "").split(",").map(Number);
  return pair.length === 2 && pair.every(Number.isSafeInteger) && pair[0] <= pair[1] ? pair : null;
};

// Reads the fragment. Malformed parts are ignored.
export function readFragment() {
  const parts = new URLSearchParams(location.hash.slice(1));
  Object.assign(view, {
    chart: parts.get("chart") === "mood" ? "mood" : "sum",
    follow: Object.hasOwn(FOLLOW, parts.get("follow")) ? parts.get("follow") : "all",
    range: times(parts.get("range")),
    listener: parts.get("listener")?.slice(0, 40) ?? null,
    selection: times(parts.get("selection")),
    hidden: new Set(parts.getAll("hidden").slice(0, 100)),
  });
}

// The pointer and the keyboard on the chart. Dragging selects a stretch, a click asks for a tweet, and
// the arrow keys move a cursor, which widens the selection while shift is held.

import { drawn, onDraw, timeAt, xOf, yOf } from "./chart.js";
import { byId, clock, setText, signed } from "./format.js";
import { timeRange } from "./model.js";
import { showPoint } from "./panel.js";
import { change, view } from "./view.js";

// If the pointer moves less than this, it is a click.
const CLICK_PX = 5;
// The arrow keys move the cursor by this part of the time in view.
const STEP = 1 / 100;
export const ZOOM = 1.5;
const MIN_SPAN = 1000;

const utc = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23", timeZone: "UTC" });

// The time under the keyboard's cursor, the time at which the selection by keyboard began, and the drag.
let cursor = null;
let anchor = null;
let drag = null;
let hovered = null;

const figure = byId("figure");

// Returns the point of a line that is nearest to a place in the figure.
function nearest(px, py) {
  let best = null;
  for (const series of drawn.series) {
    for (let index = 0; index < series.x.length; index++) {
      const [at, value] = [series.x[index], series.y[index]];
      if (at < drawn.from || at > drawn.to) continue;
      const distance = Math.hypot(xOf(at) - px, py === null ? 0 : 0.5 * (yOf(drawn.axes[series.axis], value) - py));
      if (!best || distance < best.distance) best = { series, at, value, distance };
    }
  }
  return best;
}

const describe = ({ series, at, value }) => `${clock(at)} (${utc.format(at)} UTC) · ${series.name} ${signed(value)}`;

// Puts an element over the plot, as high as the plot.
function put(node, x) {
  node.style.transform = `translate(${x}px, ${drawn.box.top}px)`;
  node.style.height = `${drawn.bottom - drawn.box.top}px`;
}

function showCursor() {
  const time = drag ? null : cursor;
  const line = byId("cursor");
  line.hidden = time === null || time < drawn.from || time > drawn.to;
  if (!line.hidden) put(line, xOf(time));
  const [from, to] = (drag?.moved ? [drag.time, drag.now].sort((a, b) => a - b) : view.selection) ?? [0, 0];
  const band = byId("band");
  const [left, right] = [Math.max(xOf(from), drawn.box.left), Math.min(xOf(to), drawn.box.left + drawn.box.width)];
  band.hidden = to === from || right < left;
  if (!band.hidden) {
    put(band, left);
    band.style.width = `${right - left}px`;
  }
  showReadout();
}

function showReadout() {
  const readout = byId("readout");
  const point = hovered && !drag?.moved ? nearest(hovered.x, hovered.y) : cursor !== null ? nearest(xOf(cursor), null) : null;
  readout.hidden = !point;
  if (!point) return;
  setText(readout, describe(point));
  const room = figure.clientWidth - readout.offsetWidth - 4;
  const y = yOf(drawn.axes[point.series.axis], point.value);
  readout.style.transform = `translate(${Math.max(4, Math.min(xOf(point.at) + 8, room))}px, ${Math.max(0, y - readout.offsetHeight - 8)}px)`;
}

function place(event) {
  const { left, top } = figure.getBoundingClientRect();
  return { x: event.clientX - left, y: event.clientY - top };
}

const clampTime = (time) => Math.min(Math.max(time, drawn.from), drawn.to);

function followPointer() {
  figure.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const { x, y } = place(event);
    const time = clampTime(timeAt(x));
    drag = { x, y, time, now: time, moved: false };
    figure.setPointerCapture(event.pointerId);
  });
  figure.addEventListener("pointermove", (event) => {
    hovered = place(event);
    if (drag) {
      drag.now = clampTime(timeAt(hovered.x));
      drag.moved ||= Math.abs(hovered.x - drag.x) > CLICK_PX;
    }
    showCursor();
  });
  figure.addEventListener("pointerup", () => {
    const done = drag;
    drag = null;
    if (!done) return;
    if (done.moved) select(done.time, done.now);
    else click(done);
  });
  for (const end of ["pointercancel", "pointerleave"]) {
    figure.addEventListener(end, () => {
      drag = hovered = null;
      showCursor();
    });
  }
  figure.addEventListener("dblclick", () => change({ range: null }));
  figure.addEventListener("wheel", (event) => {
    // Without the control key, the wheel scrolls the page.
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1 / ZOOM : ZOOM, timeAt(place(event).x));
  }, { passive: false });
}

function select(from, to) {
  change({ selection: [Math.round(Math.min(from, to)), Math.round(Math.max(from, to))] });
}

function click({ x, y }) {
  const point = nearest(x, y);
  if (point && view.chart === "sum") showPoint(point);
}

export function zoom(factor, around = cursor ?? (drawn.from + drawn.to) / 2) {
  const { first, last } = timeRange();
  const span = Math.max(MIN_SPAN, factor * (drawn.to - drawn.from));
  if (factor > 1 && span >= last - first) return change({ range: null, follow: "all" });
  const share = (clampTime(around) - drawn.from) / (drawn.to - drawn.from);
  const from = Math.round(around - share * span);
  change({ range: [from, Math.round(from + span)] });
}

export function zoomTo([from, to]) {
  const more = Math.max(0, MIN_SPAN - (to - from)) / 2;
  change({ range: [Math.round(from - more), Math.round(to + more)] });
}

// Freezes the current view, or returns to the newest tweets.
export function togglePause() {
  change({ range: view.range ? null : [Math.round(drawn.from), Math.round(drawn.to)] });
}

export function unselect() {
  cursor = anchor = null;
  figure.removeAttribute("aria-valuetext");
  change({ selection: null });
}

function moveTo(time, widen) {
  const before = cursor ?? drawn.to;
  cursor = clampTime(time);
  anchor = widen ? (anchor ?? before) : null;
  if (widen) select(anchor, cursor);
  const point = nearest(xOf(cursor), null);
  figure.setAttribute("aria-valuenow", String(Math.round((100 * (cursor - drawn.from)) / (drawn.to - drawn.from))));
  if (point) figure.setAttribute("aria-valuetext", describe(point));
  showCursor();
}

function followKeys() {
  figure.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const step = (drawn.to - drawn.from) * STEP;
    const at = cursor ?? drawn.to;
    const moves = {
      ArrowLeft: at - step, ArrowRight: at + step, PageUp: at - 10 * step, PageDown: at + 10 * step,
      Home: drawn.from, End: drawn.to,
    };
    if (Object.hasOwn(moves, event.key)) moveTo(moves[event.key], event.shiftKey);
    else if (event.key === "Enter" && cursor !== null) click({ x: xOf(cursor), y: null });
    else return;
    event.preventDefault();
  });
}

export function startGestures() {
  followPointer();
  followKeys();
  onDraw(showCursor);
}

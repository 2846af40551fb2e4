// The chart: draws the lines of the listeners with Plotly, and their names at the ends of the lines.
//
// Plotly only draws. This module computes the ranges of both axes, so it knows the position of each time and
// value, and the pointer and the keyboard (gestures.js) work while the lines move.

import { byId, element, setText, showEach } from "./format.js";
import { listeners, timeRange } from "./model.js";
import { followed, view } from "./view.js";

// Shorter than the time between two events, so each event is drawn before the next one.
const REDRAW_MS = 25;
// A reader who prefers reduced motion sees a new picture at this interval.
const CALM_MS = 1000;
// The markers of long lines take a third of the drawing time.
const MAX_MARKERS = 150;
const BARS = 40;
const DASHES = ["solid", "dash", "dot", "dashdot"];
// Listeners whose values differ by more than this factor have their own axes.
const SAME_SCALE = 10;
// The usual font size of the page, in pixels. Lines are wider with a larger font.
const REM = 16;
// The width of an axis on the right, relative to the font size.
const AXIS = 4;
// The moving window of the mood is this part of the time in view, but at least a second.
const WINDOW = 1 / 20;

// The last drawing: the times at both edges; the position of the lines' plot in the figure and the lower edge
// of all plots, in pixels; the lines, each with its points in view; and their axes.
export const drawn = { from: 0, to: 1, box: { left: 0, top: 0, width: 1, height: 1 }, bottom: 1, series: [], axes: [] };

const calm = matchMedia("(prefers-reduced-motion: reduce)");
let template = null;
let dirty = true;
let last = -Infinity;
const afterDraw = [];

// Calls `observer` after each drawing.
export function onDraw(observer) {
  afterDraw.push(observer);
}

// Requests a drawing in one of the next frames.
export function invalidate() {
  dirty = true;
}

export const xOf = (time) => drawn.box.left + (drawn.box.width * (time - drawn.from)) / (drawn.to - drawn.from);
export const timeAt = (x) => drawn.from + ((drawn.to - drawn.from) * (x - drawn.box.left)) / drawn.box.width;
export const yOf = ({ bottom, top }, value) => drawn.box.top + (drawn.box.height * (top - value)) / (top - bottom);

// Plotly shows each time in UTC, so each time is shifted by the reader's time zone.
const localShift = (at) => -60_000 * new Date(at).getTimezoneOffset();

// Returns the names and looks of all lines, including hidden ones.
export function allSeries() {
  const several = listeners.length > 1;
  return listeners.flatMap((listener, index) => {
    const lines = view.chart === "mood" ? [{ name: several ? listener.name : "mean compound" }] : listener.lines;
    return lines.map((line, number) => ({
      listener,
      number,
      key: view.chart === "mood" ? listener.name : `${listener.name}/${line.name}`,
      short: line.name,
      name: several && view.chart === "sum" ? `${listener.name}: ${line.name}` : line.name,
      look: look(view.chart === "mood" ? index : number),
      dash: DASHES[index % DASHES.length],
    }));
  });
}

function look(number) {
  const looks = template.data;
  return looks[number < looks.length ? number : 1 + ((number - 1) % (looks.length - 1))];
}

function edges() {
  if (view.range) return view.range;
  const { first, last, newest } = timeRange();
  if (last < first) return [Date.now() - 60_000, Date.now()];
  if (Number.isFinite(followed())) return [newest - followed(), newest];
  return last > first ? [first, last] : [last - 500, last + 500];
}

// Returns the points between two times, and one more on each side: the line must reach the edges.
function between({ x, y }, from, to) {
  const before = x.findIndex((at) => at >= from);
  const inside = before < 0 ? x.length : before;
  const [first, end] = [Math.max(0, inside - 1), Math.max(inside, x.findLastIndex((at) => at <= to) + 1) + 1];
  return { x: x.slice(first, end), y: y.slice(first, end) };
}

// Returns the mean compound in a window that moves over the segments of a listener.
function mood({ at, counted, compounds }, span) {
  const window = Math.max(1000, span * WINDOW);
  const y = [];
  let [first, tweets, sum] = [0, 0, 0];
  at.forEach((end, index) => {
    tweets += counted[index];
    sum += compounds[index];
    for (; first < index && at[first] <= end - window; first++) {
      tweets -= counted[first];
      sum -= compounds[first];
    }
    y.push(sum / tweets);
  });
  return { x: at, y };
}

// Returns the number of tweets in each of the bars. The tweets of a segment are spread over its time.
function bars({ at, counted }, from, to) {
  const width = (to - from) / BARS;
  const heights = new Array(BARS).fill(0);
  at.forEach((end, index) => {
    const start = Math.min(index > 0 ? at[index - 1] : end, end);
    const length = Math.max(1, end - start);
    const firstBar = Math.max(0, Math.floor((start - from) / width));
    const lastBar = Math.min(BARS - 1, Math.floor((end - from) / width));
    for (let bar = firstBar; bar <= lastBar; bar++) {
      const left = Math.max(start, from + bar * width);
      const right = Math.min(start + length, from + (bar + 1) * width);
      heights[bar] += (counted[index] * Math.max(0, right - left)) / length;
    }
  });
  return heights;
}

const largest = ({ bottom, top }) => Math.max(-bottom, top);

// Returns the axes. Listeners whose largest values are similar share an axis.
function scales(series) {
  if (view.chart === "mood") return [{ listeners, bottom: -1, top: 1 }];
  const ranges = listeners.map((listener) => {
    const values = series.filter((line) => line.listener === listener).flatMap(({ y }) => y);
    return { listeners: [listener], bottom: Math.min(...values), top: Math.max(...values) };
  }).filter(({ bottom, top }) => bottom <= top).sort((a, b) => largest(b) - largest(a));
  const axes = [];
  for (const range of ranges) {
    const axis = axes.at(-1);
    if (axis && SAME_SCALE * largest(range) >= largest(axis)) {
      axis.listeners.push(...range.listeners);
      axis.bottom = Math.min(axis.bottom, range.bottom);
      axis.top = Math.max(axis.top, range.top);
    } else axes.push(range);
  }
  if (!axes.length) return [{ listeners, bottom: -1, top: 1 }];
  return axes.map(({ listeners, bottom, top }) => {
    const margin = top > bottom ? 0.05 * (top - bottom) : 1;
    return { listeners, bottom: bottom - margin, top: top + margin };
  });
}

// Returns the lines that are in view, and the axes.
function visible(from, to) {
  const series = allSeries().filter(({ key }) => !view.hidden.has(key)).map((line) => {
    const points = view.chart === "mood" ? mood(line.listener.moods, to - from) : line.listener.lines[line.number];
    return { ...line, ...between(points, from, to) };
  });
  const axes = scales(series);
  for (const line of series) line.axis = axes.findIndex((axis) => axis.listeners.includes(line.listener));
  return { series, axes };
}

function lineTrace({ name, look, dash, x, y, axis }, mode, shift, scale) {
  return {
    ...look,
    name,
    mode,
    line: { ...look.line, dash, width: scale * look.line.width },
    x: x.map((at) => at + shift),
    y,
    yaxis: axis > 0 ? "y" + (axis + 1) : "y",
  };
}

function barTrace({ listener, look }, from, to, shift) {
  const y = bars(listener.moods, from, to);
  const x = y.map((_, bar) => from + ((bar + 0.5) * (to - from)) / BARS + shift);
  return { type: "bar", x, y, marker: { color: look.line.color }, yaxis: "y9", opacity: 0.8, showlegend: false };
}

// Returns a vertical line for each streamer that has ended.
const ends = (shift, { color, size }) => listeners.filter(({ streamer }) => streamer?.ended && streamer.newest).map(({ streamer }) => ({
  type: "line", xref: "x", yref: "paper", y0: 0, y1: 1, x0: Date.parse(streamer.newest) + shift, x1: Date.parse(streamer.newest) + shift,
  line: { width: 2, dash: "dash", color },
  label: { text: "end of the stream", textangle: -90, textposition: "middle", font: { size: 0.85 * size } },
}));

const isNarrow = (width) => width < 600;
// In a narrow chart, only the dashes distinguish the listeners.
const endName = ({ short, name }, width) => (isNarrow(width) ? short : name);

// Returns the data and the layout for Plotly, the times, the lines, the axes, and the width of the names of the
// lines. The names are at the right edge, beside the axes of other listeners.
export function picture(width, height) {
  const [from, to] = edges();
  const { series, axes } = visible(from, to);
  const size = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const ink = getComputedStyle(document.body).color;
  const narrow = isNarrow(width);
  const shift = localShift(to);
  const layout = structuredClone(template.layout);
  Object.assign(layout.font, { size: 0.9 * size, color: ink });
  const name = Math.max(0, ...series.map((line) => endName(line, width).length));
  const room = Math.min(0.58 * size * name + 1.5 * size, (narrow ? 0.24 : 0.2) * width);
  const axisWidth = AXIS * size;
  layout.margin = { l: (narrow ? 3 : 4.2) * size, r: room + axisWidth * (axes.length - 1), t: 0.6 * size, b: 3.2 * size, autoexpand: false };
  Object.assign(layout, { width, height, showlegend: false, shapes: ends(shift, layout.font), hovermode: false });
  // To hide labels at the edge, Plotly would measure all of them, which takes two fifths of the drawing time.
  Object.assign(layout.xaxis, { range: [from + shift, to + shift], ticklabeloverflow: "allow", nticks: narrow ? 4 : 8 });
  const title = view.range ? "local time (paused)" : "local time";
  layout.xaxis.title = narrow ? undefined : { text: title };
  const mode = series.some(({ x }) => x.length > MAX_MARKERS) ? "lines" : "lines+markers";
  const data = series.map((line) => lineTrace(line, mode, shift, size / REM));
  const yaxis = layout.yaxis;
  axes.forEach(({ listeners, bottom, top }, index) => {
    const axis = { ...yaxis, range: [bottom, top], ticklabeloverflow: "allow" };
    if (index > 0) {
      const title = { text: listeners.map(({ name }) => name).join(", ") };
      Object.assign(axis, { overlaying: "y", side: "right", anchor: "free", position: 1, shift: axisWidth * (index - 1), showgrid: false, zeroline: false, title });
    }
    if (narrow) delete axis.title;
    layout[index > 0 ? `yaxis${index + 1}` : "yaxis"] = axis;
  });
  if (view.chart === "mood") {
    layout.yaxis.domain = [0.32, 1];
    if (!narrow) layout.yaxis.title = { text: "mean compound" };
    layout.yaxis9 = { ...yaxis, domain: [0, 0.24], title: narrow ? undefined : { text: "tweets" }, rangemode: "tozero", nticks: 3, anchor: "x" };
    layout.xaxis.anchor = "y9";
    layout.barmode = "group";
    layout.bargap = 0.1;
    data.push(...series.map((line) => barTrace(line, from, to, shift)));
  }
  return { data, layout, from, to, series, axes, room };
}

function draw(now) {
  last = now;
  dirty = false;
  const plot = byId("plot");
  const { clientWidth: width, clientHeight: height } = byId("figure");
  const { data, layout, from, to, series, axes, room } = picture(width, height);
  layout.datarevision = now;
  Plotly.react(plot, data, layout, { staticPlot: true, displayModeBar: false });
  const { l, r, t, b } = layout.margin;
  const upper = view.chart === "mood" ? 0.68 : 1;
  Object.assign(drawn, { from, to, series, axes, box: { left: l, top: t, width: width - l - r, height: upper * (height - t - b) }, bottom: height - b });
  nameLines(width, room);
  for (const observer of afterDraw) observer();
}

// Writes the name of each line at its end, in the right margin. Names that would overlap move apart.
function nameLines(width, room) {
  const place = byId("names");
  const height = 1.15 * parseFloat(getComputedStyle(place).fontSize);
  const { box, axes, series } = drawn;
  const fitting = Math.floor(box.height / height);
  const labelled = series.filter(({ y }) => y.length).map((line) => ({ line, at: yOf(axes[line.axis], line.y.at(-1)) }));
  const names = labelled.toSorted((a, b) => a.line.number - b.line.number).slice(0, fitting).sort((a, b) => a.at - b.at);
  let free = box.top;
  for (const name of names) {
    name.at = Math.max(name.at - height / 2, free);
    free = name.at + height;
  }
  let floor = box.top + box.height;
  for (const name of names.toReversed()) {
    name.at = Math.min(name.at, floor - height);
    floor = name.at;
  }
  showEach(place, names, () => element("span"), (label, { line, at }) => {
    setText(label, endName(line, width));
    label.style.transform = `translate(${width - room + 6}px, ${at.toFixed(1)}px)`;
    label.style.maxWidth = `${room - 8}px`;
    label.style.borderColor = line.look.line.color;
  });
}

function frame(now) {
  if (dirty && now - last >= (calm.matches ? CALM_MS : REDRAW_MS)) draw(now);
  requestAnimationFrame(frame);
}

// Starts drawing.
export async function startChart() {
  template = await (await fetch("figure.json")).json();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", invalidate);
  new ResizeObserver(invalidate).observe(byId("figure"));
  draw(performance.now());
  requestAnimationFrame(frame);
}

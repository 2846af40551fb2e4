// The chart: draws the lines of the listeners with Plotly, and their names at the ends of the lines.
//
// Plotly only draws. The ranges of both axes are computed here, so a time or a value has a known place in
// the picture, and the pointer and the keyboard (gestures.js) work while the lines move.

import { byId, element, setText } from "./format.js";
import { listeners, timeRange } from "./model.js";
import { followed, view } from "./view.js";

// Shorter than the time between two events, so that each event is drawn before the next one.
const REDRAW_MS = 25;
// A reader who prefers reduced motion sees a new picture at this interval.
const CALM_MS = 1000;
// The markers of long lines take a third of the drawing time.
const MAX_MARKERS = 150;
const BARS = 40;
const DASHES = ["solid", "dash", "dot", "dashdot"];
// Listeners whose values differ by more have an axis of their own.
const SAME_SCALE = 10;
// The usual size of the page's letters, in pixels. Lines grow with larger ones.
const REM = 16;
// The width of an axis on the right, in letters' sizes.
const AXIS = 4;
// The moving window of the mood is this part of the time in view, but at least a second.
const WINDOW = 1 / 20;

// What was drawn last: the times at both edges, the place of the plot of the lines in the figure and the lower
// edge of all plots in pixels, and the lines, each with its points in view, with their axes.
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

// The chart is drawn again in one of the next frames.
export function invalidate() {
  dirty = true;
}

export const xOf = (time) => drawn.box.left + (drawn.box.width * (time - drawn.from)) / (drawn.to - drawn.from);
export const timeAt = (x) => drawn.from + ((drawn.to - drawn.from) * (x - drawn.box.left)) / drawn.box.width;
export const yOf = ({ bottom, top }, value) => drawn.box.top + (drawn.box.height * (top - value)) / (top - bottom);

// Plotly shows each number as a time in UTC, so it gets a time that is shifted by the reader's zone.
const localShift = (at) => -60_000 * new Date(at).getTimezoneOffset();

// Returns the names of all lines with their looks, also of those that are hidden.
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

// Returns the points between two times, and one more on each side, so that the line reaches the edges.
function between({ x, y }, from, to) {
  let first = 0;
  while (first < x.length && x[first] < from) first++;
  let end = x.length;
  while (end > first && x[end - 1] > to) end--;
  first = Math.max(0, first - 1);
  return { x: x.slice(first, end + 1), y: y.slice(first, end + 1) };
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

// Returns the axes: each has the listeners whose largest values are alike.
function scales(series) {
  if (view.chart === "mood") return [{ listeners: new Set(listeners), bottom: -1, top: 1 }];
  const size = new Map();
  for (const { listener, y } of series) {
    size.set(listener, y.reduce((most, value) => Math.max(most, Math.abs(value)), size.get(listener) ?? 0));
  }
  const found = [];
  for (const [listener, most] of [...size].sort((a, b) => b[1] - a[1])) {
    const scale = found.at(-1);
    if (scale && most * SAME_SCALE >= scale.most) scale.listeners.add(listener);
    else found.push({ most, listeners: new Set([listener]) });
  }
  for (const scale of found) {
    let [bottom, top] = [Infinity, -Infinity];
    for (const { listener, y } of series) {
      if (!scale.listeners.has(listener)) continue;
      for (const value of y) {
        bottom = Math.min(bottom, value);
        top = Math.max(top, value);
      }
    }
    const margin = top > bottom ? 0.05 * (top - bottom) : 1;
    Object.assign(scale, { bottom: bottom - margin, top: top + margin });
  }
  return found.length ? found : [{ listeners: new Set(), bottom: -1, top: 1 }];
}

// Returns the lines that are in view, and the axes.
function visible(from, to) {
  const series = allSeries().filter(({ key }) => !view.hidden.has(key)).map((one) => {
    const points = view.chart === "mood" ? mood(one.listener.moods, to - from) : one.listener.lines[one.number];
    return { ...one, ...between(points, from, to) };
  });
  const axes = scales(series);
  for (const one of series) one.axis = axes.findIndex((axis) => axis.listeners.has(one.listener));
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

const barTrace = ({ listener, look }, from, to, shift) => {
  const width = (to - from) / BARS;
  const y = bars(listener.moods, from, to);
  return { type: "bar", x: y.map((_, bar) => from + (bar + 0.5) * width + shift), y, marker: { color: look.line.color }, yaxis: "y9", opacity: 0.8, showlegend: false };
};

// Returns vertical lines where streamers have ended.
const ends = (shift, { color, size }) => listeners.filter(({ streamer }) => streamer?.ended && streamer.newest).map(({ streamer }) => ({
  type: "line", xref: "x", yref: "paper", y0: 0, y1: 1, x0: Date.parse(streamer.newest) + shift, x1: Date.parse(streamer.newest) + shift,
  line: { width: 2, dash: "dash", color },
  label: { text: "end of the stream", textangle: -90, textposition: "middle", font: { size: 0.85 * size } },
}));

const isNarrow = (width) => width < 600;
// In a narrow chart, the dashes alone tell the listeners apart.
const endName = ({ short, name }, width) => (isNarrow(width) ? short : name);

// Returns the data and the layout for Plotly; and the times, the lines and the axes, how much room the names of
// the lines have, and the width of the axes on the right, between the lines and their names.
export function picture(width, height) {
  const [from, to] = edges();
  const { series, axes } = visible(from, to);
  const root = getComputedStyle(document.documentElement);
  const size = parseFloat(root.fontSize);
  const ink = root.getPropertyValue("--ink").trim();
  const narrow = isNarrow(width);
  const shift = localShift(to);
  const layout = structuredClone(template.layout);
  Object.assign(layout.font, { size: 0.9 * size, color: ink });
  const name = Math.max(0, ...series.map((one) => endName(one, width).length));
  const room = Math.min(0.58 * size * name + 1.5 * size, (narrow ? 0.24 : 0.2) * width);
  const axis = AXIS * size;
  const rightAxes = axis * (axes.length - 1);
  layout.margin = { l: (narrow ? 3 : 4.2) * size, r: room + rightAxes, t: 0.6 * size, b: 3.2 * size, autoexpand: false };
  Object.assign(layout, { width, height, showlegend: false, shapes: ends(shift, layout.font), hovermode: false });
  // To hide labels at the edge, Plotly would measure all of them: two fifths of the drawing time.
  Object.assign(layout.xaxis, { range: [from + shift, to + shift], ticklabeloverflow: "allow", nticks: narrow ? 4 : 8 });
  const title = view.range ? "local time (paused)" : "local time";
  layout.xaxis.title = narrow ? undefined : { text: title };
  const mode = series.some(({ x }) => x.length > MAX_MARKERS) ? "lines" : "lines+markers";
  const data = series.map((one) => lineTrace(one, mode, shift, size / REM));
  const yaxis = layout.yaxis;
  axes.forEach(({ bottom, top }, index) => {
    const one = { ...yaxis, range: [bottom, top], ticklabeloverflow: "allow" };
    if (narrow) delete one.title;
    if (index > 0) {
      const title = narrow ? undefined : { text: [...axes[index].listeners].map((listener) => listener.name).join(", ") };
      Object.assign(one, { overlaying: "y", side: "right", anchor: "free", position: 1, shift: axis * (index - 1), showgrid: false, zeroline: false, title });
    }
    layout[index > 0 ? `yaxis${index + 1}` : "yaxis"] = one;
  });
  if (view.chart === "mood") {
    layout.yaxis.domain = [0.32, 1];
    if (!narrow) layout.yaxis.title = { text: "mean compound" };
    layout.yaxis9 = { ...yaxis, domain: [0, 0.24], title: narrow ? undefined : { text: "tweets" }, rangemode: "tozero", nticks: 3, anchor: "x" };
    layout.xaxis.anchor = "y9";
    layout.barmode = "group";
    layout.bargap = 0.1;
    data.push(...series.map((one) => barTrace(one, from, to, shift)));
  }
  return { data, layout, from, to, series, axes, room, rightAxes };
}

function draw(now) {
  last = now;
  dirty = false;
  const plot = byId("plot");
  const { clientWidth: width, clientHeight: height } = byId("figure");
  const { data, layout, from, to, series, axes, room, rightAxes } = picture(width, height);
  layout.datarevision = now;
  Plotly.react(plot, data, layout, { staticPlot: true, displayModeBar: false });
  const { l, r, t, b } = layout.margin;
  const upper = view.chart === "mood" ? 0.68 : 1;
  Object.assign(drawn, { from, to, series, axes, box: { left: l, top: t, width: width - l - r, height: upper * (height - t - b) }, bottom: height - b });
  nameLines(width, l + drawn.box.width + rightAxes + 6, room - 8);
  for (const observer of afterDraw) observer();
}

// Writes the name of each line at its end, from `left` on. Names that would cover each other move apart.
function nameLines(width, left, room) {
  const place = byId("names");
  const height = 1.15 * parseFloat(getComputedStyle(place).fontSize);
  const { box, axes, series } = drawn;
  let names = series.filter(({ y }) => y.length).map((one) => ({ one, at: yOf(axes[one.axis], one.y.at(-1)) }));
  const fitting = Math.floor(box.height / height);
  if (names.length > fitting) names = names.sort((a, b) => a.one.number - b.one.number).slice(0, fitting);
  names.sort((a, b) => a.at - b.at);
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
  while (place.children.length > names.length) place.lastChild.remove();
  names.forEach(({ one, at }, index) => {
    const label = place.children[index] ?? place.appendChild(element("span"));
    setText(label, endName(one, width));
    label.style.transform = `translate(${left}px, ${at.toFixed(1)}px)`;
    label.style.maxWidth = `${room}px`;
    label.style.borderColor = one.look.line.color;
  });
}

function frame(now) {
  if (dirty && now - last >= (calm.matches ? CALM_MS : REDRAW_MS)) draw(now);
  requestAnimationFrame(frame);
}

// Draws from now on.
export async function startChart() {
  template = await (await fetch("figure.json")).json();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", invalidate);
  new ResizeObserver(invalidate).observe(byId("figure"));
  draw(performance.now());
  requestAnimationFrame(frame);
}

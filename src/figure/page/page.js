// Follows the listener by one stream of events. Each event contains what is new. The text of a tweet
// is inserted as text only, never as HTML.
"use strict";

const byId = (id) => document.getElementById(id);
const figure = byId("figure");
const ROWS = 20;
// Shorter than the time between two events, so that each event is drawn before the next one.
const REDRAW_MS = 25;
const TABLE_MS = 400;

let template = null;
let layout = null;
let generation = null;
let lines = [];
let newest = 0;
let waitingRows = [];
let dirty = false;
let drawn = 0;
let streamer = null;

const whole = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en", { timeStyle: "medium", hourCycle: "h23" });
const signed = (number, digits) =>
  (number < 0 ? "−" : "+") + Math.abs(number).toFixed(digits).replace(/\B(?=(\d{3})+(?!\d))/g, ",");

function ink() {
  return getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
}

function trace(line, index) {
  const traces = template.data;
  const look = traces[index < traces.length ? index : 1 + ((index - 1) % (traces.length - 1))];
  // The markers of a long line take a third of the drawing time.
  const mode = line.x.length > 150 ? "lines" : look.mode;
  return { ...look, mode, name: line.name, x: line.x, y: line.y, hovertext: line.text };
}

// Creates the layout. It is created again only for another run, size or colour scheme, because Plotly
// stores the user's zoom in it.
function makeLayout() {
  layout = structuredClone(template.layout);
  layout.font.color = ink();
  layout.uirevision = generation;
  layout.autosize = true;
  layout.modebar = { bgcolor: "rgba(0,0,0,0)" };
  // To hide labels at the edge, Plotly would measure all of them: two fifths of the drawing time.
  layout.xaxis.ticklabeloverflow = layout.yaxis.ticklabeloverflow = "allow";
  if (figure.clientWidth < 600) {
    Object.assign(layout.margin, { l: 42, r: 30 });
    layout.xaxis.nticks = 4;
    delete layout.yaxis.title;
  }
}

// Draws the lines. `datarevision` tells Plotly that the arrays have changed.
function draw(now) {
  drawn = now;
  dirty = false;
  if (layout === null) makeLayout();
  layout.datarevision = now;
  Plotly.react(figure, lines.map(trace), layout, { responsive: true, displaylogo: false });
}

function frame(now) {
  if (dirty && template && now - drawn >= REDRAW_MS) draw(now);
  requestAnimationFrame(frame);
}

function merge(update) {
  if (generation !== update.generation) {
    generation = update.generation;
    layout = null;
    lines = [];
    newest = 0;
    waitingRows = [];
    byId("latest").replaceChildren();
  }
  update.lines.forEach((fresh, index) => {
    const line = (lines[index] ??= { x: [], y: [], text: [] });
    line.name = fresh.name;
    for (const axis of ["x", "y", "text"]) {
      line[axis].length = Math.min(fresh.keep, line[axis].length);
      line[axis].push(...fresh[axis]);
    }
  });
  dirty = true;
}

function showNumbers(update) {
  byId("sum").textContent = signed(update.sum, 2);
  byId("counted").textContent = whole.format(update.counted);
  byId("rate").textContent = update.rate < 10 ? update.rate.toFixed(1) : whole.format(Math.round(update.rate));
  const total = Math.max(1, update.polarities.reduce((a, b) => a + b, 0));
  const percent = update.polarities.map((count) => Math.round((100 * count) / total));
  [...byId("polarities").children].forEach((part, index) => {
    part.style.flexGrow = update.polarities[index];
    part.textContent = percent[index] >= 8 ? percent[index] + " %" : "";
  });
  const description = `${percent[0]} % positive, ${percent[1]} % neutral, ${percent[2]} % negative`;
  byId("polarities").setAttribute("aria-label", description);
  byId("description").textContent = update.lines
    .map((line, index) => `${line.name}: ${signed(lines[index].y.at(-1) ?? 0, 2)} from ${line.counted} tweets`)
    .join("; ");
  showUncounted(update.uncounted);
}

function showUncounted({ skipped, duplicate, missed, earlier_runs }) {
  const reasons = Object.entries(skipped).map(([reason, count]) => [count, reason.replaceAll("_", " ")]);
  reasons.push([duplicate, "duplicates"], [missed, "removed by retention before they were read"], [earlier_runs, "of earlier runs"]);
  const shown = reasons.filter(([count]) => count > 0).map(([count, reason]) => `${whole.format(count)} ${reason}`);
  byId("uncounted").hidden = shown.length === 0;
  byId("uncounted").textContent = "Not counted: " + shown.join(", ");
}

// Shows the last status of the streamer. The age of its newest tweet grows between two statuses.
function showStreamer() {
  byId("streamer").hidden = streamer === null;
  if (streamer === null) return;
  const { connection, ended } = streamer;
  const parts = [`Streamer: ${streamer.source}`];
  if (ended) parts.push({ source: "the source has ended", failed: "failed", timespan: "the time span is over", stopped: "stopped" }[ended]);
  else if (connection) parts.push(connection.since ? "connected since " + clock.format(new Date(connection.since)) : "not connected, retrying");
  if (connection && (connection.reconnects > 0 || connection.last_reason)) {
    const reason = connection.last_reason ? ` (last error: ${connection.last_reason})` : "";
    parts.push(`${whole.format(connection.reconnects)} reconnects${reason}`);
  }
  parts.push(streamer.rate.toFixed(1) + " per second");
  for (const [name, count] of [["read", "read"], ["filtered out", "filtered"], ["duplicates", "duplicate"], ["sent", "sent"], ["failed", "failed"]]) {
    if (count !== "failed" || streamer.failed > 0) parts.push(`${name} ${whole.format(streamer[count])}`);
  }
  if (connection?.without_followers > 0) parts.push(`unknown follower counts ${whole.format(connection.without_followers)}`);
  if (streamer.newest && !ended) {
    const age = Math.max(0, (Date.now() - Date.parse(streamer.newest)) / 1000);
    parts.push(`newest tweet ${whole.format(Math.round(age))} s old`);
  }
  byId("streamer").textContent = parts.join(" · ");
}

function showState(state) {
  const labels = {
    waiting: "waiting for Kafka",
    connected: "connected",
    reconnecting: "reconnecting to Kafka …",
    ended: "the listener has ended",
    failed: "the listener has failed",
  };
  byId("state").dataset.is = state.is;
  byId("state").textContent = labels[state.is];
  byId("state").title = state.reason ?? "";
}

function addCell(row, text, className) {
  const cell = row.insertCell();
  cell.textContent = text;
  if (className) cell.className = className;
}

// Shows the new rows. The table changes a few times per second at most, so that it can be read.
function showRows() {
  const body = byId("latest");
  for (const tweet of waitingRows) {
    const row = body.insertRow(0);
    addCell(row, signed(tweet.compound, 2), tweet.polarity + "-text");
    addCell(row, "@" + tweet.user);
    addCell(row, tweet.followers === null ? "?" : whole.format(tweet.followers), "number");
    addCell(row, tweet.text);
  }
  waitingRows = [];
  while (body.rows.length > ROWS) body.deleteRow(-1);
}

function receive(event) {
  const update = JSON.parse(event.data);
  merge(update);
  for (const tweet of update.latest) {
    if (tweet.number > newest) {
      newest = tweet.number;
      waitingRows.push(tweet);
    }
  }
  waitingRows = waitingRows.slice(-ROWS);
  streamer = update.streamer;
  showNumbers(update);
  showStreamer();
  showState(update.state);
}

function showDisconnected() {
  byId("state").dataset.is = "reconnecting";
  byId("state").textContent = "reconnecting to the notebook …";
}

// Follows the stream of events. EventSource reconnects by itself after a broken connection. It closes
// only if the response is not a stream; then this function starts again.
function follow() {
  const events = new EventSource("events");
  events.onopen = () => {
    byId("state").dataset.is = "waiting";
    byId("state").textContent = "waiting for a listener";
  };
  events.onmessage = receive;
  events.onerror = () => {
    showDisconnected();
    if (events.readyState === EventSource.CLOSED) {
      events.close();
      setTimeout(follow, 1000);
    }
  };
}

async function start() {
  template = await (await fetch("figure.json")).json();
  draw(0);
  const redraw = () => {
    layout = null;
    dirty = true;
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("resize", redraw);
  setInterval(showRows, TABLE_MS);
  setInterval(showStreamer, 1000);
  requestAnimationFrame(frame);
  follow();
}

start();

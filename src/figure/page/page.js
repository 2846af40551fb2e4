// Follows the listener: one stream of events, each of which brings what is new. What a tweet says
// is put into the page as text only.
"use strict";

const byId = (id) => document.getElementById(id);
const figure = byId("figure");
const ROWS = 20;
// Less than the time between two events, so that none waits for the next.
const REDRAW_MS = 25;
const TABLE_MS = 400;

let template = null;
let layout = null;
let run = null;
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

function trace(line, place) {
  const colours = template.data;
  const look = colours[place < colours.length ? place : 1 + ((place - 1) % (colours.length - 1))];
  // A circle for each point of a long line is a third of the time that drawing takes.
  const mode = line.x.length > 150 ? "lines" : look.mode;
  return { ...look, mode, name: line.name, x: line.x, y: line.y, hovertext: line.text };
}

// Made anew for another run, size or colour scheme only. Plotly writes into it how far the user has
// zoomed.
function makeLayout() {
  layout = structuredClone(template.layout);
  layout.font.color = ink();
  layout.uirevision = run;
  layout.autosize = true;
  layout.modebar = { bgcolor: "rgba(0,0,0,0)" };
  // To hide labels at the edge Plotly would measure all of them, which is two fifths of a drawing.
  layout.xaxis.ticklabeloverflow = layout.yaxis.ticklabeloverflow = "allow";
  if (figure.clientWidth < 600) {
    Object.assign(layout.margin, { l: 42, r: 30 });
    layout.xaxis.nticks = 4;
    delete layout.yaxis.title;
  }
}

// Plotly draws what the line arrays hold; `datarevision` tells it that they have changed.
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
  if (run !== update.run) {
    run = update.run;
    layout = null;
    lines = [];
    newest = 0;
    waitingRows = [];
    byId("latest").replaceChildren();
  }
  update.lines.forEach((fresh, place) => {
    const line = (lines[place] ??= { x: [], y: [], text: [] });
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
  byId("heard").textContent = whole.format(update.heard);
  byId("rate").textContent = update.rate < 10 ? update.rate.toFixed(1) : whole.format(Math.round(update.rate));
  const total = Math.max(1, update.shares.reduce((a, b) => a + b, 0));
  const percent = update.shares.map((count) => Math.round((100 * count) / total));
  [...byId("shares").children].forEach((part, place) => {
    part.style.flexGrow = update.shares[place];
    part.textContent = percent[place] >= 8 ? percent[place] + " %" : "";
  });
  const words = `${percent[0]} % positive, ${percent[1]} % neutral, ${percent[2]} % negative`;
  byId("shares").setAttribute("aria-label", words);
  byId("words").textContent = update.lines
    .map((line, place) => `${line.name}: ${signed(lines[place].y.at(-1) ?? 0, 2)} from ${line.heard} tweets`)
    .join("; ");
  const skipped = Object.entries(update.skipped).map(([why, count]) => `${whole.format(count)} ${why.replaceAll("_", " ")}`);
  if (update.duplicate > 0) skipped.push(`${whole.format(update.duplicate)} counted before`);
  if (update.missed > 0) skipped.push(`${whole.format(update.missed)} removed by Kafka before they were read`);
  byId("skipped").hidden = skipped.length === 0;
  byId("skipped").textContent = "Not counted: " + skipped.join(", ");
}

// What the streamer said last of itself; its newest tweet grows older between two reports.
function showStreamer() {
  byId("streamer").hidden = streamer === null;
  if (streamer === null) return;
  const { connection, ended } = streamer;
  const parts = [`Streamer: ${streamer.source}`];
  if (ended) parts.push({ source: "its source has ended", failed: "its source has failed", timespan: "its time span is over", stopped: "stopped" }[ended]);
  else if (connection) parts.push(connection.since ? "connected since " + clock.format(new Date(connection.since)) : "not connected, trying again");
  if (connection && (connection.reconnects > 0 || connection.last_reason)) {
    const reason = connection.last_reason ? ` (last reason: ${connection.last_reason})` : "";
    parts.push(`${whole.format(connection.reconnects)} reconnects${reason}`);
  }
  parts.push(streamer.rate.toFixed(1) + " a second");
  for (const [name, count] of [["read", "read"], ["filtered out", "filtered"], ["duplicates", "duplicate"], ["sent", "sent"], ["failed", "failed"]]) {
    if (count !== "failed" || streamer.failed > 0) parts.push(`${name} ${whole.format(streamer[count])}`);
  }
  if (connection?.without_followers > 0) parts.push(`followers not known ${whole.format(connection.without_followers)}`);
  if (streamer.newest && !ended) {
    const age = Math.max(0, (Date.now() - Date.parse(streamer.newest)) / 1000);
    parts.push(`newest tweet ${whole.format(Math.round(age))} s old`);
  }
  byId("streamer").textContent = parts.join(" · ");
}

function showState(state) {
  const said = {
    waiting: "waiting for Kafka",
    connected: "connected",
    reconnecting: "reconnecting to Kafka …",
    ended: "the listener has ended",
  };
  byId("state").dataset.is = state.is;
  byId("state").textContent = said[state.is];
  byId("state").title = state.why ?? "";
}

function cell(row, text, name) {
  const made = row.insertCell();
  made.textContent = text;
  if (name) made.className = name;
}

// The table changes a few times a second at most, so that it can be read.
function showRows() {
  const body = byId("latest");
  for (const tweet of waitingRows) {
    const row = body.insertRow(0);
    const mood = tweet.compound >= 0.05 ? "positive-text" : tweet.compound <= -0.05 ? "negative-text" : "";
    cell(row, signed(tweet.compound, 2), mood);
    cell(row, "@" + tweet.user);
    cell(row, tweet.followers === null ? "?" : whole.format(tweet.followers), "number");
    cell(row, tweet.text);
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

function lost() {
  byId("state").dataset.is = "reconnecting";
  byId("state").textContent = "reconnecting to the notebook …";
}

// EventSource connects anew by itself after a break; it gives up only when the server answers
// something else than a stream, and then we begin anew.
function follow() {
  const events = new EventSource("events");
  events.onopen = () => {
    byId("state").dataset.is = "waiting";
    byId("state").textContent = "waiting for a listener";
  };
  events.onmessage = receive;
  events.onerror = () => {
    lost();
    if (events.readyState === EventSource.CLOSED) {
      events.close();
      setTimeout(follow, 1000);
    }
  };
}

async function start() {
  template = await (await fetch("figure.json")).json();
  draw(0);
  const anew = () => {
    layout = null;
    dirty = true;
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", anew);
  addEventListener("resize", anew);
  setInterval(showRows, TABLE_MS);
  setInterval(showStreamer, 1000);
  requestAnimationFrame(frame);
  follow();
}

start();

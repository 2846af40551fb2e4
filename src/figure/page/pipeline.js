// The pipeline, drawn small: source, streamer, topic, listener and page, each with its state and rate; and
// how far the listener is behind the end of each partition.

import { age, byId, clock, element, perSecond, plural, setText, whole } from "./format.js";

// A streamer sends a status each second. After this time without one it counts as gone.
const SILENCE_S = 5;
// The lag is red when it has grown for this many seconds. One sample a second is taken.
const GROWTH = 10;
// The end of a partition is known twice per second only, so single samples go up and down.
const COMPARED = 3;

const reasons = { source: "the source has ended", failed: "failed", timespan: "the time span is over", stopped: "stopped" };
// The last samples of the total lag, and the listener they are of.
let samples = [];
let sampled;
let updates = [];

export function countUpdate() {
  const now = performance.now();
  updates.push(now);
  updates = updates.filter((at) => now - at < 2000);
}

function part(id, state, status, rate) {
  const node = byId(id);
  node.dataset.state = state;
  setText(node.querySelector(".status"), status);
  setText(node.querySelector(".rate"), rate);
}

// Shows the state of each part. `connected` tells whether the page is.
export function showPipeline(listener, connected) {
  const pageRate = connected ? `${(updates.length / 2).toFixed(0)} updates/s` : "";
  part("at-page", connected ? "works" : "broken", connected ? "open" : "no connection to the notebook", pageRate);
  if (!listener || !connected) {
    for (const id of ["at-source", "at-streamer", "at-topic", "at-listener"]) part(id, "unknown", "unknown", "");
    if (connected) part("at-listener", "waiting", "not started", "");
    return;
  }
  const away = listener.away_since !== null;
  const { is, reason } = listener.state;
  const over = is === "ended" || is === "failed";
  part("at-listener", { connected: "works", ended: "ended", failed: "broken", blocked: "broken" }[is] ?? "waiting",
    { connected: "reads", ended: "has ended", failed: `failed: ${reason}`, waiting: "waits for Kafka", reconnecting: "reconnects", blocked: "cannot read on" }[is], perSecond(listener.rate));
  const written = listener.lag.reduce((sum, one) => sum + one.write_rate, 0);
  const partitions = listener.lag.length;
  part("at-topic", over ? "unknown" : away ? "broken" : "works",
    over ? "unknown" : away ? `away since ${clock(listener.away_since)}` : partitions ? plural(partitions, "partition") : "no messages yet",
    over || away ? "" : perSecond(written));
  showStreamer(listener.streamer, away || over);
}

// The status of the streamer comes through the topic, so nothing is known without the broker.
function showStreamer(streamer, away) {
  if (!streamer || away) {
    part("at-source", "unknown", away ? "unknown" : "no status yet", "");
    part("at-streamer", "unknown", away ? "unknown" : "no status yet", "");
  } else {
    const { connection, ended, silence } = streamer;
    const gone = !ended && silence > SILENCE_S;
    const lost = connection && !connection.since;
    part("at-source", ended === "failed" || lost ? "broken" : ended || gone ? "ended" : "works",
      streamer.source + (lost && !ended ? ": not connected" : ended === "source" ? ": has ended" : ""), "");
    part("at-streamer", ended === "failed" || gone ? "broken" : ended ? "ended" : "works",
      ended ? reasons[ended] : gone ? `no status for ${age(silence)}` : "sends", ended || gone ? "" : perSecond(streamer.rate));
  }
  showProgress(streamer);
  showStatus(streamer);
}

function showProgress(streamer) {
  const progress = byId("progress");
  const isShown = streamer && streamer.ended === null && streamer.remaining !== null;
  progress.parentElement.hidden = !isShown;
  if (!isShown) return;
  const span = streamer.elapsed + streamer.remaining;
  const left = Math.max(0, streamer.remaining - streamer.silence);
  progress.max = span;
  progress.value = span - left;
  setText(byId("remaining"), `${age(left)} of ${age(span)} left`);
}

// Shows the counts of the streamer. The age of its newest tweet grows between two statuses.
function showStatus(streamer) {
  byId("streamer").hidden = !streamer;
  if (!streamer) return;
  const { connection, ended } = streamer;
  const parts = [`Streamer: ${streamer.source}`];
  if (ended) parts.push(reasons[ended]);
  else if (connection) parts.push(connection.since ? "connected since " + clock(connection.since) : "not connected, retrying");
  if (connection && (connection.reconnects > 0 || connection.last_reason)) {
    const reason = connection.last_reason ? ` (last error: ${connection.last_reason})` : "";
    parts.push(`${whole(connection.reconnects)} reconnects${reason}`);
  }
  parts.push(streamer.rate.toFixed(1) + " per second");
  for (const [name, count] of [["read", "read"], ["filtered out", "filtered"], ["duplicates", "duplicate"], ["sent", "sent"], ["failed", "failed"]]) {
    if (count !== "failed" || streamer.failed > 0) parts.push(`${name} ${whole(streamer[count])}`);
  }
  if (connection?.without_followers > 0) parts.push(`unknown follower counts ${whole(connection.without_followers)}`);
  if (connection?.other_events > 0) parts.push(`other events ${whole(connection.other_events)}`);
  if (streamer.newest && !ended) parts.push(`newest tweet ${age((Date.now() - Date.parse(streamer.newest)) / 1000)} old`);
  setText(byId("streamer"), parts.join(" · "));
}

// Takes a sample of the lag, each second.
export function sampleLag(listener) {
  if (listener?.name !== sampled) samples = [];
  sampled = listener?.name;
  samples.push(listener ? listener.lag.reduce((sum, one) => sum + one.lag, 0) : 0);
  samples = samples.slice(-GROWTH - 1);
}

function grows() {
  const newest = samples.slice(-COMPARED);
  return samples.length > GROWTH && Math.min(...newest) > Math.max(...samples.slice(0, COMPARED)) && Math.max(...newest) === Math.max(...samples);
}

export function showLag(listener) {
  const lag = listener?.lag ?? [];
  const total = lag.reduce((sum, one) => sum + one.lag, 0);
  const newest = Math.min(...lag.map((one) => one.age ?? Infinity));
  const parts = [lag.length ? `lag ${plural(total, "message")}` : "lag unknown"];
  if (Number.isFinite(newest)) parts.push(`newest counted ${age(newest)} old`);
  if (listener?.away_since) parts.push(`broker away since ${clock(listener.away_since)}`);
  setText(byId("lag-title"), parts.join(" · "));
  byId("lag").classList.toggle("grows", grows());
  byId("lag").dataset.grows = grows();
  const rows = lag.map((one) => [String(one.partition), whole(one.position), whole(one.end), whole(one.lag), one.age === null ? "–" : age(one.age), perSecond(one.rate)]);
  const body = byId("partitions");
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, index) => {
    const row = body.rows[index] ?? body.appendChild(element("tr", {}, ...cells.map(() => element("td", { class: "number" }))));
    cells.forEach((text, cell) => setText(row.cells[cell], text));
  });
}

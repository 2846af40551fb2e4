// A small drawing of the pipeline: source, streamer, topic, listener and page, each with its state and rate.
// Below it, how far the listener is behind the end of each partition.

import { age, byId, clock, element, perSecond, plural, setText, showEach, whole } from "./format.js";

// A streamer sends a status each second. After this time without a status, it counts as gone.
const SILENCE_S = 5;
// The lag is red when it has grown for this many seconds. One sample a second is taken.
const GROWTH = 10;
// The page learns the end of a partition only twice per second, so single samples go up and down.
const COMPARED = 3;

const reasons = { source: "the source has ended", failed: "failed", timespan: "the time span is over", stopped: "stopped" };
// The last samples of the total lag, and the name of their listener.
let samples = [];
let sampled;
// When the updates of the last two seconds came.
let updates = [];

export function countUpdate() {
  const now = performance.now();
  updates = [...updates, now].filter((at) => now - at < 2000);
}

function part(id, state, status = state, rate = "") {
  const node = byId(id);
  node.dataset.state = state;
  setText(node.querySelector(".status"), status);
  setText(node.querySelector(".rate"), rate);
}

// Shows the state of each part. `connected` tells whether the page is connected to the notebook.
export function showPipeline(listener, connected) {
  const pageRate = connected ? `${(updates.length / 2).toFixed(0)} updates/s` : "";
  part("at-page", connected ? "works" : "broken", connected ? "open" : "no connection to the notebook", pageRate);
  if (!listener || !connected) {
    for (const id of ["at-source", "at-streamer", "at-topic", "at-listener"]) part(id, "unknown");
    if (connected) part("at-listener", "waiting", "not started");
    return;
  }
  const isUnreachable = listener.unreachable_since !== null;
  const { is, reason } = listener.state;
  const over = is === "ended" || is === "failed";
  part("at-listener", { connected: "works", ended: "ended", failed: "broken", blocked: "broken" }[is] ?? "waiting",
    { connected: "reads", ended: "has ended", failed: `failed: ${reason}`, waiting: "waits for Kafka", reconnecting: "reconnects", blocked: "cannot read on" }[is], perSecond(listener.rate));
  const partitions = listener.lag.length;
  const written = listener.lag.reduce((sum, { write_rate }) => sum + write_rate, 0);
  if (over) part("at-topic", "unknown");
  else if (isUnreachable) part("at-topic", "broken", `unreachable since ${clock(listener.unreachable_since)}`);
  else part("at-topic", "works", partitions ? plural(partitions, "partition") : "no messages yet", perSecond(written));
  showStreamer(listener.streamer, isUnreachable || over);
}

// The status of the streamer comes through the broker, so it is unknown while the broker is unreachable.
function showStreamer(streamer, isUnknown) {
  if (!streamer || isUnknown) {
    for (const id of ["at-source", "at-streamer"]) part(id, "unknown", isUnknown ? "unknown" : "no status yet");
  } else {
    const { connection, ended, silence } = streamer;
    const gone = !ended && silence > SILENCE_S;
    const lost = connection && !connection.since;
    part("at-source", ended === "failed" || lost ? "broken" : ended || gone ? "ended" : "works",
      streamer.source + (lost && !ended ? ": not connected" : ended === "source" ? ": has ended" : ""));
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

// Returns how much of its files the source has read, and the time left at the pace so far if the stream runs.
function filesRead({ bytes, bytes_read, records }, elapsed) {
  if (!bytes) return `${whole(records)} records`;
  const share = Math.min(1, bytes_read / bytes);
  const left = elapsed && share > 0 && share < 1 ? `, ${age((elapsed * (1 - share)) / share)} left` : "";
  return `${Math.floor(share * 100)} % of the files read${left}, ${whole(records)} records`;
}

// Shows the counts of the streamer; its rate is in the box. The age of its newest tweet grows between two statuses.
function showStatus(streamer) {
  byId("streamer").hidden = !streamer;
  if (!streamer) return;
  const { connection, files, ended, read, without_followers } = streamer;
  const { since, reconnects, last_reason } = connection ?? {};
  const { other_events } = connection ?? files ?? {};
  const parts = [
    `Streamer: ${streamer.source}`,
    ended && reasons[ended],
    connection && !ended && (since ? `connected since ${clock(since)}` : "not connected, retrying"),
    (reconnects > 0 || last_reason) && `${whole(reconnects)} reconnects${last_reason ? ` (last error: ${last_reason})` : ""}`,
    files && filesRead(files, ended ? null : streamer.elapsed),
    `read ${whole(read)}`,
    `filtered out ${whole(streamer.filtered)}`,
    `duplicates ${whole(streamer.duplicate)}`,
    `sent ${whole(streamer.sent)}`,
    streamer.skipped > 0 && `skipped, not tweets ${whole(streamer.skipped)}`,
    streamer.failed > 0 && `failed ${whole(streamer.failed)}`,
    without_followers > 0 && `unknown follower counts ${whole(without_followers)}`,
    other_events > 0 && `other events ${whole(other_events)}`,
    read > 0 && without_followers === read && "no tweet has a follower count, so the default metric adds 0 for each: use a metric without followers",
    streamer.newest && !ended && `newest tweet ${age((Date.now() - Date.parse(streamer.newest)) / 1000)} old`,
  ];
  setText(byId("streamer"), parts.filter(Boolean).join(" · "));
}

const totalLag = (listener) => listener.lag.reduce((sum, { lag }) => sum + lag, 0);

// Takes a sample of the lag, once per second.
export function sampleLag(listener) {
  if (listener?.name !== sampled) samples = [];
  sampled = listener?.name;
  samples = [...samples, listener ? totalLag(listener) : 0].slice(-GROWTH - 1);
}

function grows() {
  const newest = samples.slice(-COMPARED);
  return samples.length > GROWTH && Math.min(...newest) > Math.max(...samples.slice(0, COMPARED)) && Math.max(...newest) === Math.max(...samples);
}

export function showLag(listener) {
  const partitions = listener?.lag ?? [];
  const newest = Math.min(...partitions.map((partition) => partition.age ?? Infinity));
  const parts = [partitions.length ? `lag ${plural(totalLag(listener), "message")}` : "lag unknown"];
  if (Number.isFinite(newest)) parts.push(`newest counted ${age(newest)} old`);
  if (listener?.unreachable_since) parts.push(`broker unreachable since ${clock(listener.unreachable_since)}`);
  setText(byId("lag-title"), parts.join(" · "));
  byId("lag").classList.toggle("grows", grows());
  byId("lag").dataset.grows = grows();
  const rows = partitions.map(({ partition, position, end, lag, age: seconds, rate }) =>
    [String(partition), whole(position), whole(end), whole(lag), seconds === null ? "–" : age(seconds), perSecond(rate)]);
  showEach(byId("partitions"), rows, () => element("tr"), (row, cells) =>
    showEach(row, cells, () => element("td", { class: "number" }), setText));
}

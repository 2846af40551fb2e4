// The page: connects the stream of updates to its parts. Each part shows one thing, and data flows in one
// direction:
//
//   notebook.js → model.js → chart.js, numbers.js, pipeline.js, tweets.js
//   controls.js, gestures.js → view.js → chart.js, panel.js
//
// Text from the network is inserted only as text, never as HTML.

import { invalidate, startChart } from "./chart.js";
import { showControls, showLegend, showListeners, startControls } from "./controls.js";
import { byId } from "./format.js";
import { startGestures } from "./gestures.js";
import { chosen, listeners, merge } from "./model.js";
import { showNumbers, showSkipped, showState } from "./numbers.js";
import { showSelection } from "./panel.js";
import { countUpdate, sampleLag, showLag, showPipeline } from "./pipeline.js";
import { follow } from "./notebook.js";
import { showRows } from "./tweets.js";
import { onChange, readFragment } from "./view.js";

// The table changes at most a few times per second, so a reader can follow it.
const TABLE_MS = 400;
const SECOND_MS = 1000;

let connected = false;

function receive(update) {
  countUpdate();
  merge(update);
  invalidate();
  showNumbers(chosen());
  showState(chosen().state);
}

function setConnected(isConnected) {
  connected = isConnected;
  if (connected) showState({ is: "waiting" }, "waiting for a listener");
  else showState({ is: "reconnecting" }, "reconnecting to the notebook …");
  showSlowly();
}

// Parts that refresh slowly.
function showSlowly() {
  const listener = chosen();
  showPipeline(listener, connected);
  showLag(listener);
  showListeners(listener);
  showLegend();
  showSelection(listener);
  if (listener) showRows(listener);
}

function showChoice() {
  showControls();
  invalidate();
  if (listeners.length) showNumbers(chosen());
  showSlowly();
}

async function start() {
  readFragment();
  await startChart();
  startGestures();
  startControls();
  onChange(showChoice);
  addEventListener("hashchange", () => {
    readFragment();
    showChoice();
  });
  byId("skipped").addEventListener("toggle", showSkipped);
  showChoice();
  setInterval(showSlowly, TABLE_MS);
  setInterval(() => sampleLag(chosen()), SECOND_MS);
  follow(receive, setConnected);
}

start();

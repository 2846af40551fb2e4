// The buttons of the page with their keys, and the legend.

import { allSeries } from "./chart.js";
import { saveNumbers, savePicture, saveTweets } from "./download.js";
import { byId, element, setText, showEach } from "./format.js";
import { ZOOM, togglePause, unselect, zoom, zoomTo } from "./gestures.js";
import { listeners } from "./model.js";
import { closePanel } from "./panel.js";
import { change, view } from "./view.js";

let forget = null;

function say(text) {
  setText(byId("message"), text);
  clearTimeout(forget);
  forget = setTimeout(() => setText(byId("message"), ""), 5000);
}

// Says whether the browser has allowed an action.
const attempt = (action, done, failed) => action().then(() => say(done), () => say(failed));

const copyLink = () => attempt(async () => navigator.clipboard.writeText(location.href),
  "link copied", "the browser does not allow copying; copy the address of this page");
const toggleFullScreen = () => attempt(
  async () => document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen(),
  "", "the browser does not allow full screen here; open the page in its own tab");
const picture = (format) => attempt(
  () => savePicture(format), "", `the browser failed to draw the ${format.toUpperCase()} file`);

const actions = {
  "sum-view": () => change({ chart: "sum" }),
  "mood-view": () => change({ chart: "mood" }),
  "follow-all": () => change({ follow: "all", range: null }),
  "follow-5": () => change({ follow: "5", range: null }),
  "follow-1": () => change({ follow: "1", range: null }),
  pause: togglePause,
  "zoom-in": () => zoom(1 / ZOOM),
  "zoom-out": () => zoom(ZOOM),
  png: () => picture("png"),
  svg: () => picture("svg"),
  csv: saveNumbers,
  tweets: saveTweets,
  link: copyLink,
  "full-screen": toggleFullScreen,
  "panel-zoom": () => view.selection && zoomTo(view.selection),
  "panel-close": close,
};

function close() {
  closePanel();
  unselect();
}

// Shows which buttons are pressed.
export function showControls() {
  const pressed = [view.chart + "-view", view.range ? "" : "follow-" + view.follow];
  for (const button of document.querySelectorAll(".toolbar [aria-pressed]")) {
    button.setAttribute("aria-pressed", String(pressed.includes(button.id)));
  }
  setText(byId("pause"), view.range ? "Back to live" : "Pause");
  byId("panel-zoom").hidden = !view.selection;
}

// Shows a button for each line, which switches it on and off. The lines of each listener are a group.
export function showLegend() {
  const legend = byId("legend");
  const series = allSeries();
  const names = view.chart === "sum" && listeners.length > 1 ? listeners.map(({ name }) => name) : [""];
  const createGroup = () => element("div", { role: "group" }, element("bdi"), element("ul"));
  showEach(legend, names, createGroup, (group, name) => {
    group.setAttribute("aria-label", name || "lines");
    setText(group.firstChild, name);
    showEach(group.lastChild, series.filter(({ listener }) => !name || listener.name === name), createEntry, showEntry);
  });
}

function createEntry() {
  const button = element("button", {}, element("span", { class: "swatch" }), element("bdi"));
  button.addEventListener("click", () => {
    const hidden = new Set(view.hidden);
    if (!hidden.delete(button.dataset.line)) hidden.add(button.dataset.line);
    change({ hidden });
  });
  return element("li", {}, button);
}

function showEntry({ firstChild: button }, { key, short, look, dash }) {
  button.dataset.line = key;
  button.setAttribute("aria-pressed", String(!view.hidden.has(key)));
  button.firstChild.style.borderTopColor = look.line.color;
  button.firstChild.style.borderTopStyle = { solid: "solid", dash: "dashed" }[dash] ?? "dotted";
  setText(button.lastChild, short);
}

// Shows the choice of the listener whose numbers are shown, if there are several.
export function showListeners(chosen) {
  const select = byId("listener");
  select.parentElement.hidden = listeners.length < 2;
  showEach(select, listeners, () => element("option"), (option, { name }) => {
    option.value = name;
    setText(option, name);
  });
  if (chosen && select.value !== chosen.name) select.value = chosen.name;
}

export function startControls() {
  for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", action);
  byId("listener").addEventListener("change", (event) => change({ listener: event.target.value }));
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, textarea")) return;
    document.querySelector(`[data-key="${CSS.escape(event.key)}"]:not([aria-pressed=true])`)?.click();
  });
  document.addEventListener("fullscreenchange", () => {
    document.documentElement.classList.toggle("stage", document.fullscreenElement !== null);
    scrollTo(0, 0);
  });
}

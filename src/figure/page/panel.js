// The panel beside the chart: why the sum moved in a stretch, or which tweet a point is.

import { ask } from "./notebook.js";
import { age, byId, clock, element, plural, setText, signed, toneOf, whole } from "./format.js";
import { tweetItem } from "./tweets.js";
import { change, view } from "./view.js";

// While the reader widens a selection, the page asks only for its last state.
const PAUSE_MS = 120;

// The question whose answer is shown. An answer to an earlier question is ignored.
let shown = "";
let timer = null;

const section = (title, ...children) => element("section", {}, element("h3", {}, title), ...children);

function show(title, summary, ...children) {
  byId("panel").hidden = false;
  setText(byId("panel-title"), title);
  byId("panel-summary").replaceChildren(summary);
  byId("panel-content").replaceChildren(...children);
}

export function closePanel() {
  shown = "";
  const panel = byId("panel");
  if (panel.hidden) return;
  if (panel.contains(document.activeElement)) byId("figure").focus();
  panel.hidden = true;
  byId("panel-content").replaceChildren();
}

// Shows the tweet of a point of a line.
export async function showPoint({ series: { listener, number, name }, at, value }) {
  if (view.selection) change({ selection: null });
  const { generation } = listener;
  const question = { generation, line: number, at, sum: value };
  const key = (shown = JSON.stringify(question));
  const answer = await ask("point", question);
  if (shown !== key) return;
  if (answer.error) return show("A point", element("span", { class: "error" }, answer.error));
  const { tweet, sum } = answer;
  show(`The tweet at ${clock(tweet.at)}`, element("span", {}, "After it, ", element("bdi", {}, name), ` is ${signed(sum)}.`),
    element("ul", { class: "tweets" }, tweetItem(generation, tweet)));
}

// Shows the selected stretch of a listener, or closes the panel if nothing is selected.
export function showSelection(listener) {
  const key = listener && view.selection ? JSON.stringify([listener.generation, view.selection]) : "";
  if (key === shown) return;
  // The tweet of a point is open.
  if (key === "" && shown.startsWith("{")) return;
  shown = key;
  clearTimeout(timer);
  if (key === "") return closePanel();
  timer = setTimeout(async () => {
    const [from, to] = view.selection;
    const answer = await ask("stretch", { generation: listener.generation, from, to });
    if (shown !== key) return;
    if (answer.error) show(`${clock(from)} to ${clock(to)}`, element("span", { class: "error" }, answer.error));
    else showStretch(listener, answer, from, to);
  }, PAUSE_MS);
}

const AS_SELECTED = "as selected";
// Differences below a tenth of a second are not shown.
const moved = (by) => (Math.abs(by) < 100 ? AS_SELECTED : `${age(Math.abs(by) / 1000)} ${by > 0 ? "later" : "earlier"}`);

function showStretch({ generation, name }, { from, to, lines, movers, words }, selectedFrom, selectedTo) {
  const rows = lines.filter(({ counted }) => counted > 0).map((line) => element("tr", {},
    element("th", { scope: "row" }, element("bdi", {}, line.name)),
    element("td", { class: `number ${toneOf(line.change)}` }, signed(line.change)),
    element("td", { class: "number" }, whole(line.counted))));
  const head = element("tr", {}, element("th", { scope: "col" }, "line"), element("th", { scope: "col", class: "number" }, "change"), element("th", { scope: "col", class: "number" }, "tweets"));
  const largest = Math.max(...words.map(({ total }) => Math.abs(total)));
  const wordItems = words.map(({ word, total }) => {
    const bar = element("span", { class: `bar ${total > 0 ? "adds" : "subtracts"}` });
    bar.style.width = `${(100 * Math.abs(total)) / largest}%`;
    return element("li", {}, element("span", { class: "word" }, element("bdi", {}, word)), element("span", { class: `number ${toneOf(total)}` }, signed(total)), element("span", {}, bar));
  });
  const total = lines[0];
  const [atStart, atEnd] = [moved(from - selectedFrom), moved(to - selectedTo)];
  const rounded = atStart === AS_SELECTED && atEnd === AS_SELECTED ? "" :
    ` The history consists of segments, so the selection is rounded to whole ones: it begins ${atStart} and ends ${atEnd}.`;
  show(`Why did ${name} move?`,
    `From ${clock(from)} to ${clock(to)}, ${plural(total.counted, "tweet")} changed the sum by ${signed(total.change)}.${rounded}`,
    element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)),
    section("The tweets that moved it most", movers.length
      ? element("ol", { class: "tweets" }, ...movers.map((tweet) => tweetItem(generation, tweet)))
      : element("p", {}, "All tweets here are neutral.")),
    section("The words that moved it most", wordItems.length
      ? element("ol", { class: "words" }, ...wordItems)
      : element("p", {}, "No word of these tweets is in the lexicon.")));
}

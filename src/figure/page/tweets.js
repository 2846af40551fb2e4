// Tweets: the table of the latest tweets, and the explanation of a score.

import { ask } from "./notebook.js";
import { byId, clock, element, plural, signed, toneOf, whole } from "./format.js";

const ROWS = 20;
const BUTTON = "why?";

// Returns the explanation of a text: its words with their contributions, as colours and as text.
function explanation(answer, tweet) {
  if (answer.error) return element("p", { class: "error" }, answer.error);
  const words = answer.pieces.map(({ text, contribution }) =>
    contribution === 0 ? text : element("mark", { class: contribution > 0 ? "adds" : "subtracts", title: signed(contribution) }, text));
  const rows = answer.words.map(({ word, why }) => element("li", {}, element("bdi", {}, word), ` ${why.replace("-", "−")}`));
  for (const [name, value] of [["exclamation marks", answer.exclamation], ["question marks", answer.question]]) {
    if (value !== 0) rows.push(element("li", {}, `${name} ${signed(value)}`));
  }
  const total = element("p", {}, `The sum is ${signed(answer.sum)}, so the compound is ${signed(answer.compound, 4)}.`);
  if (tweet.is_shortened) total.append(` The text is longer than shown here; all of it has the compound ${signed(tweet.compound, 4)}.`);
  const list = rows.length ? element("ul", {}, ...rows) : element("p", {}, "No word of this text is in the lexicon.");
  return element("div", { class: "explanation" }, element("p", { class: "text" }, element("bdi", {}, ...words)), list, total);
}

// Returns a button that opens the explanation of a tweet in the element that `place` returns.
function whyButton(generation, tweet, place) {
  const button = element("button", { "aria-expanded": "false", "aria-label": `why this score: ${tweet.user}` }, BUTTON);
  button.addEventListener("click", async () => {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    const target = place(!isOpen);
    if (!isOpen) target.replaceChildren(explanation(await ask("explain", { generation, text: tweet.text }), tweet));
  });
  return button;
}

// Returns a tweet as an item of a list, with what it added.
export function tweetItem(generation, tweet) {
  const details = element("div", { hidden: true });
  const button = whyButton(generation, tweet, (open) => {
    details.hidden = !open;
    return details;
  });
  const audience = tweet.followers === null ? "unknown followers" : plural(tweet.followers, "follower");
  return element("li", {},
    element("p", { class: "byline" },
      element("strong", { class: toneOf(tweet.metric) }, signed(tweet.metric)), " by ",
      element("bdi", {}, "@" + tweet.user), `, ${audience}, compound ${signed(tweet.compound)}, ${clock(tweet.at)} `, button),
    element("p", { class: "text" }, element("bdi", {}, tweet.text)), details);
}

let generation = null;
const isOpen = () => byId("latest").querySelector("button[aria-expanded=true]") !== null;

// Shows the new rows of a listener. The table does not change while an explanation is open.
export function showRows(listener) {
  const body = byId("latest");
  if (generation !== listener.generation) {
    generation = listener.generation;
    body.replaceChildren();
  }
  byId("frozen").hidden = !isOpen();
  if (isOpen()) return;
  const last = Number(body.rows[0]?.dataset.number ?? 0);
  for (const tweet of listener.rows.filter(({ number }) => number > last)) body.prepend(row(tweet));
  while (body.rows.length > ROWS) body.deleteRow(-1);
}

function row(tweet) {
  const created = element("tr", { "data-number": tweet.number });
  const details = element("div", { class: "details", hidden: true });
  const button = whyButton(generation, tweet, (open) => {
    details.hidden = !open;
    byId("frozen").hidden = !isOpen();
    return details;
  });
  created.append(
    element("td", { class: tweet.polarity + "-text" }, signed(tweet.compound)),
    element("td", { class: "number" }, signed(tweet.metric)),
    element("td", {}, element("bdi", {}, "@" + tweet.user)),
    element("td", { class: "number" }, tweet.followers === null ? "?" : whole(tweet.followers)),
    element("td", { class: "text" }, element("bdi", {}, tweet.text), " ", button, details));
  return created;
}

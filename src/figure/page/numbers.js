// The numbers above the figure, of the listener that the reader has chosen.

import { ask } from "./notebook.js";
import { byId, element, plural, rateText, setText, signed, whole } from "./format.js";

// The minimum time between two announcements to a screen reader.
const ANNOUNCE_MS = 10_000;
let announced = -Infinity;

const labels = {
  waiting: "waiting for Kafka",
  connected: "connected",
  reconnecting: "reconnecting to Kafka …",
  blocked: "cannot read on",
  ended: "the listener has ended",
  failed: "the listener has failed",
};

export function showState({ is, reason }, text = labels[is]) {
  byId("state").dataset.is = is;
  // A reader who waits for tweets that do not arrive needs the reason immediately.
  setText(byId("state"), is === "blocked" ? `${text}: ${reason}` : text);
  byId("state").title = reason ?? "";
}

export function showNumbers(listener) {
  setText(byId("sum"), signed(listener.sum));
  setText(byId("counted"), whole(listener.counted));
  setText(byId("rate"), rateText(listener.rate));
  const total = Math.max(1, listener.polarities.reduce((a, b) => a + b, 0));
  const percent = listener.polarities.map((count) => Math.round((100 * count) / total));
  [...byId("polarities").children].forEach((part, index) => {
    part.style.flexGrow = listener.polarities[index];
    setText(part, percent[index] >= 8 ? percent[index] + " %" : "");
  });
  const description = `${percent[0]} % positive, ${percent[1]} % neutral, ${percent[2]} % negative`;
  byId("polarities").setAttribute("aria-label", description);
  showUncounted(listener);
  announce(listener, description);
}

function announce(listener, description) {
  const lines = listener.lines.map((line) => `${line.name}: ${signed(line.y.at(-1) ?? 0)} from ${plural(line.counted, "tweet")}`);
  setText(byId("description"), lines.join("; "));
  if (performance.now() - announced < ANNOUNCE_MS) return;
  announced = performance.now();
  setText(byId("announcement"), `${lines[0] ?? "no tweets"}; ${description}`);
}

function showUncounted({ generation, uncounted, times_corrected }) {
  const { skipped, duplicate, missed, earlier_runs } = uncounted;
  const total = Object.values(skipped).reduce((a, b) => a + b, 0);
  const others = [[duplicate, "duplicates"], [missed, "removed by the broker before they were read"], [earlier_runs, "of earlier runs"]];
  const shown = others.filter(([count]) => count > 0).map(([count, reason]) => `${whole(count)} ${reason}`);
  byId("uncounted").hidden = shown.length === 0;
  setText(byId("uncounted"), "Not counted: " + shown.join(", "));
  byId("times-corrected").hidden = times_corrected === 0;
  setText(byId("times-corrected"), `${plural(times_corrected, "tweet")} counted at the time of the message, because the tweet's own time cannot be true`);
  const details = byId("skipped");
  details.hidden = total === 0;
  setText(byId("skipped-title"), `${plural(total, "message")} skipped, because they are not tweets or have no metric`);
  details.dataset.generation = generation;
}

// Shows the reasons when the reader opens them.
export async function showSkipped() {
  const details = byId("skipped");
  if (!details.open) return;
  const answer = await ask("skipped", { generation: details.dataset.generation });
  const reasons = answer.error ? [element("li", {}, answer.error)] : answer.map(({ reason, count, example }) =>
    element("li", {}, `${whole(count)}: ${reason}, for example `, element("code", {}, element("bdi", {}, example || "(empty)"))));
  byId("skipped-reasons").replaceChildren(...reasons);
}

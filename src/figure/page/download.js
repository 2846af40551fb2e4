// Downloads: the chart as a picture, the lines as numbers, and the latest tweets.

import { picture } from "./chart.js";
import { element } from "./format.js";
import { chosen, listeners } from "./model.js";

const SIZE = { width: 1400, height: 700 };

const save = (name, url) => element("a", { href: url, download: name }).click();

// Saves the chart as it is in view, with a legend. `format` is "png" or "svg".
export async function savePicture(format) {
  const { data, layout } = picture(SIZE.width, SIZE.height);
  const paper = getComputedStyle(document.body).backgroundColor;
  Object.assign(layout, { showlegend: true, paper_bgcolor: paper, plot_bgcolor: paper });
  layout.margin.t = 50;
  save(`live-sentiment.${format}`, await Plotly.toImage({ data, layout }, { format, ...SIZE }));
}

// A spreadsheet treats a text that begins with one of these characters as a formula.
const cell = (text) => '"' + (/^[=+\-@\t\r]/.test(text) ? "'" : "") + text.replaceAll('"', '""') + '"';

// Saves all points of all lines.
export function saveNumbers() {
  const rows = ["listener,line,time,sum"];
  for (const listener of listeners) {
    for (const { name, x, y } of listener.lines) {
      x.forEach((at, index) => rows.push(`${cell(listener.name)},${cell(name)},${new Date(at).toISOString()},${y[index]}`));
    }
  }
  saveTable("live-sentiment.csv", rows);
}

// Saves the tweets of the table with the columns of examples/export. A replay reads this file.
export function saveTweets() {
  const rows = ["time,author,followers,compound,metric,text"];
  for (const { at, user, followers, compound, metric, text } of chosen()?.rows ?? []) {
    rows.push([new Date(at).toISOString(), cell(user), followers ?? "", compound, metric, cell(text)].join(","));
  }
  saveTable("live-sentiment-tweets.csv", rows);
}

function saveTable(name, rows) {
  const url = URL.createObjectURL(new Blob([rows.join("\r\n") + "\r\n"], { type: "text/csv" }));
  save(name, url);
  // After this time, the browser has read the file.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// SPDX-License-Identifier: Apache-2.0
// Small line plots of the samples the page has taken. The newest value of each line is in the caption too, for those who do not see lines.
import { bytes, micros, rateAt } from "./data.js";
import { svg, svgText } from "./graph.js";

const kSize = { width: 440, height: 150, left: 62, right: 8, top: 8, bottom: 20 };
const count = (n) => (n < 10 ? n.toFixed(1) : String(Math.round(n)));
const rate = (field) => (samples, i) => rateAt(samples, i, field);
const value = (field) => (samples, i) => samples[i][field];

const kPlots = [
  { id: "throughput", title: "Throughput", show: (n) => `${bytes(n)}/s`, lines: [["to destination", rate("to")], ["to source", rate("from")]] },
  { id: "rate", title: "Connections per second", show: count, lines: [["opened", rate("opened")], ["ended", rate("closed")]] },
  { id: "connect", title: "Time to connect, native paths", show: micros, lines: [["median", value("connect50")], ["95 %", value("connect95")]] },
  { id: "rtt", title: "Round trip of connections", show: micros, lines: [["median", value("rtt50")], ["95 %", value("rtt95")]] },
];

// "M x y L x y ..."; a value that is not known lifts the pen.
function lineOf(points, x, y) {
  let path = "", down = false;
  points.forEach((point, i) => {
    if (point === null) { down = false; return; }
    path += `${down ? "L" : "M"} ${x(i).toFixed(1)} ${y(point).toFixed(1)} `;
    down = true;
  });
  return path;
}

function drawPlot(plot, samples) {
  const lines = plot.lines.map(([, of]) => samples.map((_, i) => of(samples, i)));
  const most = Math.max(...lines.flat().map((n) => n ?? 0)) || 1;
  const newest = samples.at(-1)?.at ?? 0;
  const seconds = Math.max(60, (newest - (samples[0]?.at ?? newest)) / 1000);
  const right = kSize.width - kSize.right, bottom = kSize.height - kSize.bottom;
  const x = (i) => right - ((newest - samples[i].at) / 1000 / seconds) * (right - kSize.left);
  const y = (n) => bottom - (n / most) * (bottom - kSize.top);
  const drawing = svg("svg", { viewBox: `0 0 ${kSize.width} ${kSize.height}`, width: kSize.width, height: kSize.height, "aria-hidden": "true" });
  drawing.append(
    svg("path", { class: "axis", fill: "none", d: `M ${kSize.left} ${kSize.top} V ${bottom} H ${right}` }),
    svgText(plot.show(most), { x: kSize.left - 6, y: kSize.top + 10, "text-anchor": "end", class: "quiet" }),
    svgText("0", { x: kSize.left - 6, y: bottom, "text-anchor": "end", class: "quiet" }),
    svgText(`${Math.round(seconds)} s ago`, { x: kSize.left, y: kSize.height - 5, class: "quiet" }),
    svgText("now", { x: right, y: kSize.height - 5, "text-anchor": "end", class: "quiet" }),
  );
  const caption = document.createElement("figcaption");
  caption.textContent = plot.title;
  lines.forEach((points, i) => {
    const shade = i === 0 ? "one" : "two";
    drawing.append(svg("path", { class: `series ${shade}`, d: lineOf(points, x, y) }));
    const newestValue = points.at(-1) ?? null;
    const word = document.createElement("span");
    word.className = `key ${shade}`;
    word.textContent = `${plot.lines[i][0]}: ${newestValue === null ? "-" : plot.show(newestValue)}`;
    caption.append(word);
  });
  const figure = document.createElement("figure");
  figure.dataset.plot = plot.id;
  figure.append(caption, drawing);
  return figure;
}

export function drawPlots(into, samples) {
  into.replaceChildren(...kPlots.map((plot) => drawPlot(plot, samples)));
}

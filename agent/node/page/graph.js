// SPDX-License-Identifier: Apache-2.0
// The drawing: one box per workload, in columns from clients to servers, one line per pair and path. Text only by textContent.
import { words } from "./data.js";

const kSvg = "http://www.w3.org/2000/svg";
const kBox = { width: 200, height: 44, gapX: 110, gapY: 22, margin: 16 };

export function svg(name, attributes, ...children) {
  const element = document.createElementNS(kSvg, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function svgText(text, attributes) {
  const element = svg("text", attributes);
  element.textContent = text;
  return element;
}

function titled(element, text) {
  const title = svg("title", {});
  title.textContent = text;
  element.append(title);
  return element;
}

// A column is one right of the rightmost that calls it. Depth first, from those that nobody calls: a line back to a box that is being
// visited closes a circle and moves nothing.
function columnsOf(graph) {
  const called = new Set(graph.edges.filter((edge) => edge.from !== edge.to).map((edge) => edge.to));
  const names = graph.boxes.map((box) => box.name).sort((a, b) => called.has(a) - called.has(b) || (a < b ? -1 : 1));
  const order = [], lines = [], visiting = new Map();
  const visit = (name) => {
    visiting.set(name, true);
    for (const { from, to } of graph.edges) {
      if (from !== name || visiting.get(to)) continue;
      lines.push({ from, to });
      if (!visiting.has(to)) visit(to);
    }
    visiting.set(name, false);
    order.unshift(name);
  };
  for (const name of names) if (!visiting.has(name)) visit(name);
  const column = new Map(names.map((name) => [name, 0]));
  for (const name of order) {
    for (const { from, to } of lines) if (from === name) column.set(to, Math.max(column.get(to), column.get(from) + 1));
  }
  return column;
}

function placesOf(graph) {
  const column = columnsOf(graph);
  const filled = [];
  const places = new Map();
  const byName = [...graph.boxes].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const box of byName) {
    const x = column.get(box.name);
    filled[x] = filled[x] ?? 0;
    places.set(box.name, { x: kBox.margin + x * (kBox.width + kBox.gapX), y: kBox.margin + filled[x] * (kBox.height + kBox.gapY) });
    filled[x] += 1;
  }
  return { places, columns: filled.length, rows: Math.max(1, ...filled.filter(Boolean)) };
}

function shorten(text, most) {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`;
}

function drawEdge(edge, places, offset) {
  const a = places.get(edge.from), b = places.get(edge.to);
  const y1 = a.y + kBox.height / 2 + offset, y2 = b.y + kBox.height / 2 + offset;
  const forward = b.x > a.x;
  const x1 = forward ? a.x + kBox.width : a.x + kBox.width / 2, x2 = forward ? b.x : b.x + kBox.width;
  const bend = forward ? (x2 - x1) / 2 : kBox.gapX / 2;
  const start = forward ? [x1, y1] : [a.x + kBox.width, y1];
  const from = `${start[0]} ${start[1]}`;
  const line = forward ? `C ${x1 + bend} ${y1} ${x2 - bend} ${y2}` : `C ${start[0] + bend} ${y1} ${x2 + bend} ${y2}`;
  const kind = edge.denied === edge.flows ? "denied" : edge.path;
  const group = svg("g", { class: kind });
  const tip = forward ? `${x2 - 9},${y2 - 5} ${x2},${y2} ${x2 - 9},${y2 + 5}` : `${x2 + 9},${y2 - 5} ${x2},${y2} ${x2 + 9},${y2 + 5}`;
  group.append(svg("path", { class: `edge ${kind}`, d: `M ${from} ${line} ${x2} ${y2}` }), svg("polygon", { class: "arrow", points: tip }));
  const denied = edge.denied ? `, ${edge.denied} denied` : "";
  return titled(group, `${edge.from} to ${edge.to}: ${words(edge.path)}, ${edge.flows} connections${denied}`);
}

function drawBox(box, place, chosen, choose) {
  const group = svg("g", {
    class: box.name === chosen ? "box chosen" : "box", transform: `translate(${place.x} ${place.y})`, tabindex: "0", role: "button",
    "aria-pressed": String(box.name === chosen), "aria-label": `${box.name}, ${box.flows} connections. ${box.identity}`, "data-name": box.name,
  });
  const slash = box.name.startsWith("spiffe://") ? -1 : box.name.indexOf("/");
  const name = box.name.slice(slash + 1), namespace = slash >= 0 ? box.name.slice(0, slash) : "not in the mesh";
  const below = box.identity.replace(/^spiffe:\/\/[^/]*\//, "") || namespace;
  group.append(
    svg("rect", { width: kBox.width, height: kBox.height, rx: 8 }),
    svgText(shorten(name, 24), { x: 12, y: 19 }),
    svgText(shorten(below, 24), { x: 12, y: 35, class: "quiet" }),
    svgText(String(box.flows), { x: kBox.width - 10, y: 35, class: "quiet", "text-anchor": "end" }),
  );
  group.addEventListener("click", () => choose(box.name));
  group.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(box.name);
  });
  return titled(group, box.identity ? `${box.name}\n${box.identity}` : box.name);
}

// Into the element `into`, which keeps the focus where it was. chosen: a box's name or ""; choose(name): one was picked.
export function drawGraph(into, graph, chosen, choose) {
  const focused = into.contains(document.activeElement) ? document.activeElement.dataset.name : undefined;
  const { places, columns, rows } = placesOf(graph);
  const width = 2 * kBox.margin + columns * kBox.width + Math.max(0, columns - 1) * kBox.gapX + kBox.gapX / 2;
  const height = 2 * kBox.margin + rows * kBox.height + (rows - 1) * kBox.gapY;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Service graph" });
  const drawn = new Map();
  for (const edge of graph.edges) {
    const pair = JSON.stringify([edge.from, edge.to]);
    const nth = drawn.get(pair) ?? 0;
    drawn.set(pair, nth + 1);
    drawing.append(drawEdge(edge, places, (nth % 2 ? -1 : 1) * Math.ceil(nth / 2) * 8));
  }
  for (const box of graph.boxes) drawing.append(drawBox(box, places.get(box.name), chosen, choose));
  if (graph.boxes.length === 0) drawing.append(svgText("No connections yet.", { x: kBox.margin, y: 36 }));
  into.replaceChildren(drawing);
  if (focused !== undefined) [...drawing.querySelectorAll(".box")].find((box) => box.dataset.name === focused)?.focus({ preventScroll: true });
}

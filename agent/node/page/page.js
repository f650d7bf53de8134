// SPDX-License-Identifier: Apache-2.0
// The node page: asks the agent for /status and /flows every two seconds and shows them. Reads only; nothing is kept but the theme.
import { accepts, graphOf, sampleOf } from "./data.js";
import { drawGraph } from "./graph.js";
import { drawPlots } from "./plots.js";
import { nameRoles, setText, showConnections, showDenials, showEdges, showHealth, showKernel } from "./tables.js";

const kPeriodMs = 2000;
const kPatienceMs = 8000;
const kMostFlows = 1000;
const kMostDenials = 50;
const kMostBoxes = 30;
const kMostSamples = 300; // ten minutes

const byId = (id) => document.getElementById(id);
const state = { status: null, flows: [], denials: [], samples: [], chosen: "", paused: false, since: null };

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(kPatienceMs), cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function wanted() {
  return { text: byId("search").value.trim().toLowerCase(), path: byId("path").value, verdict: byId("verdict").value,
    state: byId("state").value, workload: state.chosen };
}

function choose(name) {
  state.chosen = state.chosen === name ? "" : name;
  showGraph();
  showFlows();
}

function showGraph() {
  const graph = graphOf(state.flows, kMostBoxes);
  // What has left the drawing can no longer be let go of there.
  if (!graph.boxes.some((box) => box.name === state.chosen)) state.chosen = "";
  setText("graph-more", graph.left ? `${graph.left} more, less busy, are not drawn.` : "");
  drawGraph(byId("drawing"), graph, state.chosen, choose);
  showEdges(graph.edges);
}

function showFlows() {
  const filter = wanted();
  showConnections(state.flows.filter((flow) => accepts(flow, filter)), state.flows.length);
}

function show() {
  showHealth(state.status);
  showKernel(state.status);
  showGraph();
  showDenials(state.denials);
  showFlows();
  drawPlots(byId("charts"), state.samples);
}

function trouble(error) {
  state.since ??= new Date();
  const line = byId("trouble");
  line.hidden = false;
  const text = `No answer from the agent since ${state.since.toLocaleTimeString([], { hour12: false })}; what is shown is from before. (${error.message})`;
  if (line.textContent !== text) line.textContent = text;
}

async function look() {
  try {
    const [status, flows, denials] = await Promise.all([ask("status"), ask(`flows?limit=${kMostFlows}`), ask(`flows?limit=${kMostDenials}&verdict=denied`)]);
    if (state.paused) return;
    Object.assign(state, { status, flows, denials, since: null });
    state.samples.push(sampleOf(status, flows, Date.now()));
    if (state.samples.length > kMostSamples) state.samples.shift();
    byId("trouble").hidden = true;
    show();
    document.body.dataset.looks = String(Number(document.body.dataset.looks ?? 0) + 1);
  } catch (error) {
    trouble(error);
  }
}

async function follow() {
  // One look at a time, and none for a page that nobody sees.
  if (!state.paused && !document.hidden) await look();
  setTimeout(follow, kPeriodMs);
}

// -- theme

const kThemes = ["auto", "light", "dark"];

function storedTheme() {
  try {
    return localStorage.getItem("theme") ?? "auto";
  } catch {
    return "auto"; // storage is switched off: the theme lasts as long as the page
  }
}

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId("theme").textContent = `Theme: ${theme}`;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // As above.
  }
  return theme;
}

function begin() {
  nameRoles();
  let theme = setTheme(kThemes.includes(storedTheme()) ? storedTheme() : "auto");
  byId("theme").addEventListener("click", () => { theme = setTheme(kThemes[(kThemes.indexOf(theme) + 1) % kThemes.length]); });
  byId("pause").addEventListener("click", () => {
    state.paused = !state.paused;
    byId("pause").setAttribute("aria-pressed", String(state.paused));
    if (!state.paused) look();
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("input", showFlows);
  byId("filters").addEventListener("reset", () => {
    state.chosen = "";
    setTimeout(() => { showGraph(); showFlows(); }); // after the fields are empty
  });
  follow();
}

begin();

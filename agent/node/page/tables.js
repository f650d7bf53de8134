// SPDX-License-Identifier: Apache-2.0
// The tables and cards. Names come from pods, policies and peers: they become text nodes and never markup.
import { bytes, clock, endName, isDenied, isOpen, keyOf, micros, span, toOf, words } from "./data.js";

const kMostRows = 200; // of the connections' table: more is for the filters

const byId = (id) => document.getElementById(id);

export function setText(id, text) {
  const element = byId(id);
  if (element.textContent !== String(text)) element.textContent = text;
}

function small(text) {
  const element = document.createElement("small");
  element.textContent = text;
  return element;
}

function tagged(kind, text) {
  const element = document.createElement("span");
  element.className = `tag ${kind}`;
  element.textContent = text;
  return element;
}

// As cards a table keeps its roles only when they are said.
export function nameRoles() {
  for (const table of document.querySelectorAll("table")) {
    table.setAttribute("role", "table");
    table.querySelectorAll("thead, tbody").forEach((part) => part.setAttribute("role", "rowgroup"));
    table.querySelectorAll("thead tr").forEach((row) => row.setAttribute("role", "row"));
    table.querySelectorAll("th").forEach((head) => head.setAttribute("role", "columnheader"));
  }
}

// rows: [{key, cells}]; a cell is a text, or a list of texts and elements.
function fill(id, rows, nothing) {
  const table = byId(id);
  const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent);
  const made = rows.map(({ key, cells }) => {
    const row = document.createElement("tr");
    row.setAttribute("role", "row");
    row.dataset.key = key;
    cells.forEach((cell, i) => {
      const td = document.createElement("td");
      td.setAttribute("role", "cell");
      td.dataset.label = heads[i];
      const value = document.createElement("div");
      value.append(...(Array.isArray(cell) ? cell : [String(cell ?? "")]));
      td.append(value);
      row.append(td);
    });
    return row;
  });
  if (made.length === 0) {
    const row = document.createElement("tr");
    const td = row.insertCell();
    td.colSpan = heads.length;
    td.dataset.label = "";
    td.textContent = nothing;
    made.push(row);
  }
  table.tBodies[0].replaceChildren(...made);
}

// -- connections

function fromCell(flow) {
  return [endName(flow.source, flow.source_address), small(flow.source?.identity ?? ""), small(flow.source_address ?? "")];
}

function toCell(flow) {
  const cell = [endName(flow.destination, toOf(flow)), small(flow.destination?.identity ?? ""), small(toOf(flow))];
  if (flow.destination_service) cell.push(small(`service ${flow.destination_service}`));
  return cell;
}

function verdictCell(flow) {
  if (!flow.decision) return "";
  const cell = [tagged(isDenied(flow) ? "denied" : "", words(flow.decision.verdict)), small(words(flow.decision.reason))];
  if (flow.decision.policy) cell.push(small(`policy ${flow.decision.policy}${flow.decision.rule_index === undefined ? "" : `, rule ${flow.decision.rule_index}`}`));
  if (flow.dry_run) cell.push(small(`dry run: ${words(flow.dry_run.verdict)} ${flow.dry_run.policy ?? ""}`));
  return cell;
}

function latencyCell(flow) {
  const cell = [];
  if (flow.connect_latency_us) cell.push(small(`connect ${micros(flow.connect_latency_us)}`));
  if (flow.smoothed_rtt_us) cell.push(small(`round trip ${micros(flow.smoothed_rtt_us)}`));
  if (flow.retransmits) cell.push(small(`${flow.retransmits} sent again`));
  return cell;
}

export function showConnections(flows, known) {
  const rows = flows.slice(0, kMostRows).map((flow) => ({
    key: keyOf(flow),
    cells: [clock(flow.start_time), fromCell(flow), toCell(flow), [tagged(flow.path, words(flow.path)), small(words(flow.direction))], verdictCell(flow),
      isOpen(flow) ? "open" : [words(flow.close_reason), small(flow.close_detail ?? "")],
      `${bytes(flow.bytes_to_destination)} / ${bytes(flow.bytes_to_source)}`, latencyCell(flow)],
  }));
  fill("connections", rows, "No connection fits.");
  setText("flows-count", `${flows.length} of ${known} known here fit${flows.length > kMostRows ? `; the first ${kMostRows} are shown` : ""}.`);
}

export function showDenials(flows) {
  setText("denials-count", flows.length);
  fill("denied", flows.map((flow) => ({
    key: keyOf(flow),
    cells: [clock(flow.end_time ?? flow.start_time), fromCell(flow), toCell(flow),
      [tagged("denied", flow.decision.policy || "none matched"), small(flow.decision.rule_index === undefined ? "" : `rule ${flow.decision.rule_index}`)],
      [words(flow.decision.reason), small(words(flow.close_reason))]],
  })), "Nothing was denied lately.");
}

export function showEdges(edges) {
  fill("edges", edges.map((edge) => ({
    key: `${edge.from} ${edge.to} ${edge.path}`,
    cells: [edge.from, edge.to, [tagged(edge.path, words(edge.path))], edge.flows, edge.denied, bytes(edge.bytes)],
  })), "No connections yet.");
}

// -- the node

function card(id, title, good, text) {
  const item = document.createElement("li");
  item.dataset.check = id;
  const head = document.createElement("b");
  head.className = good ? "good" : "bad";
  head.textContent = `${good ? "✓" : "✗"} ${title}`;
  const detail = document.createElement("span");
  detail.textContent = text;
  item.append(head, detail);
  return item;
}

export function showHealth(status) {
  setText("node", status.node);
  const ready = byId("ready");
  const word = status.ready ? "ready" : `not ready, waiting for: ${status.waiting_for.join(", ")}`;
  if (ready.textContent !== word) ready.textContent = word;  // a live region: only news is read out
  ready.className = status.ready ? "good" : "bad";
  const { mesh, tunnel, enrolment, kernel, flows } = status;
  const tunnels = tunnel.connected;
  const attached = kernel.hooks.filter((hook) => hook.attached).length;
  const lost = flows.kernel_lost + flows.tunnel_lost;
  byId("checks").replaceChildren(
    card("agent", "Agent", true, `version ${status.version}, up ${span(status.uptime_seconds)}, same node: ${status.same_node}`),
    card("mesh", "Mesh", mesh.synced && mesh.connected && !mesh.error, `${mesh.source} ${mesh.from}${mesh.error ? `: ${mesh.error}` : mesh.connected ? "" : ": not connected"}`),
    card("tunnel", "Tunnel", !status.redirection || tunnels.some((one) => one.synced),
      tunnels.map((one) => `pid ${one.pid}: ${one.pods} pods${one.synced ? "" : ", not synced"}`).join("; ") || "none connected"),
    card("pods", "Pods", enrolment.failing === 0, `${enrolment.enrolled} captured, ${enrolment.waiting} waiting, ${enrolment.failing} failing`),
    card("hooks", "Kernel hooks", attached === kernel.hooks.length && kernel.unrepaired.length === 0,
      `${attached} of ${kernel.hooks.length} attached, ${kernel.repaired} put back`),
    card("records", "Flow records", lost === 0, `${flows.open} open, ${flows.opened} opened, ${lost} lost`),
  );
  setText("pods-count", status.pods.length);
  fill("pods", status.pods.map((pod) => ({
    key: pod.uid,
    cells: [`${pod.namespace}/${pod.name}`, [words(pod.state), small(pod.why ?? "")], pod.service_account ?? "", (pod.addresses ?? []).join(" ")],
  })), "No pods.");
}

export function showKernel({ kernel }) {
  setText("release", kernel.release);
  fill("features", kernel.features.map((one) => ({
    key: one.name,
    cells: [one.name, one.used ? "used" : one.available ? "available" : one.required ? "missing, required" : "missing", one.why_not ?? ""],
  })), "None.");
  fill("hooks", kernel.hooks.map((one) => ({
    key: `${one.hook} ${one.program}`,
    cells: [one.hook, `${one.program} (${one.program_id})`, one.attached ? (one.order.length > 1 ? `attached, of ${one.order.length} programs` : "attached") : "not attached"],
  })), "None.");
  fill("maps", kernel.maps.map((one) => ({ key: one.name, cells: [one.name, one.entries, bytes(one.bytes)] })), "None.");
}

// SPDX-License-Identifier: Apache-2.0
// What the page makes of the agent's JSON: names, sums, filters, rates. Pure functions; nothing here touches the document.

const kWindowMs = 12_000; // samples of native connections come every ten seconds: a shorter window would show teeth

export function endName(end, address) {
  if (end?.name) return `${end.namespace}/${end.name}`;
  return end?.identity || hostOf(address) || "unknown";
}

// A node of the graph: the workload where it is known, so that the pods of one deployment are one box.
export function workloadName(end, address) {
  if (end?.workload || end?.name) return `${end.namespace}/${end.workload || end.name}`;
  return end?.identity || hostOf(address) || "unknown";
}

function hostOf(address) {
  return address ? address.slice(0, address.lastIndexOf(":")) : "";
}

export const isDenied = (flow) => flow.decision?.verdict === "denied";
export const isOpen = (flow) => !flow.end_time;
export const keyOf = (flow) => `${flow.cookie}/${flow.start_time}`;
export const toOf = (flow) => flow.destination_address || flow.requested_address || "";

export function sourceOf(flow) { return workloadName(flow.source, flow.source_address); }
export function targetOf(flow) { return workloadName(flow.destination, toOf(flow)); }

// {boxes: [{name, identity, flows}], edges: [{from, to, path, flows, denied, bytes}], left: boxes beyond most}
export function graphOf(flows, most) {
  const boxes = new Map();
  const edges = new Map();
  for (const flow of flows) {
    const from = sourceOf(flow), to = targetOf(flow);
    for (const [name, end] of [[from, flow.source], [to, flow.destination]]) {
      const box = boxes.get(name) ?? { name, identity: "", flows: 0 };
      box.flows += 1;
      box.identity ||= end?.identity ?? "";
      boxes.set(name, box);
    }
    const key = JSON.stringify([from, to, flow.path]);
    const edge = edges.get(key) ?? { from, to, path: flow.path, flows: 0, denied: 0, bytes: 0 };
    edge.flows += 1;
    edge.denied += isDenied(flow) ? 1 : 0;
    edge.bytes += flow.bytes_to_destination + flow.bytes_to_source;
    edges.set(key, edge);
  }
  const busiest = [...boxes.values()].sort((a, b) => b.flows - a.flows || (a.name < b.name ? -1 : 1));
  const kept = busiest.slice(0, most);
  const names = new Set(kept.map((box) => box.name));
  return {
    boxes: kept,
    edges: [...edges.values()].filter((edge) => names.has(edge.from) && names.has(edge.to)),
    left: busiest.length - kept.length,
  };
}

export function accepts(flow, wanted) {
  if (wanted.path && flow.path !== wanted.path) return false;
  if (wanted.verdict && flow.decision?.verdict !== wanted.verdict) return false;
  if (wanted.state && (wanted.state === "open") !== isOpen(flow)) return false;
  if (wanted.workload && sourceOf(flow) !== wanted.workload && targetOf(flow) !== wanted.workload) return false;
  if (!wanted.text) return true;
  const words = [flow.source?.identity, flow.destination?.identity, endName(flow.source, flow.source_address), sourceOf(flow),
    endName(flow.destination, toOf(flow)), targetOf(flow), flow.source_address, flow.requested_address, flow.destination_address,
    flow.destination_service, flow.decision?.policy, flow.decision?.reason, flow.close_reason, flow.close_detail];
  return words.some((word) => word?.toLowerCase().includes(wanted.text));
}

// The part-th share of numbers, or null of none.
export function percentile(numbers, part) {
  if (numbers.length === 0) return null;
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
}

// One point of the plots: totals now, and the latencies of what is open or ended lately.
export function sampleOf(status, flows, nowMs) {
  const fresh = flows.filter((flow) => isOpen(flow) || Date.parse(flow.end_time) > nowMs - 60_000);
  const connects = fresh.map((flow) => flow.connect_latency_us).filter((us) => us > 0);
  const trips = fresh.map((flow) => flow.smoothed_rtt_us).filter((us) => us > 0);
  return {
    at: nowMs,
    uptime: status.uptime_seconds,
    to: status.flows.bytes_to_destination,
    from: status.flows.bytes_to_source,
    opened: status.flows.opened,
    closed: status.flows.closed,
    open: status.flows.open,
    connect50: percentile(connects, 0.5), connect95: percentile(connects, 0.95),
    rtt50: percentile(trips, 0.5), rtt95: percentile(trips, 0.95),
  };
}

// Per second, of a total, over the window that ends with sample i; null where nothing is known: the first samples, and an agent begun anew.
export function rateAt(samples, i, field) {
  let first = i;
  while (first > 0 && samples[i].at - samples[first - 1].at <= kWindowMs && samples[first - 1].uptime <= samples[first].uptime) first -= 1;
  const seconds = (samples[i].at - samples[first].at) / 1000;
  return seconds > 0 ? Math.max(0, samples[i][field] - samples[first][field]) / seconds : null;
}

// -- words

export function bytes(n) {
  let unit = 0;
  while (n >= 1000 && unit < 4) { n /= 1000; unit += 1; }
  return `${unit && n < 100 ? n.toFixed(1) : Math.round(n)} ${["B", "kB", "MB", "GB", "TB"][unit]}`;
}

export function micros(us) {
  if (us === undefined || us === null) return "";
  return us < 1000 ? `${Math.round(us)} µs` : us < 1e6 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1e6).toFixed(1)} s`;
}

export function span(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"]].find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / parts[0])} ${parts[1]}`;
}

export function clock(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleTimeString([], { hour12: false });
}

export const words = (text) => (text ?? "").replaceAll("_", " ");

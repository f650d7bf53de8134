# SPDX-License-Identifier: Apache-2.0
"""What the tests of the node page share: scripts that read it back, and an agent that tells lies."""
import http.server
import json
import pathlib
import threading

FILES = pathlib.Path(__file__).resolve().parents[2] / "agent/node/page"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript"}

# [[key, cell, cell ...]] of a table's rows; a cell's lines are joined by "|".
ROWS = """(id => [...document.querySelectorAll(`#${id} tbody tr[data-key]`)].map(row => [row.dataset.key, ...[...row.cells].map(cell =>
  [...cell.firstElementChild.childNodes].map(node => node.textContent).filter(Boolean).join("|"))]))"""

WIDER = """[...document.querySelectorAll("body, body *")].filter(e => !e.closest(".drawing svg") && !e.closest("thead") && !e.matches(".skip") &&
  e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.tagName + "#" + e.id + "." + e.className)
  .concat(document.documentElement.scrollWidth > document.documentElement.clientWidth ? ["document"] : [])"""

# Texts whose colour is too near to what lies behind them, WCAG 2.1 section 1.4.3.
PALE = """(() => {
  const parts = text => text.match(/[\\d.]+/g).map(Number);
  const light = text => { const [r, g, b] = parts(text).map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if ((parts(c)[3] ?? 1) > 0) return c; }
    return "rgb(255,255,255)"; };
  return [...document.querySelectorAll("body *")].filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && e.getClientRects().length)
    .map(e => { const s = getComputedStyle(e), a = light(e instanceof SVGElement ? s.fill : s.color), b = light(ground(e));
      return [e.tagName + "." + (e.className.baseVal ?? e.className), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.textContent.slice(0, 30)]; })
    .filter(([, contrast]) => contrast < 4.5);
})()"""


class FakeAgent:
    """Serves the page's files, without the policy that would hide a hole, and what the test says for /status and /flows. status None: 503."""

    def __init__(self, status, flows):
        self.status, self.flows = status, flows
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path = self.path.split("?")[0]
                file = FILES / (path.removeprefix("/") or "index.html")
                if path == "/status" and fake.status is None:
                    self.send_error(503)
                elif path in ("/status", "/flows"):
                    flows = [f for f in fake.flows if "verdict=denied" not in self.path or f["decision"]["verdict"] == "denied"]
                    self.answer("application/json", json.dumps(fake.status if path == "/status" else flows).encode())
                elif file.is_file():
                    self.answer(TYPES[file.suffix], file.read_bytes())
                else:
                    self.send_error(404)

            def answer(self, kind, body):
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def fake_status(name="node-1", pods=()):
    feature = {"name": name, "available": True, "used": True, "required": True, "why_not": name}
    hook = {"hook": name, "program": name, "program_id": 7, "attached": True, "order": [{"id": 7, "name": name, "ours": True}]}
    return {
        "node": name, "instance": "default", "version": "0.1.0", "uptime_seconds": 90, "ready": True, "waiting_for": [], "redirection": True,
        "same_node": "direct", "mesh": {"source": "file", "from": name, "synced": True, "connected": True, "tunnels": 1},
        "enrolment": {"enrolled": len(pods), "waiting": 0, "failing": 0}, "pods": list(pods),
        "tunnel": {"connected": [{"pid": 1, "synced": True, "pods": 2, "waiting": 0, "refused": 0}]},
        "flows": {"open": 1, "opened": 2, "closed": 1, "kernel_lost": 0, "tunnel_lost": 0, "bytes_to_destination": 5, "bytes_to_source": 5},
        "kernel": {"release": name, "features": [feature], "hooks": [hook], "unrepaired": [], "repaired": 0,
                   "maps": [{"name": name, "entries": 5, "bytes": 4096}]},
    }


def fake_flow(number, source, destination, path="direct", verdict="allowed", **more):
    def end(name):
        return {"identity": f"spiffe://cluster.local/ns/shop/sa/{name}", "proof": "kernel", "uid": name, "namespace": "shop", "name": name, "workload": name}
    return {"node": "node-1", "cookie": str(number), "direction": "outbound", "path": path, "source": end(source), "destination": end(destination),
            "source_address": "10.0.0.1:4000", "requested_address": "10.0.0.2:80", "destination_address": "10.0.0.2:80",
            "decision": {"verdict": verdict, "policy": "shop/p", "rule_index": 0, "reason": "denied_by_policy" if verdict == "denied" else "allowed"},
            "start_time": "2026-01-01T00:00:00Z", "bytes_to_destination": 5, "bytes_to_source": 5, "smoothed_rtt_us": 80, **more}

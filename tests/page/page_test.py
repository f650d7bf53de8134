# SPDX-License-Identifier: Apache-2.0
"""The node page in a real browser: with an agent that lies, for looks and safety; with the real one, for truth."""
import http.client
import json
import unittest

import apps
from agent import ADMIN
from browser import Browser, binary
from mesh import principal
from page_case import PALE, ROWS, WIDER, FakeAgent, fake_flow, fake_status
from waiting import eventually
from world import MeshCase

EVIL = '<img src=x onerror="window.injected=1"><script>window.injected=1</script>"\'>'
LONG = "a-name-without-a-break" * 12


class Looks(unittest.TestCase):
    def setUp(self):
        self.browser = Browser()
        self.addCleanup(self.browser.close)

    def show(self, status, flows):
        self.agent = FakeAgent(status, flows)
        self.addCleanup(self.agent.close)
        self.browser.open(self.agent.url)
        self.browser.wait("document.body?.dataset.looks > 0", "the page has looked")

    def rows(self, table):
        return self.browser.eval(f'{ROWS}("{table}")')

    def test_names_with_markup_stay_text(self):
        flow = fake_flow(1, EVIL, EVIL, verdict="denied", close_detail=EVIL, destination_service=EVIL, end_time="2026-01-01T00:00:01Z", close_reason=EVIL,
                         dry_run={"verdict": EVIL, "policy": EVIL}, source_address=EVIL)
        flow["decision"] |= {"policy": EVIL, "reason": EVIL}
        pod = {"uid": EVIL, "namespace": EVIL, "name": EVIL, "state": EVIL, "why": EVIL, "service_account": EVIL, "addresses": [EVIL]}
        status = fake_status(EVIL, [pod]) | {"ready": False, "waiting_for": [EVIL]}
        status["mesh"]["error"] = EVIL
        self.show(status, [flow])
        self.browser.wait("document.body.dataset.looks > 1", "a second look")
        self.assertIsNone(self.browser.eval("window.injected ?? null"))
        self.assertEqual(self.browser.eval("document.querySelectorAll('main img, main script').length"), 0)
        self.assertIn(EVIL, self.rows("connections")[0][2])
        self.assertIn(EVIL, self.rows("denied")[0][4])
        self.assertEqual(self.rows("pods")[0][1], f"{EVIL}/{EVIL}")
        self.assertEqual(self.browser.problems(), [])

    def test_no_size_and_no_theme_has_text_that_overflows_or_is_pale(self):
        flows = [fake_flow(i, f"client-{i % 7}", LONG if i == 3 else f"server-{i % 5}", path, verdict, close_reason="finished", close_detail=LONG)
                 for i, (path, verdict) in enumerate([(p, v) for p in ("direct", "tunnel", "passthrough", "plaintext") for v in ("allowed", "denied")] * 6)]
        pods = [{"uid": str(i), "namespace": "shop", "name": LONG, "state": "captured", "addresses": ["fd00::1", "10.0.0.1"]} for i in range(3)]
        self.show(fake_status("node-1", pods), flows)
        self.browser.eval("document.querySelectorAll('details').forEach(d => d.open = true)")
        for width, height in ((1400, 900), (768, 1024), (390, 844), (320, 568)):
            for theme in ("light", "dark"):
                with self.subTest(width=width, theme=theme):
                    self.browser.size(width, height)
                    self.browser.scheme(theme)
                    self.assertEqual(self.browser.eval(WIDER), [])
                    self.assertEqual(self.browser.eval(PALE), [])
        dark = self.browser.eval("getComputedStyle(document.body).backgroundColor")
        self.browser.eval("document.getElementById('theme').click()")
        self.assertNotEqual(self.browser.eval("getComputedStyle(document.body).backgroundColor"), dark, "light by the button on a dark system")

    def test_everything_is_reached_and_worked_by_keyboard(self):
        self.show(fake_status(), [fake_flow(1, "web", "store"), fake_flow(2, "web", "cache", "tunnel"), fake_flow(3, "batch", "store", verdict="denied")])
        reached = []
        for _ in range(60):
            self.browser.key("Tab")
            at = self.browser.eval("(e => e.dataset.name ?? e.id ?? e.tagName)(document.activeElement)")
            reached.append(at)
            if at == "shop/cache":
                self.browser.key("Enter")
            if at == "clear":
                break
        for stop in ("pause", "theme", "shop/web", "shop/store", "shop/batch", "search", "path", "verdict", "state", "clear"):
            self.assertIn(stop, reached)
        self.assertEqual([row[0].split("/")[0] for row in self.rows("connections")], ["2"], "the connections of what was chosen")
        self.browser.wait("document.body.dataset.looks > 2", "drawn anew")
        self.browser.key("Enter")
        self.browser.wait("document.querySelectorAll('#connections tbody tr').length === 3", "all of them after Clear")
        unnamed = self.browser.eval("""[...document.querySelectorAll('button, input, select, table, section, [role=button]')].filter(e => !(
          e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.labels?.length || e.textContent.trim())).map(e => e.outerHTML)""")
        self.assertEqual(unnamed, [])

    def test_an_agent_that_does_not_answer_is_said_and_the_page_recovers(self):
        self.show(fake_status(), [fake_flow(1, "web", "store")])
        status, self.agent.status = self.agent.status, None
        self.browser.wait("!document.getElementById('trouble').hidden && /No answer/.test(document.getElementById('trouble').textContent)")
        self.assertEqual(len(self.rows("connections")), 1, "what was known stays")
        self.agent.status = status
        self.browser.wait("document.getElementById('trouble').hidden")

    def test_a_thousand_flows_in_circles_are_drawn_in_bounded_time(self):
        flows = [fake_flow(i, f"w{i % 60}", f"w{(i * 7 + 1) % 60}", "tunnel") for i in range(1000)]
        self.show(fake_status(), flows)
        self.assertEqual(self.browser.eval("document.querySelectorAll('.box').length"), 30)
        self.assertEqual(self.browser.eval("document.querySelectorAll('#connections tbody tr').length"), 200)
        self.assertEqual(self.browser.eval("document.getElementById('graph-more').textContent"), "30 more, less busy, are not drawn.")
        took = self.browser.eval("(async () => { const { graphOf } = await import('./data.js'); const { drawGraph } = await import('./graph.js');"
                                 "const flows = await (await fetch('flows')).json(); const begin = performance.now();"
                                 "drawGraph(document.createElement('div'), graphOf(flows, 30), '', () => 0); return performance.now() - begin; })()")
        self.assertLess(took, 1000)


class Truth(MeshCase):
    settings = {"by_agent": True, "agent": {"same-node-mode": "direct", "flows-sample-period": "1s"}}

    def setUp(self):
        binary()  # or skipped, before a world is made
        super().setUp()

    def prepare(self):
        w = self.world
        for pod in (w.pods.near, w.pods.server, w.pods.plain):
            w.server(pod, 7000)
        w.server(w.pods.near, 7001)
        w.mesh.service("web", 1, [w.pods.server], {"80": 7000})
        w.mesh.policy("no-7001", "Deny", [[[{"principals": [principal(w.pods.client)]}], [{"destinationPorts": [7001]}]]], pods=[w.pods.near])

    def raw(self, method, path, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", ADMIN, timeout=5)
        connection.sock = self.world.lab.nodes["n1"].socket()
        connection.sock.settimeout(5)
        connection.sock.connect(("127.0.0.1", ADMIN))
        try:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            return answer
        finally:
            connection.close()

    def test_the_page_says_what_status_and_flows_say(self):
        w = self.world
        agent = w.agents["n1"]
        eventually(lambda: agent.status()["tables"]["verdict_pairs"] >= 2, lambda: agent.status()["tables"])
        self.assertEqual(apps.call(w.pods.client, w.pods.near.v4, 7000), "answered")
        self.assertEqual(apps.call(w.pods.client, w.pods.near.v4, 7001), "refused")
        self.assertEqual(apps.call(w.pods.client, w.pods.plain.v4, 7000), "answered")
        apps.ask(w.connect(w.pods.client, "10.77.99.1", 80))
        agent.wait_flows(1, path="tunnel")
        agent.wait_flows(1, path="passthrough", close_reason="finished")
        browser = w.keep(Browser(w.lab.nodes["n1"]))
        browser.open(f"http://127.0.0.1:{ADMIN}/")

        def key(flow):
            return f"{flow['cookie']}/{flow['start_time']}"

        def same():
            flows = {key(flow) for flow in agent.flows()}
            return browser.eval("document.body?.dataset.looks > 0") and {row[0] for row in browser.eval(f'{ROWS}("connections")')} == flows
        eventually(same, lambda: (browser.eval("document.body.innerText"), browser.problems(), agent.flows()), 15)
        browser.eval("document.getElementById('pause').click()")
        status, flows = agent.status(), {key(flow): flow for flow in agent.flows()}
        rows = {row[0]: row[1:] for row in browser.eval(f'{ROWS}("connections")')}
        self.assertGreaterEqual({flow["path"] for flow in flows.values()}, {"direct", "tunnel", "passthrough"})
        for name, flow in flows.items():
            _, source, destination, path, verdict, _, amount, _ = rows[name]
            self.assertIn(flow["source"]["identity"], source)
            self.assertIn(flow["source_address"], source)
            self.assertIn(flow.get("destination_address", flow["requested_address"]), destination)
            self.assertIn(flow.get("destination_service", ""), destination)
            self.assertEqual(path, f"{flow['path']}|{flow['direction']}")
            self.assertTrue(verdict.startswith(flow["decision"]["verdict"].replace("_", " ")), verdict)
            self.assertEqual(amount, f"{flow['bytes_to_destination']} B / {flow['bytes_to_source']} B")
        denied = [flow for flow in flows.values() if flow["decision"]["verdict"] == "denied"]
        self.assertEqual([(row[0], row[4], row[5].split("|")[0]) for row in browser.eval(f'{ROWS}("denied")')],
                         [(key(flow), "default/no-7001|rule 0", "denied by policy") for flow in denied])
        self.assertEqual(len(denied), 1)
        self.assertEqual([(row[0], row[1], row[2], row[4]) for row in browser.eval(f'{ROWS}("pods")')],
                         [(pod["uid"], f"{pod['namespace']}/{pod['name']}", pod["state"], " ".join(pod.get("addresses", []))) for pod in status["pods"]])
        self.assertEqual(browser.eval("document.getElementById('ready').textContent"), "ready")
        self.assertEqual(browser.eval("document.getElementById('node').textContent"), status["node"])
        self.assertEqual([row[0] for row in browser.eval(f'{ROWS}("features")')], [one["name"] for one in status["kernel"]["features"]])
        self.assertEqual([row[0] for row in browser.eval(f'{ROWS}("hooks")')], [f"{one['hook']} {one['program']}" for one in status["kernel"]["hooks"]])
        tunnel = status["tunnel"]["connected"][0]
        self.assertIn(f"pid {tunnel['pid']}: {tunnel['pods']} pods", browser.eval("document.querySelector('[data-check=tunnel]').textContent"))
        self.assertEqual(set(browser.eval("[...document.querySelectorAll('.box')].map(e => e.dataset.name)")) >= {"default/client", "default/near", "default/server"}, True)

        browser.eval("(e => { e.value = 'direct'; e.dispatchEvent(new Event('input', {bubbles: true})); })(document.getElementById('path'))")
        self.assertEqual({row[0] for row in browser.eval(f'{ROWS}("connections")')}, {name for name, flow in flows.items() if flow["path"] == "direct"})
        self.assertEqual(browser.problems(), [])
        self.assertEqual([url for url in browser.requested() if not url.startswith((f"http://127.0.0.1:{ADMIN}/", "data:,"))], [], "nothing from elsewhere")

    def test_web_pages_of_others_neither_read_nor_change_anything(self):
        answer = self.raw("GET", "/")
        self.assertEqual((answer.status, answer.getheader("x-content-type-options")), (200, "nosniff"))
        self.assertIn("default-src 'none'", answer.getheader("content-security-policy"))
        self.assertEqual(self.raw("GET", "/status", Host="evil.example").status, 403)
        self.assertEqual(self.raw("GET", "/status", Host="localhost:8000").status, 200)
        self.assertEqual(self.raw("POST", "/quitquitquit", Origin="http://evil.example").status, 403)
        self.assertEqual(self.raw("POST", "/logging?level=info", Origin="null").status, 403)
        self.assertEqual(self.raw("POST", "/logging?level=info").status, 200)
        self.assertEqual(self.raw("GET", "/flows?verdict=nonsense").status, 400)
        self.assertEqual(json.loads(self.world.agents["n1"].http("/flows?verdict=denied")[1]), [])
        self.assertIn("/flows", self.world.agents["n1"].http("/help")[1])

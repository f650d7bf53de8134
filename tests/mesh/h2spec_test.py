# SPDX-License-Identifier: Apache-2.0
"""h2spec, the conformance suite of HTTP/2, against 15008. It shows no client certificate, so a relay in its pod puts mutual TLS
under its bytes and changes none of them."""
import os
import pathlib
import select
import socket
import subprocess
import threading
import unittest
import xml.etree.ElementTree

import apps
import hbone
from world import MeshCase

H2SPEC = os.environ.get("WARREN_H2SPEC") or str(pathlib.Path(__file__).resolve().parents[2] / "build/go/h2spec")

# Cases that are not held, by the beginning of their name, with the reason.
NO_BODY = "wants a DATA frame in the answer; what is not CONNECT is answered 400 without a body (contract 4.5)"
IGNORED = "nghttp2 drops frames on streams that are closed, as RFC 9113 5.1 lets an endpoint do that keeps no state of them; no byte of them gets anywhere"
EXCLUDED = {
    "generic/2: Sends a WINDOW_UPDATE frame on half-closed (remote) stream": NO_BODY,
    "generic/2: Sends a PRIORITY frame on half-closed (remote) stream": NO_BODY,
    "http2/4.2: Sends a large size HEADERS frame that exceeds": "it takes 20 KB for too large; our SETTINGS_MAX_FRAME_SIZE is 1 MiB (contract 4.2)",
    "http2/5.1: closed: Sends a DATA frame after sending RST_STREAM frame": IGNORED,
    "http2/5.1: closed: Sends a HEADERS frame after sending RST_STREAM frame": IGNORED,
    "http2/5.1: closed: Sends a DATA frame": IGNORED,
    "http2/5.1: closed: Sends a HEADERS frame": IGNORED,
    "http2/5.1.1: Sends stream identifier that is numerically smaller than previous": IGNORED,
    "http2/5.1.2: Sends HEADERS frames that causes their advertised concurrent": "each request is answered 400 at once, so the limit is never reached; "
                                                                             "zt_h2_test reaches it",
}
# Cases that hold or not with the moment in which h2spec's second frame arrives. What is not CONNECT is answered 400 when its HEADERS are read,
# and a body that nobody will read is declined by RST_STREAM with NO_ERROR (RFC 9113 8.1). A frame that comes with the HEADERS is judged; one
# that comes after the answer has left is for a closed stream, and is dropped as above. All of them fail when each frame waits 30 ms.
RACES = (
    "http2/5.1: half closed (remote): Sends a DATA frame",
    "http2/5.1: half closed (remote): Sends a HEADERS frame",
    "http2/6.1: Sends a DATA frame on the stream that is not in \"open\" or \"half-closed (local)\" state",
    "http2/6.1: Sends a DATA frame with invalid pad length",
    "http2/6.9: Sends a WINDOW_UPDATE frame with a flow control window increment of 0 on a stream",
    "http2/6.9.1: Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream",
    "http2/8.1: Sends a second HEADERS frame without the END_STREAM flag",
    "http2/8.1.2.1: Sends a HEADERS frame that contains a pseudo-header field as trailers",
    "http2/8.1.2.6: Sends a HEADERS frame with the \"content-length\" header field which does not equal the DATA frame payload length",
    "http2/8.1.2.6: Sends a HEADERS frame with the \"content-length\" header field which does not equal the sum of the multiple DATA frames",
)


class TlsRelay:
    """Listens on the pod's loopback; each connection becomes one of TLS to a peer."""

    def __init__(self, pod, ip, tls):
        self.pod, self.ip, self.tls = pod, ip, tls
        self.listener = pod.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(near,), daemon=True).start()

    def _relay(self, near):
        try:
            with near, self.tls.wrap_socket(apps.connect(self.pod, self.ip, 15008)) as far:
                far.settimeout(30)
                while True:
                    ready = [far] if far.pending() else select.select([near, far], [], [], 30)[0]
                    if not ready:
                        return None
                    for one in ready:
                        data = one.recv(1 << 16)
                        if not data:
                            return self._last_words(near)
                        try:
                            (far if one is near else near).sendall(data)
                        except OSError:
                            if one is near:  # the peer has gone, but has said why before
                                while more := far.recv(1 << 16):
                                    near.sendall(more)
                                return self._last_words(near)
                            return None
        except OSError:
            return None

    @staticmethod
    def _last_words(near):
        """Closing with bytes unread would reset the connection, and what was sent on it would be lost."""
        near.shutdown(socket.SHUT_WR)
        near.settimeout(5)
        while near.recv(1 << 16):
            pass

    def close(self):
        self.listener.close()


@unittest.skipUnless(os.access(H2SPEC, os.X_OK), f"{H2SPEC} is not there; tests/mesh/peers.sh installs it")
class H2spec(MeshCase):
    def test_the_inbound_port_holds_the_conformance_suite(self):
        w = self.world
        tls = hbone.context(w.ca, w.ca.issue(w.pods.client.identity, "h2spec"))
        relay = w.keep(TlsRelay(w.pods.plain, w.pods.server.v4, tls))
        report = w.folder / "h2spec.xml"
        out = ""
        with w.pods.plain.inside():
            process = subprocess.Popen([H2SPEC, "-h", "127.0.0.1", "-p", str(relay.port), "-o", "2", "-j", str(report)], stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, text=True)
        out, _ = process.communicate(timeout=90)
        cases = xml.etree.ElementTree.parse(report).getroot().iter("testcase")
        failed, excluded, raced, passed = [], [], [], 0
        for case in cases:
            name = f"{case.get('package')}: {case.get('classname')}"
            if case.find("failure") is None and case.find("error") is None:
                passed += case.find("skipped") is None
            elif any(name.startswith(known) for known in EXCLUDED):
                excluded.append(name)
            elif name.startswith(RACES):
                raced.append(name)
            else:
                failed.append(name)
        self.assertEqual(failed, [], out[-6000:])
        # One of them is a matter of which of two frames arrives first.
        self.assertGreaterEqual(len(excluded), len(EXCLUDED) - 1, "an exclusion that is not needed any more")
        self.assertGreater(passed + len(raced), 130)
        self.assertTrue(w.n2.running())

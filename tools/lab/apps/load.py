# SPDX-License-Identifier: Apache-2.0
"""The load generator: load.py URL RATE FILE. RATE pages a second, each over a connection of its own; what came of them in FILE, as JSON.

A page counts as failed unless it is whole: a refused or reset connection, a wrong status, a wrong page."""
import collections
import datetime
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request

THREADS = 8
url, rate, path = sys.argv[1], float(sys.argv[2]), sys.argv[3]
lock = threading.Lock()
ok, failed, reasons, worst, when = 0, 0, collections.Counter(), 0.0, collections.deque(maxlen=20)


def page():
    """Nothing, or what was wrong."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return "" if len(json.load(answer)["products"]) == 3 else "not the page"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode(errors='replace')}"
    except Exception as error:  # pylint: disable=broad-except
        return f"{type(error).__name__}: {error}"


def work(number):
    global ok, failed, worst
    due = time.monotonic() + number / rate
    while True:
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due + THREADS / rate, time.monotonic() - 1)
        begin = time.monotonic()
        wrong = page()
        with lock:
            ok, failed, worst = ok + (not wrong), failed + bool(wrong), max(worst, time.monotonic() - begin)
            if wrong:
                reasons[wrong[:300]] += 1
                when.append(datetime.datetime.now(datetime.timezone.utc).isoformat())


for i in range(THREADS):
    threading.Thread(target=work, args=(i,), daemon=True).start()
while True:
    with lock:
        text = json.dumps({"ok": ok, "failed": failed, "reasons": dict(reasons.most_common(5)), "worst_s": round(worst, 3), "when": list(when)})
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(path + ".new", path)
    time.sleep(0.1)

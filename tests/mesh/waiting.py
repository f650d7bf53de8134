# SPDX-License-Identifier: Apache-2.0
"""Waiting on conditions, never for a time."""
import time

POLL_S = 0.01
# What takes so long has failed, however busy the machine is. A wait that ends well costs nothing of it.
PATIENCE_S = 30.0


class Stopwatch:
    """Seconds from its making, without those in which somebody on the machine waited for a processor: a limit of the product is measured where
    the machine has the time for it, and never fails where others take it. Without pressure accounting in the kernel: wall time."""

    def __init__(self):
        self.begin, self.starved = time.monotonic(), self._starved_s()

    def seconds(self):
        return time.monotonic() - self.begin - (self._starved_s() - self.starved)

    @staticmethod
    def _starved_s():
        try:
            with open("/proc/pressure/cpu", encoding="ascii") as file:
                return int(file.readline().rpartition("=")[2]) / 1e6
        except OSError:
            return 0.0


def eventually(condition, what, deadline=PATIENCE_S):
    """The first true value of condition(). AssertionError from it counts as not yet."""
    end = time.monotonic() + deadline
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except AssertionError as error:
            last = error
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline} s: {what() if callable(what) else what}; last: {last!r}")
        time.sleep(POLL_S)

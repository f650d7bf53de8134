# SPDX-License-Identifier: Apache-2.0
"""Waiting on conditions, never for a time."""
import time

POLL_S = 0.01
# Long enough for a machine whose cores are all busy; what comes in time costs nothing of it.
PATIENCE_S = 20.0


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

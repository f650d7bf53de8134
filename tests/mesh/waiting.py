# SPDX-License-Identifier: Apache-2.0
"""Waiting on conditions, never for a time."""
import time

POLL_S = 0.01


def eventually(condition, what, deadline=5.0):
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

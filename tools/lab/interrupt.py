# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C, SIGTERM and SIGHUP end a command of the lab where it waits for something or is about to begin something, and nowhere else: so what is
being made is made whole and known to the take-down. An exception from a signal's handler could come between a fork and the name of its child.

Every wait asks check(), and every wait has a deadline."""
import contextlib
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_state = {"arrived": False, "deaf": False}


def listen():
    for number in SIGNALS:
        signal.signal(number, lambda *_: _state.update(arrived=True))


def check():
    """KeyboardInterrupt, once, when one of them has come."""
    if _state["arrived"] and not _state["deaf"]:
        _state["arrived"] = False
        raise KeyboardInterrupt


@contextlib.contextmanager
def deaf():
    """What is being taken down is taken down whole."""
    before, _state["deaf"] = _state["deaf"], True
    try:
        yield
    finally:
        _state["deaf"] = before

# SPDX-License-Identifier: Apache-2.0
"""Network namespaces of a test: made by name, entered by thread, removed when the test ends however it ends.

A thread of the test that is inside() a namespace makes its sockets and processes there; the sockets stay there when it leaves. So servers
and clients of a test are plain threads, and only real programs are processes.
"""
import contextlib
import ctypes
import os
import signal
import socket
import subprocess

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, "setns: " + os.strerror(number))


def ip_batch(lines, netns=None):
    """Many ip(8) commands in one process; those that begin with -6 after the others in a second one, as a batch has one family."""
    for family, part in (([], [line for line in lines if not line.startswith("-6 ")]),
                         (["-6"], [line.removeprefix("-6 ") for line in lines if line.startswith("-6 ")])):
        if not part:
            continue
        command = ["ip", *family, *(["-n", netns] if netns else []), "-batch", "-"]
        done = subprocess.run(command, input="\n".join(part) + "\n", text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}\n" + "\n".join(part))


class Netns:
    """One named namespace that exists already."""

    def __init__(self, netns):
        self.netns = netns
        self.fd = os.open(f"/run/netns/{netns}", os.O_RDONLY | os.O_CLOEXEC)
        self.processes = []

    @contextlib.contextmanager
    def inside(self):
        _setns(self.fd)
        try:
            yield self
        finally:
            _setns(_home)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
        with self.inside():
            return socket.socket(family, kind, protocol)

    def run(self, *argv, text=None, deadline=30, check=True):
        """A command to its end; its stdout. text goes to its stdin."""
        with self.inside():
            process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = process.communicate(text, timeout=deadline)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{' '.join(argv)} did not end within {deadline} s: {out}{err}") from None
        if check and process.returncode != 0:
            raise AssertionError(f"{' '.join(argv)} ended with {process.returncode}: {out}{err}")
        return out

    def start(self, *argv, env=None, log=os.devnull):
        """A program that runs until the namespace is closed. It dies with the test's process too."""
        with open(log, "ab") as out, self.inside():
            process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, preexec_fn=_die_with_parent)
        self.processes.append(process)
        return process

    def sysctl(self, name, value):
        with self.inside(), open("/proc/sys/" + name.replace(".", "/"), "w", encoding="ascii") as file:
            file.write(value)

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
        os.close(self.fd)


def _die_with_parent():
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG; of the thread that started it, which is the test's

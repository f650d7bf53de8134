# SPDX-License-Identifier: Apache-2.0
"""What a lab asks of the kernel: namespaces, cgroups, programs inside them, counters. Single-threaded: setns is the caller's thread's."""
import contextlib
import ctypes
import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import interrupt

NEWNS, NEWIPC, NEWNET = 0x00020000, 0x08000000, 0x40000000
PR_SET_PDEATHSIG = 1
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
NETNS = pathlib.Path("/run/netns")
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """One sentence for the user, with the fix."""


def _check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def setns(fd):
    _check(_libc.setns(fd, NEWNET), "setns")


def unshare(flags):
    _check(_libc.unshare(flags), "unshare")


def mount(source, target, kind=None, flags=0):
    _check(_libc.mount(str(source).encode(), str(target).encode(), kind and kind.encode(), flags, None), f"mount {target}")


def eventually(condition, what, deadline):
    """The first true value of condition(). what: text, or a function for it, told when the deadline passes."""
    end = time.monotonic() + deadline
    while True:
        interrupt.check()
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise LabError(f"not within {deadline:g} s: {what() if callable(what) else what}")
        time.sleep(0.01)


def run(command, text=None, deadline=60, check=True, cgroup=None):
    """A command to its end. In a session of its own, so that a Ctrl-C at the terminal is for the lab alone, and ended with the lab's own process;
    in a cgroup, for one with children."""
    interrupt.check()
    if cgroup:
        cgroup.mkdir(parents=True, exist_ok=True)

    def prepare():
        _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
        if cgroup:
            enter(cgroup, None)
    try:
        done = subprocess.run(command, input=text, text=True, capture_output=True, check=False, timeout=deadline, start_new_session=True,
                              preexec_fn=prepare)
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(map(str, command))} did not end within {deadline} s") from None
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(map(str, command))} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done


def ip_batch(lines, netns=None):
    """Many ip(8) commands in one process for each family; those of IPv6 begin with -6."""
    for family, part in (([], [line for line in lines if not line.startswith("-6 ")]),
                         (["-6"], [line.removeprefix("-6 ") for line in lines if line.startswith("-6 ")])):
        if part:
            run(["ip", *family, *(["-n", netns] if netns else []), "-batch", "-"], text="\n".join(part) + "\n")


# -- network namespaces

@contextlib.contextmanager
def inside(netns):
    """The calling thread is in the namespace of this name; None: where it is."""
    if netns is None:
        yield
        return
    with open("/proc/self/ns/net", "rb") as home, open(NETNS / netns, "rb") as there:
        setns(there.fileno())
        try:
            yield
        finally:
            setns(home.fileno())


def connect(netns, address, deadline=5.0):
    with inside(netns):
        made = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    made.settimeout(deadline)
    try:
        made.connect(address)
    except BaseException:
        made.close()
        raise
    return made


def http_get(netns, port, path, method="GET", host="127.0.0.1", deadline=5.0):
    """(status, text)."""
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=deadline)) as connection:
        connection.sock = connect(netns, (host, port), deadline)
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def sysctl(netns, name, value):
    with inside(netns), open("/proc/sys/" + name.replace(".", "/"), "w", encoding="ascii") as file:
        file.write(value)


def link_bytes(netns, link):
    """(received, sent) bytes of a link as the kernel counted them."""
    with inside(netns), open("/proc/net/dev", encoding="ascii") as table:
        for line in table:
            name, _, numbers = line.partition(":")
            if name.strip() == link:
                values = numbers.split()
                return int(values[0]), int(values[8])
    raise LabError(f"{netns} has no link {link}")


# -- cgroups

def cgroup2_root():
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        for line in mounts:
            if " - cgroup2 " in line:
                return pathlib.Path(line.split()[4])
    return None


def populated(cgroup):
    try:
        return "populated 1" in (cgroup / "cgroup.events").read_text()
    except FileNotFoundError:
        return False


def end_cgroup(cgroup, deadline=60.0):
    """Kills every process below it and removes it. Only what was started there is there. Again and again, for a child of a lab that was killed
    may enter it only now."""
    def removed():
        if populated(cgroup):
            with contextlib.suppress(FileNotFoundError):
                (cgroup / "cgroup.kill").write_text("1")
        for folder, _, _ in os.walk(cgroup, topdown=False):
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                pass
            except OSError:
                return False  # busy: processes are on their way out
        return not cgroup.exists()
    eventually(removed, f"the processes of {cgroup} end and it is removed", deadline)


# -- programs

def start(command, cgroup, netns, log, *, env=None, pod=None, user=None, keep=()):
    """A program in its cgroup and namespace, in a session of its own. pod: folder with resolv.conf for a mount and IPC namespace of its own;
    keep: descriptors that it inherits."""
    interrupt.check()
    cgroup.mkdir(parents=True, exist_ok=True)
    ids = ids_of(user)
    try:
        with open(log, "ab") as out:
            return subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd="/",
                                    env=env or {"PATH": os.environ["PATH"]}, start_new_session=True, pass_fds=keep,
                                    preexec_fn=lambda: enter(cgroup, netns, pod, ids))
    except (OSError, subprocess.SubprocessError) as error:
        raise LabError(f"{command[0]} cannot be started: {error}") from None


def ids_of(user):
    if user is None:
        return None
    import pwd  # pylint: disable=import-outside-toplevel
    found = pwd.getpwnam(user)
    return found.pw_uid, found.pw_gid


def enter(cgroup, netns, pod=None, ids=None):
    """The calling process moves there for good."""
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
    if netns:
        with open(NETNS / netns, "rb") as there:
            setns(there.fileno())
    if pod:
        unshare(NEWNS | NEWIPC)
        mount("none", "/", flags=MS_REC | MS_PRIVATE)
        mount("warren-lab", "/dev/shm", "tmpfs")
        os.chmod("/dev/shm", 0o1777)
        mount(pod / "resolv.conf", "/etc/resolv.conf", flags=MS_BIND)
    if ids:
        os.setgroups([])
        os.setgid(ids[1])
        os.setuid(ids[0])


def remove_tree(folder):
    shutil.rmtree(folder, ignore_errors=True)

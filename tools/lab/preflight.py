# SPDX-License-Identifier: Apache-2.0
"""Before anything is made: what is missing, each in one sentence with the fix."""
import os
import pathlib
import platform
import shutil
import socket

import kernel
import shop
from kernel import LabError

INSTALL = "tools/install_packages.sh installs it"
PROGRAMS = ("warren-controller", "warren-agent", "warren-ztunnel", "warren")
OLDEST = (5, 15)


def check(binaries):
    if os.geteuid() != 0:
        raise LabError("a lab makes network namespaces and loads kernel programs, which needs root; run it with sudo")
    version = tuple(int("".join(filter(str.isdigit, part)) or 0) for part in platform.release().split(".")[:2])
    if version < OLDEST:
        raise LabError(f"this kernel is {platform.release()}; Warren needs {'.'.join(map(str, OLDEST))} or newer: boot a newer one")
    if not pathlib.Path("/sys/kernel/btf/vmlinux").exists():
        raise LabError("this kernel tells no types (/sys/kernel/btf/vmlinux); boot one built with CONFIG_DEBUG_INFO_BTF=y, as Debian's are")
    _cgroups()
    _bpf_mount()
    for program in PROGRAMS:
        if not os.access(binaries / program, os.X_OK):
            raise LabError(f"{binaries / program} is missing; build it: cmake --preset release && cmake --build --preset release")
    for program, package in (("ip", "iproute2"), ("nginx", "nginx-light"), ("redis-server", "redis-server"), ("setpriv", "util-linux")):
        if not shutil.which(program):
            raise LabError(f"the program {program} (Debian package {package}) is missing; {INSTALL}")
    if not shop.postgres_programs():
        raise LabError(f"PostgreSQL (Debian package postgresql) is missing; {INSTALL}")
    if not pathlib.Path("/etc/resolv.conf").exists():
        raise LabError("/etc/resolv.conf is missing, so pods cannot have one of their own in its place; make it: touch /etc/resolv.conf")
    _veth()


def _cgroups():
    root = kernel.cgroup2_root()
    if root is None:
        raise LabError("no cgroup2 is mounted; mount it: mount -t cgroup2 none /sys/fs/cgroup")
    probe = root / f"warren-lab-probe-{os.getpid()}"
    try:
        probe.mkdir()
        try:
            if not (probe / "cgroup.kill").exists():
                raise LabError("this kernel cannot end a cgroup as a whole (cgroup.kill); boot Linux 5.14 or newer")
        finally:
            probe.rmdir()
    except OSError as error:
        raise LabError(f"no cgroup can be made in {root} ({error.strerror}); in a container, run it privileged and with --cgroupns=host") from None


def _bpf_mount():
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        kinds = [line.rpartition(" - ")[2].split()[0] for line in mounts if line.split()[4] == "/sys/fs/bpf"]
    if not kinds or kinds[-1] != "bpf":
        raise LabError("no BPF file system is mounted at /sys/fs/bpf; mount it: mount -t bpf bpf /sys/fs/bpf")


def _veth():
    """Tried, for modules and permissions are seen in no other way; in a namespace that goes with the command, however that ends."""
    made = kernel.run(["unshare", "--net", "ip", "link", "add", "probe0", "type", "veth", "peer", "name", "probe1"], check=False)
    if made.returncode == 0:
        return
    why = made.stderr.strip()
    if why.startswith("unshare"):
        raise LabError(f"no network namespace can be made ({why}); it needs CONFIG_NET_NS and all of root's capabilities")
    raise LabError(f"no veth link can be made ({why}); load its module: modprobe veth")


def listeners(first, count):
    """Sockets bound on the machine's loopback, at first and above; first 0: at any."""
    if not 0 <= first <= 65536 - count:
        raise LabError(f"--page-port {first} is no port; use 1 to {65536 - count}, or leave it out")
    made = []
    try:
        for i in range(count):
            made.append(socket.socket())
            made[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port = first + i if first else 0
            try:
                made[-1].bind(("127.0.0.1", port))
                made[-1].listen(64)
            except OSError as error:
                raise LabError(f"port {port} of 127.0.0.1 cannot be had for a node page ({error.strerror}); "
                               "choose another with --page-port, or leave it out for one that is free") from None
    except BaseException:
        for listener in made:
            listener.close()
        raise
    return made

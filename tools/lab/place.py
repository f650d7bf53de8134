# SPDX-License-Identifier: Apache-2.0
"""Everything that a lab of one name owns in the kernel and in the file system, found by its name alone: so a lab can be taken down by another
process than the one that brought it up, and however that one ended."""
import os
import pathlib
import re

import kernel
from kernel import LabError

BASE = pathlib.Path("/run/warren-lab")
PINS = pathlib.Path("/sys/fs/bpf/warren")


class Place:
    def __init__(self, name):
        if not re.fullmatch(r"[a-z0-9]{1,12}", name):
            raise LabError(f"a lab cannot be called {name!r}; use one to twelve of a-z and 0-9")
        self.name = name
        self.prefix = f"wl-{name}-"
        self.folder = BASE / name
        self.cgroup = (kernel.cgroup2_root() or pathlib.Path("/sys/fs/cgroup")) / f"warren-lab-{name}"

    def netns(self, name):
        return self.prefix + name

    def pod_folder(self, name):
        return self.folder / "pods" / name

    def namespaces(self):
        return sorted(path.name for path in kernel.NETNS.glob(self.prefix + "*"))

    def pins(self):
        return sorted(PINS.glob(self.prefix + "*"))

    def exists(self):
        return bool(self.leftovers())

    def leftovers(self):
        """What there is of this lab in the machine, as text; nothing after it was taken down."""
        found = [f"namespace {name}" for name in self.namespaces()] + [f"pins {path}" for path in self.pins()]
        found += [f"{what} {path}" for what, path in (("cgroup", self.cgroup), ("folder", self.folder)) if path.exists()]
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                lines = (process / "cgroup").read_text().splitlines()
                dead = (process / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"  # only its parent's wait is missing
            except OSError:
                continue
            if not dead and any(re.search(rf"/{self.cgroup.name}(/|$| )", line) for line in lines):
                found.append(f"process {process.name}")
        return found

    def claim(self):
        """The folder is made by one of those who want it."""
        BASE.mkdir(exist_ok=True)
        try:
            self.folder.mkdir()
        except FileExistsError:
            raise LabError(f"the lab {self.name} is up already; take it down with `warren lab down {self.name}`, or use another --name") from None
        os.chmod(self.folder, 0o755)  # nginx's and PostgreSQL's users pass through


def free_name():
    """A name that no lab of this machine has."""
    return next(name for name in (f"demo{number}" for number in range(os.getpid(), os.getpid() + 100000)) if not Place(name).exists())


def names():
    """Of all labs of this machine."""
    found = {path.name for path in BASE.glob("*") if path.is_dir()}
    found |= {match[1] for path in kernel.NETNS.glob("wl-*") if (match := re.fullmatch(r"wl-([a-z0-9]{1,12})-.*", path.name))}
    return sorted(found)

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""warren lab: a mesh of two nodes on this machine, with real programs in its pods. Exit codes: 0 done, 1 it could not be, 2 a wrong command
line, 130 interrupted; `exec` ends as its command does."""
import argparse
import json
import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import demo  # noqa: E402
import interrupt  # noqa: E402
import kernel  # noqa: E402
import place  # noqa: E402
import shop  # noqa: E402
from kernel import LabError  # noqa: E402
from world import Lab  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(prog="warren lab", description="A mesh of two nodes on this machine, with real programs in its pods.")
    parser.add_argument("--bin", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2] / "build/release/bin",
                        help="folder of Warren's programs (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name, text):
        return commands.add_parser(name, help=text, description=text)

    for name, text in (("up", "bring a lab up, and leave it up"), ("demo", "bring a lab up, show what a mesh does, take it down")):
        command = add(name, text)
        command.add_argument("--name", help="one to twelve of a-z and 0-9; several labs may be up (default: lab for up, a free one for demo)")
        command.add_argument("--mesh", type=pathlib.Path, help="folder of YAML files (services, policies) instead of tools/lab/shop")
        command.add_argument("--rate", type=float, default=20.0, help="pages a second of the load generator (default: 20)")
        command.add_argument("--page-port", type=int, default=0, help="of the first node's page on 127.0.0.1, the second's is one above (default: free ones)")
        if name == "demo":
            command.add_argument("--keep", action="store_true", help="leave it up at the end")
            command.add_argument("--report", type=pathlib.Path, help="write what was shown to this file, as JSON")
    add("down", "take a lab down, also one that is half up").add_argument("name", nargs="?", help="which (default: the only one)")
    status = add("status", "what is up, and what the load generator counts; exit code 1 when a daemon is not running")
    status.add_argument("name", nargs="?", help="which (default: all)")
    status.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table")
    command = add("exec", "a command in a pod, or in a node's network namespace")
    command.add_argument("--name", help="of the lab (default: the only one)")
    command.add_argument("where", choices=[*shop.PODS, *shop.NODES], metavar="WHERE", help=", ".join([*shop.PODS, *shop.NODES]))
    command.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help="and its arguments (default: a shell)")
    command = add("upgrade", "restart a daemon as an upgrade does, with no connection failing")
    command.add_argument("--name", help="of the lab (default: the only one)")
    command.add_argument("daemon", choices=("agent", "tunnel"))
    command.add_argument("node", choices=shop.NODES)
    return parser


def need_root():
    if os.geteuid() != 0:
        raise LabError("a lab's namespaces and programs are root's; run it with sudo")


def the_one(name, binaries):
    """The lab of that name, or the only one there is."""
    found = place.names()
    if name is None and len(found) != 1:
        raise LabError(f"which of the labs that are up, {', '.join(found)}? say it by its name" if found else "no lab is up; bring one up: warren lab up")
    lab = Lab(name or found[0], binaries)
    if not lab.exists():
        raise LabError(f"there is no lab {lab.name}; " + (f"up is: {', '.join(found)}" if found else "none is up"))
    return lab


def up(args):
    lab = Lab(args.name or "lab", args.bin)
    with lab.whole(keep=True):
        lab.up(args.mesh, args.rate, args.page_port, lambda text: print(f"{text} ...", flush=True))
    print(f"the lab {lab.name} is up; node pages: {'  '.join(lab.pages().values())}")
    print(f"take it down with: {args.bin / 'warren'} lab down {lab.name}")
    return 0


def show(args):
    lab = Lab(args.name or place.free_name(), args.bin)
    demo.run(lab, keep=args.keep, report=args.report, mesh=args.mesh, rate=args.rate, page_port=args.page_port)
    return 0


def down(args):
    need_root()
    lab = the_one(args.name, args.bin)
    with interrupt.deaf():
        lab.down()
    print(f"the lab {lab.name} is down; nothing of it is left")
    return 0


def yaml_lines(value):
    """Lists and maps with something in them as blocks, all else as JSON, which is YAML too."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            lines = list(yaml_lines(inner))
            nested = isinstance(inner, (dict, list)) and inner
            yield f"{json.dumps(key)}:" + ("" if nested else f" {lines[0]}")
            yield from (f"  {line}" for line in lines if nested)
    elif isinstance(value, list) and value:
        for inner in value:
            yield from (f"{'  ' if i else '- '}{line}" for i, line in enumerate(yaml_lines(inner)))
    else:
        yield json.dumps(value)


def status(args):
    need_root()
    labs = [the_one(args.name, args.bin)] if args.name else [Lab(name, args.bin) for name in place.names()]
    found = [lab.status() for lab in labs]
    if args.output == "json":
        print(json.dumps(found, indent=2))
    if args.output == "yaml":
        print("\n".join(yaml_lines(found)))
    for one in found if args.output == "table" else ():
        load = one["load"]
        print(f"{one['name']}: {load['ok']} pages, {load['failed']} failed, longest {load['worst_s']} s; node pages {' '.join(one['pages'].values())}; logs {one['logs']}")
        for daemon, runs in one["daemons"].items():
            print(f"  {daemon:<12} {'running' if runs else 'not running'}")
    if not found and args.output == "table":
        print("no lab is up")
    return 0 if all(all(one["daemons"].values()) for one in found) else 1


def execute(args):
    need_root()
    lab = the_one(args.name, args.bin)
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    words = words or [os.environ.get("SHELL", "/bin/sh")]
    pod = args.where in shop.PODS
    if not shutil.which(words[0]):
        raise LabError(f"there is no program {words[0]} on this machine")
    try:
        cgroup = lab.cgroup / (f"pod-{args.where}" if pod else f"exec-{args.where}")
        cgroup.mkdir(exist_ok=True)
        kernel.enter(cgroup, lab.netns(args.where), lab.pod_folder(args.where) if pod else None)
    except OSError as error:
        raise LabError(f"{args.where} of {lab.name} cannot be entered ({error}); is the lab whole? warren lab status") from None
    sys.stdout.flush()
    os.execvp(words[0], words)


def upgrade(args):
    need_root()
    lab = the_one(args.name, args.bin)
    {"agent": lab.upgrade_agent, "tunnel": lab.upgrade_tunnel}[args.daemon](args.node)
    print(f"the {args.daemon} of {args.node} is a new one")
    return 0


def main():
    args = arguments().parse_args()
    interrupt.listen()
    try:
        return {"up": up, "demo": show, "down": down, "status": status, "exec": execute, "upgrade": upgrade}[args.command](args)
    except LabError as error:
        print(f"warren lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nwarren lab: interrupted" + ("; what it had made is gone" if args.command in ("up", "demo") else ""), file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

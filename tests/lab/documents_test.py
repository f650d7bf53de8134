# SPDX-License-Identifier: Apache-2.0
"""Every command line of README and docs: run where it belongs, most of them beside a lab that is up. A line that is run by nobody fails here."""
import json
import os
import re
import subprocess
import time

from labcase import BINARIES, ROOT, LabCase, kernel

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "charts/warren/README.md")] + sorted((ROOT / "docs").glob("*.md"))
# What this machine cannot do: tests/cluster/chart_test.py takes these steps in a real cluster. Here their words are looked at.
CLUSTER = re.compile(r"kubectl |helm |warren (install|upgrade|uninstall)\b|warren .*--(cluster|on-node)\b")
# These build the tree. tools/demo.sh ends in `warren-lab demo` with the same words, which story_test.py runs; tools/test.sh runs this test.
BUILDS = ("tools/demo.sh", "tools/test.sh", "tools/test-long.sh", "tools/install_packages.sh")
# These take a registry, a node, a package archive or an hour: what they name is looked for.
ELSEWHERE_ALONE = ("docker ", "ctr ", "apt-get ", "cmake ", "tools/image.py ")
# Pages whose lines another test runs, with what they need set up.
ELSEWHERE = {"docs/cli.md": "tests/mesh/cli_test.py"}
# Exit codes other than 0, by a part of the line: a question answered with no, a connection that is refused as the page says.
CODES = {"lab exec batch -- curl": (7,), "policy explain": (0, 3), "policy audit": (0, 3), "policy diff": (0, 3), "warren check": (0, 3)}
PROGRAMS = ("warren", "warren-agent", "warren-controller", "warren-ztunnel", "warren-bench", "warren-lab")


def named(page):
    return str(page.relative_to(ROOT))


def blocks(page):
    """(language, text) of each fence."""
    return re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


def lines(text):
    """Command lines, those that go on after a backslash in one."""
    joined = re.sub(r"\\\n\s*", "", text)
    return [re.sub(r"\s+#\s.*$", "", line) for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def commands(wanted=lambda page, line: True):
    return [(named(page), line) for page in PAGES for language, text in blocks(page) if language == "sh" for line in lines(text)
            if named(page) not in ELSEWHERE and wanted(named(page), line)]


def in_cluster(_, line):
    return bool(CLUSTER.match(line))


class Documents(LabCase):
    def sh(self, line, codes=(0,), **settings):
        done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=60, check=False, **settings)
        self.assertIn(done.returncode, codes, f"{line}\n{done.stdout}{done.stderr}")
        return done

    def place(self):
        """A folder that looks like the checkout, with the programs under test where the pages have them."""
        folder = self.folder()
        (folder / "build/release").mkdir(parents=True)
        (folder / "build/release/bin").symlink_to(BINARIES)
        for name in ("tools", "charts"):
            (folder / name).symlink_to(ROOT / name)
        return folder

    def test_every_line_that_needs_no_cluster_runs_beside_a_lab_that_is_up(self):
        lab, folder = self.lab(rate=5), self.place()
        environment = {"PATH": f"{BINARIES}:{os.environ['PATH']}", "HOME": str(folder), "WARREN_NETNS": lab.netns("n1"),
                       "WARREN_FLOWS_SOCKET": str(lab.folder / "n1/flows.sock")}
        self.pages(lab, 5)
        others = ("docs/tunnel.md", "docs/controller.md")
        found = commands(lambda page, line: not in_cluster(page, line) and not line.startswith(BUILDS + ELSEWHERE_ALONE) and page not in others)
        self.assertGreater(len(found), 7)
        last = []
        for page, line in found:
            # Several labs may be up on a machine with tests.
            line = re.sub(r"(lab (?:status|down))$", rf"\1 {lab.name}", line)
            line = line.replace("lab exec ", f"lab exec --name {lab.name} ")
            if "lab down" in line:
                last.append((page, line))
                continue
            codes = next((codes for part, codes in CODES.items() if part in line.replace(f"--name {lab.name} ", "")), (0,))
            with self.subTest(page=page, line=line), kernel.inside(lab.netns("n1")):
                self.assertTrue(self.sh(line, codes, cwd=folder, env=environment).stdout or codes != (0,) or ">" in line)
        self.assertTrue(last)
        self.sh(last[0][1], cwd=folder, env=environment)
        self.nothing_left(lab.name)

    def test_the_page_of_the_controller_installs_one(self):
        folder = self.place()
        found = [line.replace("/etc/warren", f"{folder}/etc") for page, line in commands() if page == "docs/controller.md"]
        self.assertEqual(sum(line.startswith("warren-controller --") for line in found), 1)
        namespace = f"wd-{os.getpid()}"
        kernel.run(["ip", "netns", "add", namespace])
        self.addCleanup(kernel.run, ["ip", "netns", "del", namespace])
        kernel.run(["ip", "-n", namespace, "link", "set", "lo", "up"])
        environment = {"PATH": f"{BINARIES}:{os.environ['PATH']}"}
        with kernel.inside(namespace):
            for line in found:
                if re.match(r"warren-controller (?!check)", line):
                    line += f" --state={folder}/state --source-folder={folder}/etc/mesh"
                with self.subTest(line):
                    if " --xds-dns-names" not in line:
                        self.sh(line, cwd=folder, env=environment)
                        continue
                    self.background(line, folder, environment)
                    self.answers("http://127.0.0.1:8080/ready")

    def test_the_page_of_the_tunnel_starts_one(self):
        folder = self.place()
        (line,) = (line for page, line in commands() if page == "docs/tunnel.md")
        (folder / "mesh.yaml").write_text((ROOT / "tools/demo/shop.yaml").read_text())
        (folder / "ca").mkdir()
        kernel.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/O=lab", "-days", "2",
                    "-keyout", folder / "ca/ca.key", "-out", folder / "ca/ca.pem"])
        namespace = f"wt-{os.getpid()}"
        kernel.run(["ip", "netns", "add", namespace])
        self.addCleanup(kernel.run, ["ip", "netns", "del", namespace])
        kernel.run(["ip", "-n", namespace, "link", "set", "lo", "up"])
        with kernel.inside(namespace):
            self.background(line.replace("/run/agent.sock", f"{folder}/agent.sock"), folder, {"PATH": os.environ["PATH"]})
            dump = self.answers("http://127.0.0.1:15000/config_dump")
        self.assertIn("frontend", dump)

    def background(self, line, folder, environment):
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(["/bin/sh", "-c", re.sub(r"((?:\S*/)?warren-(?:controller|ztunnel))", r"exec \1", line, count=1)],
                                       stdout=log, stderr=log, cwd=folder, env=environment)
        self.addCleanup(process.wait)
        self.addCleanup(process.terminate)

    def answers(self, url):
        """What curl gets there, once it gets it."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            done = subprocess.run(["curl", "-sf", "--max-time", "5", url], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return done.stdout
            time.sleep(0.05)
        return self.fail(f"{url} does not answer")

    def test_lines_for_a_cluster_name_what_there_is(self):
        schema = json.loads((ROOT / "charts/warren/values.schema.json").read_text())
        found = commands(in_cluster)
        self.assertGreater(len(found), 6)
        for page, line in found:
            with self.subTest(page=page, line=line):
                if line.startswith("warren "):
                    _, command, *words = line.split()
                    everywhere = self.sh(f"{BINARIES}/warren --help").stdout
                    own = [option for option in (w.partition("=")[0] for w in words if w.startswith("--")) if option not in everywhere]
                    self.known("warren", [command], own)
                for chart in re.findall(r" (charts/\S+)", line):
                    self.assertTrue((ROOT / chart / "Chart.yaml").exists())
                for setting in re.findall(r"--set[ =](\S+)", line):
                    for pair in setting.split(","):
                        at = schema
                        for key in pair.partition("=")[0].split("."):
                            self.assertIn(key, at.get("properties", {}), pair)
                            at = at["properties"][key]

    def test_lines_that_build_call_scripts_that_read_and_know_their_words(self):
        found = commands(lambda page, line: line.startswith(BUILDS))
        self.assertGreater(len(found), 2)
        for page, line in found:
            with self.subTest(page=page, line=line):
                script, *words = line.split()
                self.sh(f"bash -n {script}", cwd=ROOT)
                if script == "tools/demo.sh":
                    said = self.sh(f"{script} --help", cwd=ROOT).stdout
                    self.assertTrue(all(word in said for word in words), said)

    def test_lines_of_an_image_and_of_packages_name_what_there_is(self):
        presets = {preset["name"] for preset in json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]}
        found = commands(lambda page, line: line.startswith(ELSEWHERE_ALONE))
        self.assertEqual({line.split()[0] for _, line in found}, {word.strip() for word in ELSEWHERE_ALONE})
        for page, line in found:
            words = line.split()
            with self.subTest(page=page, line=line):
                if words[0] == "apt-get":
                    for package in (word for word in words[2:] if not word.startswith("-")):
                        self.sh(f"dpkg -s {package}")
                if words[0] == "docker":
                    for argument in re.findall(r"--build-arg (\w+)=", line):
                        self.assertIn(f"ARG {argument}", (ROOT / "Dockerfile").read_text())
                if words[0] == "tools/image.py":
                    said = self.sh("tools/image.py --help", cwd=ROOT).stdout
                    self.assertTrue(all(word in said for word in words if word.startswith("--")), said)
                for preset in re.findall(r"--preset (\w+)", line):
                    self.assertIn(preset, presets)
                for target in re.findall(r"warren[\w-]*", line.partition("--target")[2]):
                    self.assertTrue((BINARIES / target).exists(), target)

    def test_no_command_hides_in_a_fence_that_is_not_for_the_shell(self):
        for page in PAGES:
            for language, text in blocks(page):
                if language != "sh":
                    for line in text.splitlines():
                        self.assertNotRegex(line, rf"^(\S*/)?({'|'.join(PROGRAMS)}|kubectl|helm|curl) ", named(page))

    def test_commands_within_sentences_are_ones_that_the_programs_know(self):
        count = 0
        for page in PAGES:
            text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
            for span in re.findall(r"`([^`\n]+)`", text):
                if not re.match(rf"({'|'.join(PROGRAMS)}) [a-z-]", span):
                    continue
                program, *words = span.split()
                names = []
                for word in words:
                    if not re.fullmatch(r"[a-z][a-z-]*", word):
                        break
                    names.append(word)
                with self.subTest(page=named(page), span=span):
                    self.known(program, names, [word.partition("=")[0] for word in words if word.startswith("--")])
                    count += 1
        self.assertGreater(count, 10)

    def test_completion_and_manual_know_the_commands_of_a_lab(self):
        ask = subprocess.run([BINARIES / "warren-lab", "--help"], capture_output=True, text=True, timeout=30, check=True).stdout
        commands = re.findall(r"(?m)^    ([a-z]+) ", ask)
        self.assertIn("upgrade", commands)
        completion = subprocess.run([BINARIES / "warren", "completion", "bash"], capture_output=True, text=True, timeout=30, check=True).stdout
        self.assertEqual(re.search(r'"lab"\) words="([^"]*)"', completion)[1].split(), commands)
        manual = (ROOT / "docs/warren.1").read_text(encoding="utf-8")
        self.assertEqual(re.findall(r"(?m)^\.SS \\fBwarren lab ([a-z]+)", manual), commands)

    def known(self, program, names, options):
        if program == "warren" and names[:1] == ["lab"]:
            program, names = "warren-lab", names[1:]
        if program == "warren-ztunnel":  # variables instead of options; its one word
            self.assertEqual(names, ["help"])
            return
        said = None
        while True:  # the last words may be arguments
            done = subprocess.run([BINARIES / program, *names, "--help"], capture_output=True, text=True, timeout=30, check=False)
            said = done.stdout + done.stderr
            if done.returncode == 0:
                break
            self.assertGreater(len(names), 1, f"{program} {names}: {said}")
            names = names[:-1]
        if program == "warren":  # its global options go behind any question
            said += subprocess.run([BINARIES / program, "--help"], capture_output=True, text=True, timeout=30, check=True).stdout
        for option in options:
            self.assertRegex(said, rf"(?m)(^ +|, ?){option}\b", f"{program} {names}")

    def test_the_pages_that_another_test_runs_are_named_there(self):
        for page, test in ELSEWHERE.items():
            self.assertIn(page, (ROOT / test).read_text())

    def test_every_link_within_the_pages_leads_somewhere(self):
        for page in [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "bpf/README.md"]:
            text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
            for target in re.findall(r"\]\(([^)#\s]+)", text):
                if "://" not in target:
                    self.assertTrue((page.parent / target).exists(), f"{named(page)}: {target}")


class Pages(LabCase):
    def test_every_page_is_reached_from_the_readme(self):
        reached, left = set(), [ROOT / "README.md"]
        while left:
            page = left.pop()
            if page in reached or not page.exists():
                continue
            reached.add(page)
            left += [(page.parent / target).resolve() for target in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))]
        self.assertEqual([named(page) for page in PAGES if page not in reached], [])

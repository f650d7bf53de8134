#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Assembles Warren's container image as an OCI archive, without a container builder: the programs, the shared libraries that they name,
certificates of public authorities, licences, and nothing else: no shell, no package manager. The Dockerfile beside the README makes the same
content.

  tools/image.py --bin build/release/bin --out warren.tar [--name docker.io/warren/warren:dev]

The same input gives the same bytes: names sorted, owner root, times from SOURCE_DATE_EPOCH (0 without it). A list of what is inside (SPDX
2.3, from dpkg's records of the libraries and of what is compiled in) lies in the image at /usr/share/warren/sbom.spdx.json and beside the
archive.
"""
import argparse
import hashlib
import io
import json
import os
import platform
import re
import stat
import subprocess
import sys
import tarfile
import time
import urllib.parse

PROGRAMS = ["warren", "warren-agent", "warren-cni", "warren-controller", "warren-ztunnel"]
WHERE = "usr/local/bin"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# The package's own list of authorities, not the machine's bundle: that one has whom this machine alone trusts, such as a proxy's.
AUTHORITIES = "/usr/share/ca-certificates/mozilla"
# What is compiled into programs and so named by none of them. Their licences ask for their text beside the binary too.
HEADERS = ("libcli11-dev", "nlohmann-json3-dev")
STATIC = ("libc6-dev", "libgcc-12-dev", "libstdc++-12-dev")
LICENCES = "/usr/share/common-licenses"
# The second half is the kernel programs', which warren-agent carries.
OWN_EXPRESSION = "Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)"
OWN_LICENCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "LICENSE")
FILES = {
    "etc/passwd": "root:x:0:0:root:/:/sbin/nologin\nwarren:x:1337:1337:warren:/:/sbin/nologin\n",
    "etc/group": "root:x:0:\nwarren:x:1337:\n",
    # glibc asks files before names are looked up; without the line it would try modules that are not here.
    "etc/nsswitch.conf": "hosts: files dns\n",
}
# Sticky and for all: a read-only root needs a volume there anyway.
FOLDERS = {"tmp": 0o1777, "etc/warren": 0o755, "run": 0o755}
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def fail(what):
    sys.exit(f"image.py: {what}")


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def epoch():
    return int(os.environ.get("SOURCE_DATE_EPOCH", "0"))


def libraries_of(path):
    """Libraries a program names, with the loader, as {path in the image: path here}; None for a static program."""
    done = subprocess.run(["ldd", path], capture_output=True, text=True)
    if done.returncode != 0:
        if "not a dynamic executable" in done.stdout + done.stderr:
            return None
        fail(f"ldd {path}: {done.stderr.strip()}")
    found = {}
    for line in done.stdout.splitlines():
        if "not found" in line:
            fail(f"{path} needs {line.split()[0]}, which is not on this machine")
        match = re.search(r"(?:=>\s*)?(/\S+)\s+\(0x", line)
        if match:
            # The name stays, for that is what is looked up; the content is that behind its links.
            found[match.group(1)] = os.path.realpath(match.group(1))
    return found


def stripped(path):
    if subprocess.run(["strip", "--version"], capture_output=True).returncode != 0:
        fail("no strip: install binutils, or give --keep-symbols")
    out = f"{path}.image-{os.getpid()}"
    try:
        run("strip", "-o", out, path)
        with open(out, "rb") as file:
            return file.read()
    finally:
        if os.path.exists(out):
            os.unlink(out)


def package_record(package):
    """(name, version, source package and its version, architecture) of an installed Debian package."""
    form = "${Package}\\t${Version}\\t${source:Package} ${source:Version}\\t${Architecture}"
    return tuple(run("dpkg-query", "-W", f"-f={form}", package).split("\t"))


def package_of(path):
    """The record of the Debian package that a file came with, or None."""
    for name in (path, path.removeprefix("/usr"), "/usr" + path):
        done = subprocess.run(["dpkg", "-S", name], capture_output=True, text=True)
        if done.returncode == 0:
            return package_record(done.stdout.split(": ")[0].split(",")[0])
    return None


class Layer:
    """A tar of one layer; entries are added in any order and written sorted, folders before what is in them. Content: bytes of a file, the
    target of a link, nothing for a folder."""

    def __init__(self):
        self.entries = {}

    def folder(self, path, mode=0o755):
        self.entries.setdefault(path, (mode, None))

    def parents(self, path):
        parts = path.split("/")
        for i in range(1, len(parts)):
            self.folder("/".join(parts[:i]))

    def file(self, path, content, mode=0o644):
        path = path.lstrip("/")
        self.parents(path)
        self.entries[path] = (mode, content)

    def link(self, path, target):
        self.entries[path.lstrip("/")] = (0o777, target)

    def bytes(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(self.entries):
                mode, content = self.entries[path]
                entry = tarfile.TarInfo(path)
                entry.mode = mode
                entry.mtime = epoch()
                if content is None:
                    entry.type = tarfile.DIRTYPE
                    tar.addfile(entry)
                elif isinstance(content, str):
                    entry.type = tarfile.SYMTYPE
                    entry.linkname = content
                    tar.addfile(entry)
                else:
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
        return out.getvalue()


def read(path):
    with open(path, "rb") as file:
        return file.read()


def authorities():
    """The bundle of certificates, as update-ca-certificates makes it from the package's files."""
    names = sorted(os.listdir(AUTHORITIES)) if os.path.isdir(AUTHORITIES) else []
    if not names:
        fail(f"no certificates in {AUTHORITIES}: install ca-certificates")
    return b"".join(read(os.path.join(AUTHORITIES, name)).rstrip(b"\n") + b"\n" for name in names)


def add_licences(layer, packages):
    """Debian's record of each package's licences, and the licence texts that those records leave to common ones."""
    common = set()
    for name, *_ in packages:
        path = f"/usr/share/doc/{name}/copyright"
        if not os.path.exists(path):
            fail(f"no {path}: the licences of {name} go with the image; install the package with its documents")
        text = read(path)
        layer.file(path, text)
        common.update(re.findall(LICENCES.encode() + rb"/([A-Za-z0-9+-]+(?:\.[A-Za-z0-9]+)*)", text))
    for name in sorted(text.decode() for text in common):
        if os.path.exists(f"{LICENCES}/{name}"):  # a record may name one that Debian has no more
            layer.file(f"{LICENCES}/{name}", read(f"{LICENCES}/{name}"))
    layer.file("/usr/share/doc/warren/LICENSE", read(OWN_LICENCE))


def base_layer(programs):
    """Libraries, certificates, licences and names, for {name: path} of programs. Returns the layer and {package's record: what of it is here}."""
    layer = Layer()
    for path, mode in FOLDERS.items():
        layer.parents(path)
        layer.folder(path, mode)
    for path, text in FILES.items():
        layer.file(path, text.encode())
    layer.file(CERTIFICATES, authorities())
    packages = {package_record("ca-certificates"): [CERTIFICATES]}
    packages.update({package_record(package): ["in the programs (headers)"] for package in HEADERS})
    files = {}
    for name, program in programs.items():
        named = libraries_of(program)
        if named is None:
            for package in STATIC:
                packages.setdefault(package_record(package), []).append(f"in /{WHERE}/{name}")
        files.update(named or {})
    for path, source in sorted(files.items()):
        executable = os.stat(source).st_mode & stat.S_IXUSR
        layer.file(path, read(source), 0o755 if executable else 0o644)
        package = package_of(source)
        if package is None:
            fail(f"{source} is of no package: nobody could say its version and licence")
        packages.setdefault(package, []).append(path)
    add_licences(layer, packages)
    return layer, packages


def sbom(name, version, programs, packages):
    """SPDX 2.3 as JSON: ours, the packages, who contains whom. No licence is declared for a package: what Debian's records can be read for
    by machine is the licence of most files of the source, which for several libraries (libelf, libidn2) is that of its programs."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch()))
    entries = [{"SPDXID": "SPDXRef-image", "name": "warren", "versionInfo": version, "downloadLocation": "NOASSERTION",
                "filesAnalyzed": False, "licenseConcluded": OWN_EXPRESSION, "licenseDeclared": OWN_EXPRESSION,
                "copyrightText": "NOASSERTION", "comment": "programs: " + ", ".join(sorted(programs))}]
    relations = [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-image"}]
    release = platform.freedesktop_os_release()
    distro = f"{release['ID']}-{release.get('VERSION_ID', '')}"
    quote = lambda text: urllib.parse.quote(text, safe="")
    for (package, package_version, source, architecture), files in sorted(packages.items()):
        key = "SPDXRef-deb-" + re.sub(r"[^A-Za-z0-9.-]", "-", package)
        entries.append({
            "SPDXID": key, "name": package, "versionInfo": package_version, "supplier": "Organization: Debian",
            "downloadLocation": "NOASSERTION", "filesAnalyzed": False, "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
            "licenseComments": f"Debian's record, in the image: /usr/share/doc/{package}/copyright",
            "sourceInfo": f"source package {source}; files: {', '.join(sorted(files))}",
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                              "referenceLocator": f"pkg:deb/debian/{quote(package)}@{quote(package_version)}?arch={architecture}&distro={distro}"}]})
        kind = "STATIC_LINK" if files[0].startswith("in ") else "CONTAINS"
        relations.append({"spdxElementId": "SPDXRef-image", "relationshipType": kind, "relatedSpdxElement": key})
    body = {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": name,
            "creationInfo": {"created": created, "creators": ["Tool: warren tools/image.py"]},
            "packages": entries, "relationships": relations}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    body["documentNamespace"] = f"https://warren.dev/spdx/{digest}"
    return json.dumps(body, indent=1).encode() + b"\n"


def archive(out, name, version, layers, entrypoint=()):
    """The OCI image layout (image-spec 1.1, image-layout.md) as a tar, with the name that containerd imports it under."""
    architecture = ARCHITECTURES.get(platform.machine()) or fail(f"unknown architecture {platform.machine()}")
    blobs = {}

    def blob(kind, content):
        digest = hashlib.sha256(content).hexdigest()
        blobs["blobs/sha256/" + digest] = content
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": "sha256:" + digest, "size": len(content)}

    described = [blob("layer.v1.tar", layer) for layer in layers]
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch()))
    config = blob("config.v1+json", json.dumps({
        "created": created, "architecture": architecture, "os": "linux",
        "config": {"Env": [f"PATH=/{WHERE}:/bin"], "WorkingDir": "/", **({"Entrypoint": list(entrypoint)} if entrypoint else {}), "Labels": {
            "org.opencontainers.image.title": name.rsplit("/", 1)[-1].split(":")[0], "org.opencontainers.image.version": version}},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in described]},
        "history": [{"created": created, "created_by": "tools/image.py"} for _ in described]}, sort_keys=True).encode())
    manifest = blob("manifest.v1+json", json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config,
        "layers": described}, sort_keys=True).encode())
    manifest["platform"] = {"architecture": architecture, "os": "linux"}
    manifest["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[-1]}
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
             "index.json": json.dumps({"schemaVersion": 2, "manifests": [manifest]}, sort_keys=True).encode(), **blobs}
    with tarfile.open(out, "w") as tar:
        for path in sorted(files, reverse=True):  # oci-layout first
            entry = tarfile.TarInfo(path)
            entry.size = len(files[path])
            entry.mode = 0o644
            entry.mtime = epoch()
            tar.addfile(entry, io.BytesIO(files[path]))


def unpack(layers, folder):
    os.makedirs(folder, exist_ok=True)
    if os.listdir(folder):
        fail(f"--root {folder} is not empty")
    for layer in layers:
        if subprocess.run(["tar", "-xp", "-C", folder], input=layer).returncode != 0:
            fail(f"tar could not write to {folder}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", required=True, action="append", help="folder of built programs; the first that has one gives it")
    parser.add_argument("--out", required=True, help="the archive")
    parser.add_argument("--name", default="docker.io/warren/warren:dev")
    parser.add_argument("--programs", default=",".join(PROGRAMS), help="which, with commas")
    parser.add_argument("--keep-symbols", action="store_true")
    parser.add_argument("--root", help="an empty folder: the image's files also go there, as the Dockerfile copies them")
    args = parser.parse_args()
    if ":" not in args.name.rsplit("/", 1)[-1]:
        fail(f"--name {args.name}: give a tag, as in docker.io/warren/warren:dev")
    programs = {}
    for name in args.programs.split(","):
        places = [os.path.join(folder, name) for folder in args.bin]
        programs[name] = next((p for p in places if os.access(p, os.X_OK)), None) or fail(f"no {name} in {', '.join(args.bin)}; build it")
    base, packages = base_layer(programs)
    version = args.name.rsplit(":", 1)[-1]
    contents = sbom(args.name, version, programs, packages)
    own = Layer()
    for name, path in programs.items():
        own.file(f"{WHERE}/{name}", read(path) if args.keep_symbols else stripped(path), 0o755)
    own.file("usr/share/warren/sbom.spdx.json", contents)
    layers = [base.bytes(), own.bytes()]
    archive(args.out, args.name, version, layers)
    if args.root:
        unpack(layers, args.root)
    with open(args.out.removesuffix(".tar") + ".spdx.json", "wb") as file:
        file.write(contents)
    print(f"{args.out}: {args.name}, {os.path.getsize(args.out) >> 20} MiB, {len(programs)} programs, {len(packages)} packages")


if __name__ == "__main__":
    main()

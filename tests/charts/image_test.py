#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/image.py: the archive is an OCI layout whose digests hold, the same twice, with every library a program names, no authority of
this machine's own, licences and a list of contents. And the Dockerfile says what the archive's configuration says."""
import hashlib
import io
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile

root = pathlib.Path(sys.argv[1])
for need in ("strip", "dpkg", "ldd", "cc"):
    if shutil.which(need) is None:
        print(f"skipped: no {need}")
        sys.exit(77)

with tempfile.TemporaryDirectory() as folder:
    programs = pathlib.Path(folder) / "bin"
    programs.mkdir()
    shutil.copy("/usr/bin/openssl", programs / "warren-ztunnel")  # a program with libraries
    subprocess.run(["cc", "-static", "-x", "c", "-", "-o", programs / "warren-cni"], input=b"int main(void) { return 0; }", check=True)

    def build(name, *more):
        out = pathlib.Path(folder) / name
        subprocess.run([root / "tools" / "image.py", "--bin", programs, "--programs", "warren-ztunnel,warren-cni", "--out", out,
                        "--name", "example.org/warren:1.2", *more], check=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"})
        return out.read_bytes()

    one = build("one.tar")
    unpacked = pathlib.Path(folder) / "root"
    assert one == build("two.tar", "--root", unpacked), "the same input gave other bytes"
    blobs = {m.name: tarfile.open(fileobj=io.BytesIO(one)).extractfile(m).read() for m in tarfile.open(fileobj=io.BytesIO(one))}
    for name, content in blobs.items():
        if name.startswith("blobs/sha256/"):
            assert name.endswith(hashlib.sha256(content).hexdigest()), name
    blob = lambda described: blobs["blobs/sha256/" + described["digest"].removeprefix("sha256:")]
    index = json.loads(blobs["index.json"])["manifests"][0]
    assert index["annotations"]["io.containerd.image.name"] == "example.org/warren:1.2"
    manifest = json.loads(blob(index))
    config = json.loads(blob(manifest["config"]))
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    inside = {}
    for layer in manifest["layers"]:
        for member in tarfile.open(fileobj=io.BytesIO(blob(layer))):
            assert (member.uid, member.gid) == (0, 0), member.name
            assert member.name not in inside or member.isdir(), f"{member.name} is in two layers"
            inside[member.name] = member
    files = {str(path.relative_to(unpacked)): path for path in unpacked.rglob("*")}
    assert files.keys() == inside.keys(), files.keys() ^ inside.keys()
    for name, member in inside.items():
        assert files[name].stat().st_mode & 0o7777 == member.mode, f"{name}: {member.mode:o}"
    assert inside["tmp"].mode == 0o1777, f"{inside['tmp'].mode:o}"

    bundle = files["etc/ssl/certs/ca-certificates.crt"].read_text().split("-----BEGIN CERTIFICATE-----")[1:]
    own = [path.read_text().split("-----BEGIN CERTIFICATE-----")[1] for path in pathlib.Path("/usr/share/ca-certificates/mozilla").iterdir()]
    assert {"".join(x.split()) for x in bundle} == {"".join(x.split()) for x in own}, "an authority that is not Debian's"
    for line in subprocess.run(["ldd", "/usr/bin/openssl"], capture_output=True, text=True, check=True).stdout.splitlines():
        path = next((word for word in line.split() if word.startswith("/")), None)
        assert path is None or path.lstrip("/") in inside, f"{path} is missing"
    assert inside["usr/local/bin/warren-ztunnel"].mode == 0o755
    assert not any(name.endswith(("/sh", "/bash", "/dpkg")) for name in inside), "a shell or package manager is in the image"
    sbom = json.loads((pathlib.Path(folder) / "one.spdx.json").read_text())
    assert sbom["spdxVersion"] == "SPDX-2.3"
    assert "libssl3" in {package["name"] for package in sbom["packages"]}
    keys = {package["SPDXID"] for package in sbom["packages"]} | {"SPDXRef-DOCUMENT"}
    assert all({r["spdxElementId"], r["relatedSpdxElement"]} <= keys for r in sbom["relationships"])
    packages = {package["name"]: package for package in sbom["packages"] if package["name"] != "warren"}
    assert {"libssl3", "libc6", "ca-certificates", "nlohmann-json3-dev", "libcli11-dev", "libc6-dev"} <= packages.keys(), packages.keys()
    listed = {path.lstrip("/") for package in packages.values() for path in package["sourceInfo"].split("files: ")[1].split(", ")}
    libraries = {name for name, member in inside.items() if member.isfile() and re.match("lib|usr/lib", name)}
    assert libraries and libraries <= listed, libraries - listed
    for name, package in packages.items():
        version = subprocess.run(["dpkg-query", "-W", "-f=${Version}\n", name], capture_output=True, text=True, check=True).stdout
        assert package["versionInfo"] in version.splitlines(), f"{name}: {package['versionInfo']}, installed {version}"
        record = files[f"usr/share/doc/{name}/copyright"].read_text(errors="replace")
        for licence in re.findall(r"/usr/share/common-licenses/([A-Za-z0-9+-]+(?:\.[0-9]+)?)", record):
            assert f"usr/share/common-licenses/{licence}" in inside, f"{name} names {licence}"
    assert files["usr/share/doc/warren/LICENSE"].read_bytes() == (root / "LICENSE").read_bytes()

    docker = (root / "Dockerfile").read_text()
    last = docker[docker.index("FROM scratch"):].replace("${VERSION}", "1.2")
    said = {key: shlex.split(" ".join(re.findall(rf"^{key} (.*)$", last, re.M))) for key in ("ENV", "LABEL", "WORKDIR", "ENTRYPOINT", "USER")}
    assert said["ENV"] == config["config"]["Env"], said
    assert dict(pair.split("=") for pair in said["LABEL"]) == config["config"]["Labels"], said
    assert said["WORKDIR"] == [config["config"]["WorkingDir"]], said
    assert not said["ENTRYPOINT"] and "Entrypoint" not in config["config"], said
    assert not said["USER"] and "User" not in config["config"], said
    built = re.search(r"--target (.*)$", docker, re.M).group(1).split()
    assert sorted(built) == sorted(re.search(r'^PROGRAMS = \[(.*)\]', (root / "tools" / "image.py").read_text(), re.M).group(1)
                                   .replace('"', "").split(", ")), built

    wrong = subprocess.run([root / "tools" / "image.py", "--bin", programs, "--programs", "warren-agent", "--out", "/dev/null"],
                           capture_output=True, text=True)
    assert wrong.returncode == 1 and "no warren-agent in" in wrong.stderr, wrong.stderr
print("the archive holds")

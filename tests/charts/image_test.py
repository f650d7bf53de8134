#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/image.py: the archive is an OCI layout whose digests hold, the same twice, with every library a program names and a list of contents."""
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

root = pathlib.Path(sys.argv[1])
for need in ("strip", "dpkg", "ldd"):
    if shutil.which(need) is None:
        print(f"skipped: no {need}")
        sys.exit(77)

with tempfile.TemporaryDirectory() as folder:
    programs = pathlib.Path(folder) / "bin"
    programs.mkdir()
    shutil.copy("/usr/bin/openssl", programs / "warren-ztunnel")  # a program with libraries

    def build(name):
        out = pathlib.Path(folder) / name
        subprocess.run([root / "tools" / "image.py", "--bin", programs, "--programs", "warren-ztunnel", "--out", out,
                        "--name", "example.org/warren:1.2"], check=True, env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"})
        return out.read_bytes()

    one = build("one.tar")
    assert one == build("two.tar"), "the same input gave other bytes"
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

    wrong = subprocess.run([root / "tools" / "image.py", "--bin", programs, "--programs", "warren-agent", "--out", "/dev/null"],
                           capture_output=True, text=True)
    assert wrong.returncode == 1 and "no warren-agent in" in wrong.stderr, wrong.stderr
print("the archive holds")

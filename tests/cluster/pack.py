#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""pack.py NAME OUT.tar FOLDER [ENTRYPOINT]: a folder as an image archive of one layer, by tools/image.py's hand."""
import importlib.util
import os
import pathlib
import sys

path = pathlib.Path(__file__).resolve().parents[2] / "tools" / "image.py"
spec = importlib.util.spec_from_file_location("image", path)
image = importlib.util.module_from_spec(spec)
spec.loader.exec_module(image)

name, out, folder = sys.argv[1:4]
layer = image.Layer()
for at, folders, files in os.walk(folder):
    inside = os.path.relpath(at, folder)
    for one in folders:
        layer.folder(os.path.normpath(os.path.join(inside, one)))
    for one in files:
        here, there = os.path.join(at, one), os.path.normpath(os.path.join(inside, one))
        if os.path.islink(here):
            layer.link(there, os.readlink(here))
        else:
            layer.file(there, image.read(here), os.stat(here).st_mode & 0o7777)
image.archive(out, name, name.rsplit(":", 1)[-1], [layer.bytes()], sys.argv[4:])

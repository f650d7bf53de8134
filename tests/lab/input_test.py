# SPDX-License-Identifier: Apache-2.0
"""What a lab is asked for and cannot be: one sentence with the fix, and nothing half up."""
import shutil
import socket

from labcase import ROOT, LabCase


def covered(folder):
    """A command before the lab's: the folder is an empty one, for it alone."""
    return ("unshare", "-m", "sh", "-c", f'mount -t tmpfs none {folder} && exec "$@"', "sh")


class Input(LabCase):
    def refused_up(self, *words, before=()):
        name = self.fresh()
        said = self.refused("up", "--name", name, *words, before=before)
        self.nothing_left(name)
        return said

    def mesh(self):
        folder = self.folder() / "mesh"
        shutil.copytree(ROOT / "tools/lab/shop", folder)
        return folder

    def test_a_broken_mesh_file_is_named_with_line_and_field(self):
        folder = self.mesh()
        path = folder / "policies.yaml"
        path.write_text(path.read_text().replace("principals", "princpals", 1))
        said = self.refused_up("--mesh", folder)
        self.assertRegex(said, rf"{path}:\d+: .*unknown field 'princpals'")

    def test_a_file_that_is_no_yaml_is_named(self):
        folder = self.mesh()
        (folder / "more.yaml").write_text("a: [")
        self.assertIn(f"{folder}/more.yaml", self.refused_up("--mesh", folder))

    def test_a_folder_without_files_is_refused(self):
        self.assertIn("there is no .yaml or .yml file in it", self.refused_up("--mesh", self.folder()))

    def test_a_taken_port_is_named(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.assertIn(f"port {port} of 127.0.0.1 cannot be had", self.refused_up("--page-port", port))

    def test_a_missing_kernel_feature_is_named_with_its_fix(self):
        self.assertIn("mount -t bpf bpf /sys/fs/bpf", self.refused_up(before=covered("/sys/fs/bpf")))
        self.assertIn("CONFIG_DEBUG_INFO_BTF", self.refused_up(before=covered("/sys/kernel/btf")))

    def test_without_root_it_says_so(self):
        self.assertIn("needs root; run it with sudo", self.refused_up(before=("unshare", "-U")))

    def test_a_missing_program_is_named(self):
        name, empty = self.fresh(), self.folder()
        self.assertIn(f"{empty}/warren-controller is missing; build it", self.refused("--bin", empty, "up", "--name", name))
        self.nothing_left(name)

    def test_bad_names_and_numbers_are_refused(self):
        self.assertIn("one to twelve of a-z and 0-9", self.refused("up", "--name", "My_Lab"))
        self.assertIn("--page-port 65536", self.refused_up("--page-port", 65536))
        self.assertIn("--rate 0", self.refused_up("--rate", 0))
        self.assertIn("there is no lab nosuch", self.refused("down", "nosuch"))

    def test_a_name_that_is_taken_is_refused_and_the_lab_of_that_name_stays(self):
        lab = self.lab(rate=2)
        self.assertIn("is up already", self.refused("up", "--name", lab.name))
        self.assertIn("is up already", self.refused("demo", "--name", lab.name))
        self.pages(lab, 5)
        self.none_failed(lab)

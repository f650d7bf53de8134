# SPDX-License-Identifier: Apache-2.0
"""A certificate authority for a lab, by the openssl command: ca.pem and ca.key in a folder, as WARREN_LOCAL_CA wants them, and
certificates for peers that are not Warren."""
import pathlib
import subprocess

ALGORITHMS = {"ec": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "rsa": ["-newkey", "rsa:2048"]}


def _openssl(*argv):
    done = subprocess.run(["openssl", *argv], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(argv)}: {done.stderr}")


class Authority:
    def __init__(self, folder, algorithm="ec"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.algorithm = algorithm
        self.certificate, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        _openssl("req", "-x509", *ALGORITHMS[algorithm], "-nodes", "-keyout", str(self.key), "-out", str(self.certificate), "-days", "2",
                 "-subj", "/O=lab", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def issue(self, identity, name):
        """(certificate chain, key) files of a leaf with this one URI name."""
        request, leaf, key = (self.folder / f"{name}.{end}" for end in ("csr", "crt", "key"))
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName=critical,URI:{identity}\nbasicConstraints=critical,CA:FALSE\n"
                              "keyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n")
        _openssl("req", *ALGORITHMS[self.algorithm], "-nodes", "-keyout", str(key), "-out", str(request), "-subj", "/")
        _openssl("x509", "-req", "-in", str(request), "-CA", str(self.certificate), "-CAkey", str(self.key), "-CAcreateserial", "-days", "2",
                 "-extfile", str(extensions), "-out", str(leaf))
        return leaf, key

    def revoke(self, serials, path):
        """A revocation list with these serial numbers, put at path in one step."""
        database, config = self.folder / "index.txt", self.folder / "crl.conf"
        database.write_text("".join(f"R\t401231235959Z\t240101000000Z\t{serial:032X}\tunknown\t/\n" for serial in serials))
        config.write_text(f"[ca]\ndefault_ca=lab\n[lab]\ndatabase={database}\ndefault_md=sha256\ndefault_crl_days=1\n")
        _openssl("ca", "-gencrl", "-config", str(config), "-cert", str(self.certificate), "-keyfile", str(self.key), "-out", f"{path}.new")
        pathlib.Path(f"{path}.new").rename(path)

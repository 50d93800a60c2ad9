"""The keys of a cluster: one authority, and a certificate for each component and user.

Keys are of elliptic curves, since an RSA key takes a second to find. They are as old as the cluster and go
with it.
"""

import base64
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

_CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
_DAYS = ["-days", "3650"]


@dataclass(frozen=True, slots=True)
class Authority:
    folder: Path
    server: str
    """The API server's address, which goes into every kubeconfig."""

    def make(self) -> None:
        """Make the authority itself, and the key that service accounts' tokens are signed with."""
        self.folder.mkdir(mode=0o700)
        subject = ["-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=womm-test-ca"]
        self._openssl("req", "-x509", *_CURVE, *_DAYS, *subject)
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sa.key")

    def issue(self, name: str, subject: str, names: str = "") -> None:
        """Issue a certificate. `names` are what a server is reached by, as in openssl's subjectAltName."""
        extensions = self.folder / f"{name}.ext"
        alternative = f"subjectAltName={names}\n" if names else ""
        extensions.write_text(f"extendedKeyUsage=serverAuth,clientAuth\n{alternative}")
        request = ["-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject]
        self._openssl("req", *_CURVE, *request)
        signed = ["-in", f"{name}.csr", "-out", f"{name}.crt", "-extfile", f"{name}.ext"]
        self._openssl("x509", "-req", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", *_DAYS, *signed)

    def kubeconfig(self, name: str, file: Path, namespace: str = "default") -> Path:
        """Write the kubeconfig of somebody who has a certificate."""
        cluster = {"server": self.server, "certificate-authority-data": self._data("ca.crt")}
        user = {
            "client-certificate-data": self._data(f"{name}.crt"),
            "client-key-data": self._data(f"{name}.key"),
        }
        context = {"cluster": "womm-test", "user": name, "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "womm-test",
            "clusters": [{"name": "womm-test", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "womm-test", "context": context}],
        }
        file.touch(mode=0o600)
        file.write_text(json.dumps(config, indent=1))
        return file

    def _data(self, name: str) -> str:
        return base64.b64encode((self.folder / name).read_bytes()).decode()

    def _openssl(self, *words: str) -> None:
        result = subprocess.run(
            ["openssl", *words], cwd=self.folder, capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise RuntimeError(f"openssl {' '.join(words)}: {result.stderr}")

"""Container images, made from files and pushed by the registry's protocol: nothing is pulled from outside.

`worker` has what an agent may count on and not more: Debian's essential packages, so perl-base and no other
perl. `worker-user` is the same, run by user 1000, who has no name in it. `worker-noperl` is a busybox: what
womm must refuse with a good word. Each is REGISTRY/womm-test/NAME:1. `file_server_image` is what the recipe
in images/fileserver makes of a Debian with python, without a docker.
"""

import gzip
import hashlib
import http.client
import io
import json
import platform
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.realcluster.cache import cached, scratch
from tests.realcluster.debian import compiler_layer, python_layer, tools_layer, worker_layer
from womm.image import wheels

BUSYBOX = Path("/bin/busybox")
_COMMANDS = "sh cat echo env false id ls mkdir printf rm sleep test true uname wc"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PREFIX = "womm-test"
_PUSH_TIMEOUT_S = 120.0
UNPACK = Path(__file__).parents[2] / "images/fileserver/unpack.py"


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a registry that all nodes can pull from."""

    tagged: str
    digest: str

    @property
    def pinned(self) -> str:
        """Its name by digest."""
        return f"{self.tagged.rpartition(':')[0]}@{self.digest}"


@dataclass(frozen=True, slots=True)
class _Layer:
    blob: bytes
    """The tar archive, compressed."""
    unpacked_digest: str


def worker_images(registry: str) -> dict[str, Image]:
    """Push all images that tests run in pods; return them by name."""
    debian, busybox = _layer(worker_layer()), _layer(_busybox_layer())
    bash: dict[str, Any] = {"Env": [_PATH], "Cmd": ["bash"]}
    return {
        "worker": push(registry, "worker", [debian], bash),
        "worker-user": push(registry, "worker-user", [debian], {**bash, "User": "1000"}),
        "worker-noperl": push(registry, "worker-noperl", [busybox], {"Env": [_PATH], "Cmd": ["sh"]}),
    }


def file_server_image(registry: str) -> Image:
    """Push the file server's image, made of the womm that is here; return it."""
    layers = [_layer(python_layer()), _layer(_womm_layer())]
    config = {
        "Env": [_PATH, "PYTHONPATH=/opt/womm", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"],
        "User": "65532:65532",
        "Entrypoint": ["python3", "-m", "womm.fileserver"],
    }
    return push(registry, "fileserver", layers, config)


def python_image(registry: str) -> Image:
    """Push a Debian that has python3 and no womm, as anybody's image would be; return it."""
    return push(registry, "python", [_layer(python_layer())], {"Env": [_PATH], "Cmd": ["python3"]})


def tools_image(registry: str) -> Image:
    """Push an image for workers that has python and git; return it."""
    return push(registry, "tools", [_layer(tools_layer())], {"Env": [_PATH], "Cmd": ["bash"]})


def compiler_image(registry: str) -> Image:
    """Push an image for workers that has gcc, python and git; return it."""
    return push(registry, "compiler", [_layer(compiler_layer())], {"Env": [_PATH], "Cmd": ["bash"]})


def _womm_layer() -> Path:
    """What the recipe's Dockerfile adds: the wheels, unpacked. Debian's python3 is 3.11."""
    key = hashlib.sha256((wheels.tag() + UNPACK.read_text()).encode()).hexdigest()[:12]

    def make(partial: Path) -> None:
        with scratch("fileserver") as folder:
            third_party_wheels(folder)
            wheels.write_own(folder)
            target = folder / "opt/womm"
            subprocess.run([sys.executable, str(UNPACK), str(folder), str(target), "3.11"], check=True)
            with tarfile.open(partial, "w:gz", compresslevel=4) as archive:
                archive.add(folder / "opt", arcname="opt")

    return cached(f"fileserver-{key}.tar.gz", make)


def third_party_wheels(folder: Path) -> None:
    """Put the wheels of the file server's image that are not womm's into a folder; pip is asked once."""
    key = hashlib.sha256(repr(wheels.pins()).encode()).hexdigest()[:12]

    def make(partial: Path) -> None:
        with scratch("wheels") as fresh, tarfile.open(partial, "w") as archive:
            wheels.download(fresh, platform.machine())
            archive.add(fresh, arcname=".")

    with tarfile.open(cached(f"wheels-{key}.tar", make)) as archive:
        archive.extractall(folder, filter="data")


def push(registry: str, name: str, layers: Sequence[_Layer], config: dict[str, Any]) -> Image:
    """Push an image as REGISTRY/womm-test/NAME:1; `config` is the part that docker calls so."""
    repository = f"{_PREFIX}/{name}"
    config_blob = _config(layers, config)
    kind = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{kind}.manifest.v1+json",
        "config": _descriptor(f"{kind}.config.v1+json", config_blob),
        "layers": [_descriptor(f"{kind}.layer.v1.tar+gzip", layer.blob) for layer in layers],
    }
    body = json.dumps(manifest).encode()
    connection = http.client.HTTPConnection(registry, timeout=_PUSH_TIMEOUT_S)
    try:
        for blob in [config_blob, *(layer.blob for layer in layers)]:
            _push_blob(connection, repository, blob)
        _request(connection, "PUT", f"/v2/{repository}/manifests/1", body, f"{kind}.manifest.v1+json")
    finally:
        connection.close()
    return Image(f"{registry}/{repository}:1", _digest(body))


def archive(tag: str, config: dict[str, Any]) -> bytes:
    """Return a busybox image as `docker save` would, for containerd to import."""
    layer = _layer(_busybox_layer())
    config_blob = _config([layer], config)
    name = f"{_digest(config_blob).removeprefix('sha256:')}.json"
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": ["layer.tar.gz"]}]
    files = {name: config_blob, "layer.tar.gz": layer.blob, "manifest.json": json.dumps(manifest).encode()}
    return _tar(files)


def pause(tag: str) -> bytes:
    """Return the image that holds a pod's namespaces while its containers come and go."""
    return archive(tag, {"Entrypoint": ["/bin/sleep", "2147483647"]})


def _busybox_layer() -> Path:
    version = hashlib.sha256(BUSYBOX.read_bytes()).hexdigest()[:12]

    def make(partial: Path) -> None:
        links = {f"bin/{command}": "busybox" for command in _COMMANDS.split()}
        partial.write_bytes(gzip.compress(_tar({"bin/busybox": BUSYBOX.read_bytes()}, links), mtime=0))

    return cached(f"busybox-{version}.tar.gz", make)


def _layer(file: Path) -> _Layer:
    blob = file.read_bytes()

    def make(partial: Path) -> None:
        partial.write_text(_digest(gzip.decompress(blob)))

    return _Layer(blob, cached(f"{file.name}.digest", make).read_text())


def _config(layers: Sequence[_Layer], config: dict[str, Any]) -> bytes:
    machine = platform.machine()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    root = {"type": "layers", "diff_ids": [layer.unpacked_digest for layer in layers]}
    whole = {"architecture": architecture, "os": "linux", "config": config, "rootfs": root}
    return json.dumps(whole).encode()


def _descriptor(kind: str, blob: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _push_blob(connection: http.client.HTTPConnection, repository: str, blob: bytes) -> None:
    location = _request(connection, "POST", f"/v2/{repository}/blobs/uploads/")
    separator = "&" if "?" in location else "?"
    _request(
        connection, "PUT", f"{location}{separator}digest={_digest(blob)}", blob, "application/octet-stream"
    )


def _request(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b"", kind: str = ""
) -> str:
    """Send a request and return where the answer says to go on."""
    connection.request(method, path, body, {"Content-Type": kind} if kind else {})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"registry: {method} {path}: {answer.status} {text.decode(errors='replace')}")
    return answer.getheader("Location", "")


def _tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            archive.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return out.getvalue()

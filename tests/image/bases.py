"""Base images for the tests of testbeds, each made here when a test first wants it: nothing is pulled."""

import functools
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import docker.errors
from docker import DockerClient

from tests.image.dockerd import Docker
from tests.realcluster.debian import worker_layer
from tests.realcluster.images import BUSYBOX

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FOLDERS = "dev etc home proc root run sys tmp usr var work data"
_ALPINE = 'ID=alpine\nNAME="Alpine Linux"\nVERSION_ID=3.20.3\n'
# The first 20 bytes of a program for arm64 (elf(5)): no kernel for amd64 runs it.
_ARM64_PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(100)
CONFIGURED = (
    "USER 1000:1000",
    f"ENV {PATH} GREETING='hello  world' EMPTY=",
    'ENTRYPOINT ["/bin/sh", "-c", "echo \\"$0\\" \\"$@\\""]',
    'CMD ["one", "two words"]',
    "VOLUME /data",
    "LABEL org.example.of=a-user org.example.text='two words'",
    "WORKDIR /work",
    "EXPOSE 8080/tcp",
    "STOPSIGNAL SIGQUIT",
    "HEALTHCHECK --interval=1s --retries=2 CMD true",
)
"""All that an image can say about its containers, in the words of a Dockerfile."""


@dataclass(frozen=True, slots=True)
class Bases:
    """Each method returns the name of an image that the tests' docker has."""

    docker: Docker

    def busybox(self) -> str:
        """Alpine's programs and os-release, root alone, no perl; a Cmd and no Entrypoint."""
        return self._imported("busybox", busybox_layer, [f"ENV {PATH}", 'CMD ["sh"]'])

    def plain(self) -> str:
        """The same; its configuration says nothing at all."""
        return self._imported("plain", busybox_layer, [])

    def entrypoint(self) -> str:
        """The same with an Entrypoint and no Cmd."""
        return self._imported("entrypoint", busybox_layer, ['ENTRYPOINT ["/bin/echo", "started"]'])

    def configured(self) -> str:
        """The same with CONFIGURED."""
        return self.built("configured", "\n".join([f"FROM {self.plain()}", *CONFIGURED]))

    def without_shell(self) -> str:
        return self._imported("noshell", lambda: tar({"hello": BUSYBOX.read_bytes()}), ['CMD ["/hello"]'])

    def foreign(self) -> str:
        """An image for arm64."""
        layer = tar({f"bin/{name}": _ARM64_PROGRAM for name in ("sh", "sleep", "true")})
        return self._loaded("foreign", layer, {"architecture": "arm64", "config": {"Env": [PATH]}})

    def debian(self) -> str:
        """Debian's essential packages, with perl-base and bash."""
        return self._imported("debian", lambda: worker_layer().read_bytes(), [f"ENV {PATH}", 'CMD ["bash"]'])

    def debian_without_perl(self) -> str:
        """The same; somebody has removed the program, as the slimmest images do."""
        return self.built("debian-noperl", f"FROM {self.debian()}\nRUN rm /usr/bin/perl*\n")

    def built(self, name: str, dockerfile: str) -> str:
        """Build an image once, without a context and a network."""

        def make(client: DockerClient, tag: str) -> None:
            file = io.BytesIO(dockerfile.encode())
            client.images.build(fileobj=file, tag=tag, network_mode="none", rm=True)

        return self._made(name, make)

    def _imported(self, name: str, layer: Callable[[], bytes], changes: Sequence[str]) -> str:
        def make(client: DockerClient, tag: str) -> None:
            repository, _, version = tag.partition(":")
            client.api.import_image_from_data(
                layer(), repository=repository, tag=version, changes=list(changes)
            )

        return self._made(name, make)

    def _loaded(self, name: str, layer: bytes, settings: Mapping[str, Any]) -> str:
        def make(client: DockerClient, tag: str) -> None:
            digest = f"sha256:{hashlib.sha256(layer).hexdigest()}"
            config = {"os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest]}, **settings}
            manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
            files = {"config.json": json.dumps(config).encode(), "layer.tar": layer}
            client.images.load(tar({**files, "manifest.json": json.dumps(manifest).encode()}))

        return self._made(name, make)

    def _made(self, name: str, make: Callable[[DockerClient, str], None]) -> str:
        tag = f"womm-test-{name}:1"
        client = self.docker.client()
        try:
            try:
                client.images.get(tag)
            except docker.errors.ImageNotFound:
                make(client, tag)
        finally:
            client.close()
        return tag


@functools.cache
def busybox_layer() -> bytes:
    """Return a file system of busybox with all its programs, as an uncompressed tar archive."""
    command = [str(BUSYBOX), "--list-full"]
    programs = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    links = {path: "/bin/busybox" for path in programs if path not in {"bin/busybox", "linuxrc"}}
    files = {"bin/busybox": BUSYBOX.read_bytes(), "etc/os-release": _ALPINE.encode()}
    files |= {"etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n", "etc/group": b"root:x:0:\n"}
    return tar(files, links, _FOLDERS.split())


def tar(
    files: Mapping[str, bytes], links: Mapping[str, str] | None = None, folders: Sequence[str] = ()
) -> bytes:
    """Return a tar archive of programs, symbolic links and folders, all root's."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in folders:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(folder)
        for name, data in files.items():
            file = tarfile.TarInfo(name)
            file.size, file.mode = len(data), 0o755
            archive.addfile(file, io.BytesIO(data))
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
    return out.getvalue()

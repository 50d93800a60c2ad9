"""A project's folder for `womm setup`, with the tests' docker and a registry, and what is left there."""

import http.client
import json
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect

from tests.cli.running import WOMM, Result, environment, run
from tests.image.dockerd import Docker
from tests.image.registry import Proxy
from tests.trusting import accept
from womm.image.bases import LABEL
from womm.testbed.state import Record, State

_ANY = ", ".join(
    f"application/vnd.{kind}+json" for kind in ("docker.distribution.manifest.v2", "oci.image.manifest.v1")
)


@dataclass(frozen=True, slots=True)
class Project:
    folder: Path
    base: str
    """Of the image that its testbed begins with."""
    runtime: Path
    """A folder with a short name."""
    proxy: Proxy
    """Before the registry."""
    docker: Docker

    @property
    def prefix(self) -> str:
        return f"{self.proxy.host}/me/"

    @property
    def words(self) -> list[str]:
        """The options of womm setup that answer all questions."""
        return ["--share", "none", "--base", self.base, "--prefix", self.prefix]

    def womm(self, *words: str, **env: Any) -> Result:
        return run(*words, **{"cwd": self.folder, **env})

    def accept(self) -> None:
        """Accept `.womm` as it is now."""
        accept(self.folder)

    def setup(self, *words: str, **env: Any) -> Result:
        """Run womm setup without a terminal."""
        return run("setup", *self.words, *words, "--yes", cwd=self.folder, **env)

    def start(self, *words: str, **env: Any) -> "subprocess.Popen[str]":
        """Start it, leader of a process group."""
        return subprocess.Popen(
            [*WOMM, "setup", *self.words, *words, "--yes"],
            cwd=self.folder,
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )

    def asking(self, *words: str, **env: Any) -> AbstractContextManager["pexpect.spawn[str]"]:
        """Run womm with these words in a terminal."""
        return in_terminal(self.folder, *words, **env)

    @contextmanager
    def dialogue(self, **env: Any) -> Iterator["pexpect.spawn[str]"]:
        """Run womm setup in a terminal, until somebody is in the testbed."""
        with self.asking("setup", *self.words, **env) as child:
            answer(child, "In which namespace", "")
            answer(child, "Which pull secret", "")
            child.expect_exact("Make it work!")
            child.expect_exact("testbed:")
            yield child

    @property
    def written(self) -> dict[str, Any]:
        return tomllib.loads((self.folder / ".womm").read_text())

    @property
    def image(self) -> str:
        return str(self.written["image"])

    @property
    def record(self) -> Record:
        return State.of(self.folder).load()

    def run_in_image(self, line: str) -> bytes:
        """Return what a line prints in a container of the project's image."""
        with self.client() as client:
            found = client.containers.run(
                self.image, ["-c", line], entrypoint="sh", user="0", remove=True, network_mode="none"
            )
            return bytes(found)

    @contextmanager
    def client(self) -> Iterator[Any]:
        client = self.docker.client()
        try:
            yield client
        finally:
            client.close()

    def inspect(self, name: str) -> dict[str, Any]:
        with self.client() as client:
            found: dict[str, Any] = client.api.inspect_image(name)
            return found

    def left(self) -> dict[str, list[str]]:
        """Return what is in the engine beside images with a tag: containers, volumes, images."""
        with self.client() as client:
            return {
                "containers": [str(one["Names"]) for one in client.api.containers(all=True)],
                "volumes": [str(one["Name"]) for one in client.api.volumes()["Volumes"] or ()],
                "images": [
                    str(one["Id"]) for one in client.api.images(filters={"dangling": True, "label": LABEL})
                ],
            }

    @property
    def tag(self) -> str:
        """Of the project's image."""
        return f"{self.folder.name}-{State.of(self.folder).hash}"

    def lacking_in_registry(self) -> list[str]:
        """Return the blobs that the manifest of the project's tag names and the registry does not have."""
        try:
            manifest = self._get(f"manifests/{self.tag}")
        except urllib.error.HTTPError as exc:
            assert exc.code == http.client.NOT_FOUND
            return []
        blobs = [manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])]
        return [digest for digest in blobs if not self._has(digest)]

    def _get(self, path: str) -> Any:
        url = f"http://{self.proxy.registry.host}/v2/me/womm-image/{path}"
        with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": _ANY})) as answer:
            return json.load(answer)

    def _has(self, digest: str) -> bool:
        url = f"http://{self.proxy.registry.host}/v2/me/womm-image/blobs/{digest}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")):
                return True
        except urllib.error.HTTPError:
            return False


NOTHING: dict[str, list[str]] = {"containers": [], "volumes": [], "images": []}


@contextmanager
def in_terminal(folder: Path, *words: str, **env: Any) -> Iterator["pexpect.spawn[str]"]:
    """Run womm with these words in a terminal."""
    child = pexpect.spawn(
        WOMM[0],
        [*WOMM[1:], *words],
        cwd=str(folder),
        env=environment(**{"TERM": "xterm", **env}),
        encoding="utf-8",
        timeout=120,
        dimensions=(40, 200),
    )
    child.logfile_read = sys.stdout
    try:
        yield child
    finally:
        child.close(force=True)


def answer(child: "pexpect.spawn[str]", question: str, typed: str) -> None:
    child.expect_exact(question)
    child.expect_exact("> ")
    child.sendline(typed)

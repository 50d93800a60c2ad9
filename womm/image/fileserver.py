"""The image of the file server: built from images/fileserver, pushed where the user may push.

womm looks for the image in the registry before it builds it. The tag names the contents, so the image of a
release is built once per registry, by the first user.
"""

import errno
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import docker
import docker.constants
import docker.errors
import requests

from womm import programs, words
from womm.errors import ImageError
from womm.image import wheels

log = logging.getLogger(__name__)

NAME: Final = "womm-fileserver"
_HERE: Final = Path(__file__).parent
_RECIPES: Final = (_HERE / "recipes" / "fileserver", _HERE.parent.parent / "images" / "fileserver")
"""The recipe in an installed womm, and in a checkout."""
RECIPE: Final = ("Dockerfile", "unpack.py")
"""The files of the recipe. There may be others beside them: pip compiles the modules that it installs."""
_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_BY_HAND: Final = "or name one that is made already: womm setup --fileserver-image NAME"
_TIMEOUT_S: Final = 600
_WORDS_LIMIT: Final = 300
_NOT_DONE: Final = (docker.errors.APIError, requests.RequestException, json.JSONDecodeError)
Say: TypeAlias = Callable[[str], None]
Download: TypeAlias = Callable[[Path, str], None]
"""Puts wheels into a folder, for a machine type: see wheels.download."""


def provide(prefix: str, *, base: str = "", say: Say = log.info, download: Download = wheels.download) -> str:
    """Return the file server's image in the registry that `prefix` (`REGISTRY/NAME/`) names, by digest.

    If the registry lacks the image, womm builds and pushes it. base: another image to build upon, with
    python3 and perl. download: puts the wheels into a folder. Raises ImageError.
    """
    repository = f"{prefix}{NAME}"
    name = f"{repository}:{wheels.tag()}"
    # docker's library looks for credential helpers in PATH: keep the current folder out of it.
    os.environ["PATH"] = programs.search_path(os.environ)
    with _client() as client:
        digest = _digest_of(client, name)
        if digest is None:
            say(f"{name} is not in the registry: it is built and pushed")
            _build(client, name, base, download)
            digest = _push(client, repository, wheels.tag())
        return f"{repository}@{digest}"


@contextmanager
def context(machine: str, download: Download) -> Iterator[Path]:
    """Yield the folder from which docker builds the image: the recipe, and all wheels beside it."""
    with tempfile.TemporaryDirectory(prefix="womm-image-") as folder:
        place = Path(folder)
        for name in RECIPE:
            shutil.copy(_recipe() / name, place)
        (place / "wheels").mkdir()
        download(place / "wheels", machine)
        wheels.write_own(place / "wheels")
        yield place


def _recipe() -> Path:
    for folder in _RECIPES:
        if (folder / "Dockerfile").is_file():
            return folder
    raise ImageError("this womm has no recipe of the file server's image", "pip install --upgrade womm")


@contextmanager
def _client() -> Iterator[Any]:
    try:
        client = docker.from_env(timeout=_TIMEOUT_S)
        client.ping()
    except (docker.errors.DockerException, requests.RequestException, OSError) as exc:
        raise _no_docker(exc) from exc
    try:
        yield client
    finally:
        client.close()


def _no_docker(exc: Exception) -> ImageError:
    needed, found = "docker is needed for the file server's image", words.system_error(exc)
    where = os.environ.get("DOCKER_HOST") or docker.constants.DEFAULT_UNIX_SOCKET.replace("+", "")
    number = found.errno if found is not None else None
    if number in {errno.ENOENT, errno.ECONNREFUSED}:
        return ImageError(
            f"{needed}, and is not running: nobody listens at {where}", f"docker info; {_BY_HAND}"
        )
    if number in {errno.EACCES, errno.EPERM}:
        return ImageError(
            f"{needed}, and you may not use {where}", f"id; ls -l {where.removeprefix('unix://')}"
        )
    return ImageError(f"{needed}, and does not answer at {where}: {_words(exc)}", f"docker info; {_BY_HAND}")


def _digest_of(client: Any, name: str) -> str | None:
    """Return the digest of an image in its registry; None: it is not there. Raises ImageError."""
    try:
        return str(client.images.get_registry_data(name).id)
    except docker.errors.APIError as exc:
        # For an image that nobody has pushed yet registries answer "not found" or "forbidden".
        if exc.status_code in {401, 403, 404} or "unknown" in _words(exc) or "denied" in _words(exc):
            return None
        raise ImageError(f"the registry of {name} does not answer: {_words(exc)}", "docker info") from exc
    except requests.RequestException as exc:
        raise ImageError(f"docker does not answer: {_words(exc)}", "docker info") from exc


def _build(client: Any, name: str, base: str, download: Download) -> None:
    machine = str(client.info().get("Architecture", ""))
    with context(_MACHINES.get(machine, machine), download) as folder:
        try:
            # Read the stream to its end even after an error: half a stream would keep its connection.
            lines = list(
                client.api.build(
                    path=str(folder),
                    tag=name,
                    buildargs={"BASE": base} if base else {},
                    network_mode="none",
                    rm=True,
                    forcerm=True,
                    decode=True,
                )
            )
        except _NOT_DONE as exc:
            raise ImageError(f"{name} cannot be built: {_words(exc)}", f"docker info; {_BY_HAND}") from exc
    if why := _error(lines):
        log.debug("build: %s", lines)
        raise ImageError(f"{name} cannot be built: {why}", _BY_HAND)


def _push(client: Any, repository: str, tag: str) -> str:
    """Push it; return its digest there. Raises ImageError."""
    failed, login = f"{repository}:{tag} cannot be pushed", f"docker login {repository.partition('/')[0]}"
    try:
        lines = list(client.images.push(repository, tag=tag, stream=True, decode=True))
    except _NOT_DONE as exc:
        raise ImageError(f"{failed}: {_words(exc)}", login) from exc
    digests = [str(line["aux"]["Digest"]) for line in lines if "Digest" in (line.get("aux") or {})]
    if not digests:
        raise ImageError(f"{failed}: {_error(lines) or 'docker does not say why'}", login)
    return digests[-1]


def _error(lines: list[dict[str, Any]]) -> str:
    """Return the last error that docker reports; empty: none."""
    errors = [" ".join(str(line["error"]).split()) for line in lines if "error" in line]
    return words.abridged(errors[-1], _WORDS_LIMIT) if errors else ""


def _words(exc: Exception) -> str:
    if isinstance(exc, requests.Timeout):
        return f"no answer within {_TIMEOUT_S} s"
    explanation = getattr(exc, "explanation", None) or words.cause(exc)
    return words.abridged(" ".join(str(explanation).split()), _WORDS_LIMIT)

"""The image that a testbed begins with: what the engine knows of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import docker.errors

from womm import words
from womm.errors import ImageError
from womm.image.daemon import NOT_DONE, Daemon, failed
from womm.image.progress import Progress
from womm.image.push import pull

LABEL: Final = "womm.testbed"
"""A testbed's container has its own name in this label; an image of ours has it empty."""
BASE_NAME: Final = "org.opencontainers.image.base.name"
BASE_DIGEST: Final = "org.opencontainers.image.base.digest"


@dataclass(frozen=True, slots=True)
class Base:
    """An image that the engine has."""

    id: str
    name: str
    """Of the image that was chosen first: an image of ours goes by the name of what it was made of."""
    digest: str
    """Its digest in the registry of `name`, sha256:...; empty: no registry is known to have it.

    podman, and docker with containerd's store, give one to each image, whether a registry has it or not.
    """
    config: Mapping[str, Any]
    """As the engine has it: Env, Entrypoint, Labels and so on."""
    architecture: str
    """amd64, arm64."""
    os: str
    volumes: tuple[str, ...]
    """Paths that are volumes in its containers: what lies below them gets into no image."""
    is_ours: bool
    """Whether womm has made it: the next layer goes on from it."""


def find(daemon: Daemon, name: str, progress: Progress) -> Base:
    """Return an image by its name; the engine pulls it if it does not have it. Raises ImageError.

    name: as docker takes it; a digest goes before a tag.
    """
    reference = _by_digest(name)
    found = inspect(daemon, reference)
    if found is None:
        pull(daemon, reference, progress)
        found = inspect(daemon, reference)
    if found is None:
        raise ImageError(
            f"{daemon.name} has pulled {words.name(name)}, and does not find it", f"docker pull {reference}"
        )
    return _parsed(found, name)


def inspect(daemon: Daemon, name: str) -> Mapping[str, Any] | None:
    """Return what the engine knows of an image; None: it does not have it. Raises ImageError."""
    try:
        found: Mapping[str, Any] = daemon.client.api.inspect_image(name)
    except docker.errors.NotFound:
        return None
    except NOT_DONE as exc:
        raise failed(f"{daemon.name} does not say what it knows of {words.name(name)}", exc) from exc
    return found


def _by_digest(name: str) -> str:
    """Leave the tag out where there is a digest: engines take one of the two."""
    before, at, digest = name.partition("@")
    repository, colon, tag = before.rpartition(":")
    return f"{repository}{at}{digest}" if at and colon and "/" not in tag else name


def _parsed(found: Mapping[str, Any], name: str) -> Base:
    config = found.get("Config") or {}
    labels = config.get("Labels") or {}
    ours = labels.get(LABEL) == ""
    return Base(
        id=str(found["Id"]),
        name=str(labels.get(BASE_NAME) or name) if ours else name,
        digest=str(labels.get(BASE_DIGEST, "")) if ours else _digest(found, name),
        config=config,
        architecture=str(found.get("Architecture", "")),
        os=str(found.get("Os", "")),
        volumes=tuple(sorted(config.get("Volumes") or ())),
        is_ours=ours,
    )


def _digest(found: Mapping[str, Any], name: str) -> str:
    """Return the digest under which the repository of `name` has an image; empty: none that is known."""
    if "@" in name:
        return name.partition("@")[2]
    if name.startswith("localhost/"):
        return ""  # podman calls what it has made itself so
    repository = (
        name[: -len(tag) - 1] if (tag := name.rpartition(":")[2]) != name and "/" not in tag else name
    )
    for one in found.get("RepoDigests") or ():
        known, _, digest = str(one).partition("@")
        # podman names docker's own registry in full.
        if known == repository or known.endswith((f".io/{repository}", f"/library/{repository}")):
            return digest
    return ""

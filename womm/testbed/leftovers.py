"""What a killed `womm setup` has left in the engine: its container with volumes, an image without a tag.

womm knows its own containers by their label, which is their own name (womm/testbed/opening.py), and its own
images by the comment of their commit. Nothing else is touched, whatever it is called.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import docker.errors

from womm.image.bases import LABEL, Base
from womm.image.commit import COMMENT, remove_untagged
from womm.image.daemon import NOT_DONE, Daemon, failed

_PREFIX: Final = "womm-testbed-"
RANDOM_DIGITS: Final = 4
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Leftover:
    """A testbed's container that is there."""

    name: str
    id: str
    images: tuple[str, ...]
    """What the engine calls its image: by id, by name."""
    state: str
    """As the engine calls it: created, running, paused, exited, dead and so on."""

    def is_of(self, base: Base) -> bool:
        """Return whether its image is this one."""
        return base.id.removeprefix("sha256:") in {name.removeprefix("sha256:") for name in self.images}


def name_of(project_hash: str, random: str) -> str:
    """Return the name of a testbed's container. random: hex digits."""
    return f"{_PREFIX}{project_hash}-{random}"


def find(daemon: Daemon, project_hash: str) -> list[Leftover]:
    """Return the testbeds of a project, the newest first. Raises ImageError."""
    try:
        listed = daemon.client.api.containers(all=True, filters={"label": LABEL})
    except NOT_DONE as exc:
        raise failed(f"{daemon.name} does not list its containers", exc) from exc
    ordered = sorted(listed, key=lambda one: one.get("Created") or 0, reverse=True)
    return [found for one in ordered if (found := _parsed(one, project_hash)) is not None]


def remove(daemon: Daemon, container: str) -> None:
    """Remove a container of ours with its anonymous volumes, if it is still there. Raises ImageError."""
    try:
        daemon.client.api.remove_container(container, v=True, force=True)
    except docker.errors.NotFound:
        return
    except NOT_DONE as exc:
        # 409: another removal is under way.
        if not isinstance(exc, docker.errors.APIError) or exc.status_code != 409:
            raise failed(f"the testbed's container {container} is not removed", exc) from exc


def sweep(daemon: Daemon, project_hash: str, say: Say) -> None:
    """Remove what killed setups of a project have left. Raises ImageError.

    The caller holds the lock of the project's state.
    """
    for one in find(daemon, project_hash):
        say(f"{one.name} is removed: an interrupted setup left it")
        remove(daemon, one.id)
    sweep_images(daemon, project_hash)


def sweep_images(daemon: Daemon, project_hash: str) -> None:
    """Remove the project's images without a tag that nobody needs: a kill came between commit and tag."""
    with suppress(*NOT_DONE):
        listed = daemon.client.api.images(filters={"dangling": True, "label": f"{LABEL}="})
        for one in listed:
            comment = str(daemon.client.api.inspect_image(one["Id"]).get("Comment", ""))
            if comment.startswith(f"{COMMENT}{_PREFIX}{project_hash}-"):
                remove_untagged(daemon, str(one["Id"]))


def _parsed(listed: Mapping[str, Any], project_hash: str) -> Leftover | None:
    """Return a container of the engine's list if it is a testbed of the project."""
    label = str((listed.get("Labels") or {}).get(LABEL, ""))
    names = [str(name).removeprefix("/") for name in listed.get("Names") or ()]
    ours = rf"{_PREFIX}{project_hash}-[0-9a-f]{{{RANDOM_DIGITS}}}"
    if label not in names or not re.fullmatch(ours, label):
        return None
    return Leftover(
        name=label,
        id=str(listed["Id"]),
        images=(str(listed.get("ImageID", "")), str(listed.get("Image", ""))),
        state=str(listed.get("State", "")),
    )

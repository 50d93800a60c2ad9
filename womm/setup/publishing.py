"""From the testbed to the registry: the name of a project's image, its commit, its push.

Strategy: a commit tags the image in the same request, and the record names it until `.womm` does. So a kill
at any time leaves either the container or an image with a name, and the next setup goes on from that. The tag
stays on this machine: the next edit needs no pull.
"""

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from womm import words
from womm.errors import ImageError
from womm.image import commit as commits
from womm.image.bases import Base
from womm.image.daemon import NOT_DONE, Daemon, failed
from womm.image.progress import Progress
from womm.image.push import digest_in_registry, platforms, push
from womm.setup.testbed_work import Work
from womm.testbed import recipe
from womm.testbed.container import Testbed
from womm.testbed.state import State

REPOSITORY: Final = "womm-image"
_NAME_CHARACTERS: Final = 60
"""Of a tag's 128: the rest says which folder of that name it is."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a project's image goes: `{prefix}womm-image`, tagged by the folder."""

    prefix: str
    tag: str

    @property
    def repository(self) -> str:
        return f"{self.prefix}{REPOSITORY}"

    @property
    def name(self) -> str:
        return f"{self.repository}:{self.tag}"

    def pinned(self, digest: str) -> str:
        """Return the name that `.womm` gets: the tag is for people, the digest is what counts."""
        return f"{self.name}@{digest}"


def target(prefix: str, state: State) -> Target:
    """Return the name of the image of a project."""
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", words.printable(state.project.name)).strip(".-")[
        :_NAME_CHARACTERS
    ]
    return Target(prefix, f"{safe or 'project'}-{state.hash}")


def keep(testbed: Testbed, state: State, place: Target, variables: Mapping[str, str]) -> None:
    """Commit what the testbed has, and note that it is to be pushed. Raises ImageError."""
    title = words.printable(state.project.name)
    commits.commit(
        testbed.daemon,
        testbed.id,
        testbed.base,
        place.name,
        variables=variables,
        labels=commits.labels(testbed.base, title),
        comment=testbed.name,
    )
    note(state, place.name)


def write_recipe(state: State, base: Base, work: Work, run: Sequence[str] = ()) -> Path | None:
    """Add the work to the project's recipe; return its path, None where there is nothing to add.

    run: the commands of --run. Raises ImageError.
    """
    visit = recipe.Visit(time.strftime("%Y-%m-%d %H:%M"), run, work.typed, work.variables, bash=work.has_bash)
    return recipe.write(state.project, recipe.Origin.of(base), visit, work.folder)


def note(state: State, name: str) -> None:
    """Record the image that the next setup goes on from; empty: `.womm` names it now."""
    record = state.load()
    if record.image != name:
        state.save(replace(record, image=name))


def pinned(base: Base) -> str:
    """Return an image's name by its digest; empty: no registry is known to have it."""
    if not base.digest:
        return ""
    return base.name if "@" in base.name else f"{base.name}@{base.digest}"


def tag(daemon: Daemon, base: Base, place: Target) -> None:
    """Give an image the project's name, so that it can be pushed. Raises ImageError."""
    try:
        daemon.client.api.tag(base.id, place.repository, place.tag, force=True)
    except NOT_DONE as exc:
        raise failed(f"{words.name(place.name)} cannot be tagged", exc) from exc


def publish(
    daemon: Daemon,
    place: Target,
    progress: Progress,
    say: Say,
    *,
    nodes: Collection[str] | None,
    again: str = "the next womm setup",
) -> str:
    """Push the image; return its name with the digest.

    nodes: their architectures; None: unknown. again: what pushes it another time. When it does not get there,
    womm says what is kept. Raises ImageError.
    """
    try:
        digest = push(daemon, place.repository, place.tag, progress)
    except BaseException:
        say(f"womm: the image is kept here as {place.name}: {again} pushes it")
        raise
    name = place.pinned(digest)
    _check_platforms(daemon, name, nodes)
    return name


def is_in_registry(daemon: Daemon, name: str) -> bool:
    """Return whether the registry has an image, or does not say; only a plain no counts as one."""
    try:
        return daemon.name == "podman" or digest_in_registry(daemon, name) is not None
    except ImageError:
        return True


def check_architecture(daemon: Daemon, base: Base, nodes: Collection[str] | None, say: Say) -> None:
    """Compare an image with the nodes' architectures, before the user works on it. Raises ImageError."""
    has = base.architecture
    if not has or not nodes:
        return
    if has not in nodes:
        raise ImageError(
            f"{words.name(base.name)} is for {has}, and the nodes of the cluster are {_listed(nodes)}",
            f"{daemon.name} pull --platform linux/{min(nodes)} {base.name}; or another image: --base NAME",
        )
    if others := set(nodes) - {has}:
        say(f"womm: {words.name(base.name)} is for {has}: nodes of {_listed(others)} cannot run it")


def _check_platforms(daemon: Daemon, name: str, nodes: Collection[str] | None) -> None:
    """An engine may push an index: what counts is what the registry gives to the nodes."""
    found = platforms(daemon, name) if nodes else ()
    if found and not any(f"linux/{one}" in found for one in nodes or ()):
        raise ImageError(
            f"{words.name(name)} is for {', '.join(found)}, and the nodes are {_listed(nodes or ())}",
            "womm setup --base with an image for them",
        )


def _listed(architectures: Collection[str]) -> str:
    return ", ".join(sorted(architectures))

"""`womm shell --local`: the image of the project as a container on this machine, with the folder in it.

It is the testbed, with another end: what changed is offered to be kept, and without a terminal it is dropped.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from womm import project, settings, values, words
from womm.errors import ImageError, UsageError
from womm.image import bases
from womm.image.bases import Base
from womm.image.daemon import Daemon, connect
from womm.image.progress import Progress, on_stderr
from womm.settings import HERE, Settings
from womm.setup import dotfile, publishing
from womm.setup.asking import Asker
from womm.setup.dotfile import Dotfile
from womm.setup.publishing import Target
from womm.setup.testbed_work import Bench, Order, Work
from womm.testbed import changes, leftovers
from womm.testbed.container import Testbed
from womm.testbed.opening import opened
from womm.testbed.state import State

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LocalShell:
    """One call. settings: of a project whose `.womm` counts. command: without, a shell for people.

    cwd: the current folder, in the project's.
    """

    settings: Settings
    cwd: Path
    command: tuple[str, ...]
    asker: Asker
    say: Say


def run(task: LocalShell) -> int:
    """Return the exit status of the shell or the command. Raises ImageError, ProjectError, UsageError."""
    settings = task.settings
    if settings.project is None or not settings.image:
        raise UsageError("womm shell --local runs the project's image, and there is none here", "womm setup")
    if settings.image == HERE:
        raise UsageError(
            f"womm shell --local: image is {HERE}: this very shell has the programs that pods see",
            "womm shell",
        )
    state = State.of(settings.project)
    with state.locked(), connect("docker is needed for womm shell --local") as daemon:
        return _Shell(task, settings.project, state, daemon, on_stderr(task.say)).run()


@dataclass(frozen=True, slots=True)
class _Shell:
    task: LocalShell
    folder: Path
    state: State
    daemon: Daemon
    progress: Progress

    def run(self) -> int:
        task, settings = self.task, self.task.settings
        base = bases.find(self.daemon, settings.image, self.progress)
        left = self._left(base)
        asks = task.asker.asks
        if asks:
            self._check_unpushed(base)

        def tell(text: str) -> None:
            if asks or left:
                task.say(f"womm: {text}")

        network = settings.testbed_network
        with opened(self.daemon, base, self.state, network=network, say=tell) as testbed:
            testbed.kept = bool(left)
            bench = Bench(testbed, self.state, Order(), task.asker, task.say)
            if asks:
                task.say(f"womm: {self.daemon}")
            status = bench.visit(task.command, task.cwd)
            kept = None
            if asks:
                kept = self._kept(testbed, bench, bool(left))
            elif not left:
                self._say_dropped(testbed)
            testbed.kept = bool(left) and kept is None
        if kept is not None:
            self._publish(base, *kept)
        return status

    def _check_unpushed(self, base: Base) -> None:
        """Raise ImageError for an image that a setup could not push: a commit would replace it."""
        name = self.state.load().image
        known = bases.inspect(self.daemon, name) if name else None
        if known is not None and known["Id"] != base.id:
            raise ImageError(
                f"a setup that did not finish has left its image {words.name(name)}",
                "womm setup goes on with it",
            )

    def _left(self, base: Base) -> str:
        """Return the testbed that a setup has left, in which this shell goes on; empty: none.

        Raises ImageError for one of another image: womm shell must not remove what the user has made there.
        """
        found = leftovers.find(self.daemon, self.state.hash)
        for one in found:
            if not one.is_of(base):
                raise ImageError(
                    f"a setup that was interrupted has left the testbed {one.name}",
                    "womm setup goes on in it",
                )
        return found[0].name if found else ""

    def _kept(self, testbed: Testbed, bench: Bench, was_left: bool) -> tuple[Work, Target] | None:
        """Ask whether what has changed is to be kept; commit it. None: it is not."""
        work, asker = bench.looked_at(), self.task.asker
        if not work.nothing:
            if asker.confirm("Keep this in the image of the project?", False) and bench.may_be_kept(work):
                prefix = self.task.settings.prefix or asker.text(
                    "Where may womm push images (REGISTRY/NAME/)?", option="--prefix", check=values.prefix
                )
                place = publishing.target(values.prefix(prefix), self.state)
                publishing.keep(testbed, self.state, place, work.variables)
                return work, place
            stays = "womm: it stays in the testbed, in which the next womm setup goes on"
            self.task.say(stays if was_left else "womm: it is dropped")
        testbed.kept = was_left
        return None

    def _say_dropped(self, testbed: Testbed) -> None:
        """Say, where nobody can be asked, that changes are lost."""
        found = changes.look(testbed)
        if not found.nothing:
            count = words.counted(len(found.files) + len(found.removed), "file")
            self.task.say(
                f"womm: {count} changed in the container, {words.shown_bytes(found.size_bytes)}: dropped; "
                "to keep changes: womm setup --run COMMAND"
            )

    def _publish(self, base: Base, work: Work, place: Target) -> None:
        """Push the image; `.womm` gets it, and is accepted so."""
        task = self.task
        publishing.write_recipe(self.state, base, work)
        image = publishing.publish(self.daemon, place, self.progress, task.say, nodes=None)
        existing = project.at(self.folder)
        if existing is None or not settings.review_of(existing, os.environ).counts:
            raise ImageError(
                f"{self.folder}/.womm has gone, or was changed meanwhile: it does not name {image}",
                "womm trust; womm setup",
            )
        found = Dotfile(existing.path, existing.values, existing)
        prefix = {} if task.settings.prefix else {"prefix": place.prefix}
        dotfile.write(found.path, dotfile.edited(found, {"image": image, "base": base.name, **prefix}))
        publishing.note(self.state, "")
        task.say(f"womm: {found.path} names the new image: {image}")

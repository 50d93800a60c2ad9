"""From the answers to an image in the registry: the testbed, or a Dockerfile, then the push.

The order makes every end a good one. While the user works, the container is what is kept. A commit makes an
image with a name, which the record has until `.womm` does; then the container goes. So a failure, Ctrl-C or a
kill leaves at most one thing, and the next setup finds it and goes on from there.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

import womm
from womm import words
from womm.errors import ImageError
from womm.image import bases
from womm.image.bases import Base
from womm.image.build import build
from womm.image.commit import TITLE, VERSION
from womm.image.daemon import Daemon, connect
from womm.image.progress import Progress, on_stderr
from womm.secrets import scan
from womm.secrets.scan import Finding
from womm.setup import publishing
from womm.setup.asking import Asker
from womm.setup.publishing import Target
from womm.setup.questions import Answers
from womm.setup.testbed_work import Bench, Order, Work, may_be_pushed
from womm.testbed.opening import opened
from womm.testbed.state import State

Say = Callable[[str], None]
Architectures = Callable[[], Collection[str] | None]
"""Asks the cluster for the architectures of its nodes (`amd64`); None: unknown."""


@dataclass(frozen=True, slots=True)
class Image:
    """What `.womm` gets. image: with its digest. base: the image that it was made of; empty: a Dockerfile."""

    image: str
    base: str


def make_image(answers: Answers, asker: Asker, say: Say, architectures: Architectures) -> Image:
    """Make the image of the workers, or find that it stays as it is.

    say: tells the user a line. Raises ImageError, click.Abort. Once `.womm` names the image, call `settled`.
    """
    state = State.of(answers.folder)
    with state.locked(), connect("docker is needed for the testbed") as daemon:
        say(f"womm: {daemon}")
        story = _Story(answers, asker, say, architectures, daemon, state)
        if answers.dockerfile is not None:
            return story.by_dockerfile(answers.dockerfile)
        return story.in_testbed()


def settled(project: Path) -> None:
    """Forget the image that was to be pushed: `.womm` names it now. Raises ImageError, JournalError."""
    publishing.note(State.of(project), "")


@dataclass(frozen=True, slots=True)
class _Start:
    """What a testbed begins with. name: stays in `.womm` if nothing changes; empty: it must be pushed."""

    base: Base
    name: str


@dataclass(frozen=True, slots=True)
class _Story:
    answers: Answers
    asker: Asker
    say: Say
    architectures: Architectures
    daemon: Daemon
    state: State

    @property
    def _progress(self) -> Progress:
        return on_stderr(self._tell)

    @property
    def _place(self) -> Target:
        return publishing.target(self.answers.prefix, self.state)

    def by_dockerfile(self, dockerfile: Path) -> Image:
        """Build it with the engine's own builder."""
        title = words.printable(self.answers.folder.name)
        with self._told_when_interrupted():
            is_clean = self._may_be_built(dockerfile)
            build(
                self.daemon,
                dockerfile,
                self._place.repository,
                self._place.tag,
                labels={TITLE: title, VERSION: womm.__version__},
                progress=self._progress,
                network=self.answers.network,
            )
            self._check_built(dockerfile, is_clean=is_clean)
        publishing.note(self.state, self._place.name)
        again = f"womm setup --dockerfile {words.name(str(dockerfile))}"
        return Image(self._published(self.architectures(), again=again), "")

    def _may_be_built(self, dockerfile: Path) -> bool:
        """Look for secrets in the file, before docker prints its lines. Return whether there was none.

        What it copies is not looked at. Raises ImageError, click.Abort.
        """
        try:
            text = dockerfile.read_bytes().decode("utf-8", "surrogateescape")
        except OSError as exc:
            raise ImageError(f"cannot read {words.name(str(dockerfile))}: {words.cause(exc)}") from exc
        found = scan.in_text(text, dockerfile.name)
        self._ask_to_push(found)
        return not found

    def _check_built(self, dockerfile: Path, *, is_clean: bool) -> None:
        """See that workers can use what was built, and that it may be pushed. Raises ImageError, click.Abort.

        is_clean: nobody was asked about a secret in the file.
        """
        built = bases.find(self.daemon, self._place.name, self._progress)
        network = self.answers.network
        with opened(self.daemon, built, self.state, network=network, say=self._tell) as testbed:
            found = Bench(testbed, self.state, Order(), self.asker, self.say).check_built(dockerfile)
        if is_clean:
            self._ask_to_push(found)

    def _ask_to_push(self, found: Sequence[Finding]) -> None:
        """Raises ImageError, click.Abort."""
        remedy, allowed = "take it out of the Dockerfile", self.answers.allow_secrets
        if not may_be_pushed(found, remedy, allowed=allowed, asker=self.asker, say=self.say):
            raise click.Abort

    def in_testbed(self) -> Image:
        """Make it by hand, or by the commands of --run."""
        with self._told_when_interrupted():
            start = self._start()
        nodes = None if start.base.is_ours else self.architectures()
        publishing.check_architecture(self.daemon, start.base, nodes, self.say)
        self._say_volumes(start.base)
        work = self._work(start.base)
        base = start.base.name
        if work.nothing and start.name and publishing.is_in_registry(self.daemon, start.name):
            self._tell(f"nothing has changed: the image stays {words.name(start.name)}")
            return Image(start.name, base)
        if work.nothing:
            publishing.tag(self.daemon, start.base, self._place)
            publishing.note(self.state, self._place.name)
        return Image(self._published(nodes if nodes is not None else self.architectures()), base)

    def _start(self) -> _Start:
        unpushed = self._unpushed()
        if unpushed is not None:
            return _Start(unpushed, "")
        kept, base = self.answers.kept, self.answers.base
        if kept:
            found = bases.find(self.daemon, kept, self._progress)
            if found.is_ours or kept == base:
                return _Start(found, kept)
        found = bases.find(self.daemon, base, self._progress)
        return _Start(found, publishing.pinned(found))

    def _unpushed(self) -> Base | None:
        """Return the image that an earlier setup has made, and `.womm` does not name, if its base is ours."""
        name = self.state.load().image
        known = bases.inspect(self.daemon, name) if name else None
        if known is None:
            return None
        found = bases.find(self.daemon, name, self._progress)
        kept = self.answers.kept.partition("@")[2]
        pushed = [str(one).partition("@")[2] for one in known.get("RepoDigests") or ()]
        if kept in pushed or not found.is_ours or found.name != self.answers.base:
            return None
        self._tell(f"an earlier setup did not finish with its image {words.name(name)}: it goes on here")
        return found

    def _work(self, base: Base) -> Work:
        """Have the work done in a testbed, and keep it as an image here."""
        answers = self.answers
        with (
            self._told_when_interrupted(),
            opened(self.daemon, base, self.state, network=answers.network, say=self._tell) as testbed,
        ):
            order = Order(answers.run, answers.variables, answers.allow_secrets)
            work = Bench(testbed, self.state, order, self.asker, self.say).done()
            if not work.nothing:
                publishing.keep(testbed, self.state, self._place, work.variables)
            testbed.kept = False
        if not work.nothing:
            publishing.write_recipe(self.state, base, work, answers.run)
        return work

    @contextmanager
    def _told_when_interrupted(self) -> Iterator[None]:
        """Say in a line that Ctrl-C has ended womm; what stays says so itself."""
        try:
            yield
        except KeyboardInterrupt:
            self._tell("interrupted")
            raise

    def _say_volumes(self, base: Base) -> None:
        if base.volumes:
            paths = ", ".join(map(words.name, base.volumes))
            self.say(
                f"womm: {words.name(base.name)} has volumes, and no image keeps what you put there: {paths}"
            )

    def _tell(self, text: str) -> None:
        self.say(f"womm: {text}")

    def _published(self, nodes: Collection[str] | None, again: str = "the next womm setup") -> str:
        return publishing.publish(
            self.daemon, self._place, self._progress, self.say, nodes=nodes, again=again
        )

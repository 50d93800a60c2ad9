"""The work in a testbed: commands or visits, until it works and nothing is in it that must not be.

The user goes back in when a program that workers need is missing, when it does not work yet, or when there is
a secret in it. Without a terminal there is no visit, and each of these is an error.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from womm import words
from womm.errors import ImageError
from womm.secrets import scan
from womm.secrets.scan import Finding
from womm.setup.asking import Asker
from womm.testbed import caches, changes, ownership, packages, requirements
from womm.testbed.changes import Changes
from womm.testbed.container import HOST_ROOT, Testbed
from womm.testbed.shell_files import Typed, is_of
from womm.testbed.state import State
from womm.testbed.visit import left, visit

Say = Callable[[str], None]
_VALUE_WIDTH: Final = 60
_FINDINGS: Final = 40
"""The most that are named; the rest is counted."""

# Ends all programs but the one that holds the container, whose session is 1: proc_pid_stat(5). A command that
# goes on would make files in the folder after they have been given back.
_END_ALL: Final = """
for process in /proc/[0-9]*; do
    read -r line <"$process/stat" || continue
    set -- ${line##*) }
    [ "$4" = 1 ] || [ "${process#/proc/}" = $$ ] || kill -9 "${process#/proc/}"
done 2>/dev/null
"""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done in a testbed. run: commands instead of a visit. variables: to be saved, by --env."""

    run: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    allow_secrets: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """What has been done in a testbed. variables: the new ones. typed: the commands of visits."""

    changes: Changes
    variables: Mapping[str, str]
    typed: tuple[Typed, ...]
    folder: Path | None
    """The project's, as the testbed had it."""
    has_bash: bool = True
    """Whether the image has bash, in which the commands were typed."""

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to keep."""
        return self.changes.nothing and not self.variables


class Bench:
    """The work in one testbed. Every method raises ImageError; where it asks, click.Abort."""

    def __init__(self, testbed: Testbed, state: State, order: Order, asker: Asker, say: Say) -> None:
        self._testbed, self._state, self._order = testbed, state, order
        self._asker, self._say = asker, say
        self._visits = asker.asks and not order.run
        if order.run and state.load().root_owned is not None:  # the command of a setup that was killed
            testbed.run(["sh", "-c", _END_ALL])
        self._give_back()  # what a setup that was killed has left
        self._seen = left(testbed, state)
        # Somebody has been in it before, so an error must not end what he has made.
        testbed.kept = testbed.kept or is_of(testbed, state)
        self._packages = packages.read(testbed)

    def done(self) -> Work:
        """Return the work once it may be kept.

        After a visit the container stays if an error comes, or Ctrl-C: the next setup goes on in it. What
        only commands have done can be done again, so it goes.
        """
        if self._order.run:
            with self._owned():
                for number, line in enumerate(self._order.run, 1):
                    self._run(number, line)
        if self._visits:
            self._welcome()
            self.visit()
        while True:
            if self._lacks() or (self._visits and not self._asker.confirm("Does it work?", True)):
                self.visit()
            elif self.may_be_kept(work := self.looked_at()):
                return work
            else:
                self.visit()

    # ---- in the container

    def visit(self, command: Sequence[str] = (), cwd: Path | None = None) -> int:
        """Let the user in, or run a command with this terminal or these pipes; return its status."""
        self._testbed.kept = self._testbed.kept or not command
        with self._owned():
            self._seen = visit(self._testbed, self._state, command=command, cwd=cwd)
        for name, why in self._seen.left_out.items():
            self._say(f"womm: not saved: {words.name(name)}: {why}")
        return self._seen.status

    def _run(self, number: int, line: str) -> None:
        """Run one command of --run; its output is shown."""
        secret = scan.in_text(line)
        shown = f"command {number}, which may hold a secret" if secret else words.name(line)
        self._say(f"womm: running {shown}")
        status = self._testbed.stream(["sh", "-c", line], cwd=str(self._testbed.folder or "/"))
        if status:
            raise ImageError(
                f"the command has ended with status {status}: {shown}",
                "womm setup    (without --run and --yes: a shell to try it in)",
            )

    # ---- what is asked and said

    def _welcome(self) -> None:
        testbed, lacking = self._testbed, requirements.missing(self._testbed)
        self._say("This is a *local* shell, as root in the image: what you install here is saved.")
        self._say("The goal is that if your program works here, it works on the cluster, too.")
        if testbed.folder is not None:
            self._say(f"Your folder is here, at {words.name(str(testbed.folder))}; it is not in the image.")
        if testbed.daemon.can_mount_host:
            self._say(f"This machine's files are in {HOST_ROOT}, to read, and only here.")
        self._say("Variables that you export are saved, too. Make it work! Then type: exit")
        if lacking:
            names = " ".join(lacking)
            self._say(f"Also make sure our dependencies are installed: {names}{self._advice(lacking)}")

    def _lacks(self) -> bool:
        """Say what workers need and the testbed lacks. Raises ImageError where nobody can go in."""
        lacking = requirements.missing(self._testbed)
        if not lacking:
            return False
        text = f"workers need {' and '.join(lacking)}, and the image does not have it"
        if self._visits:
            self._say(f"womm: {text}{self._advice(lacking)}")
            return True
        command = requirements.advice(self._testbed, lacking)
        hint = (
            f"the same command with --run '{command}'" if command else "the same command with another --base"
        )
        raise ImageError(text, hint)

    def _advice(self, lacking: tuple[str, ...]) -> str:
        command = requirements.advice(self._testbed, lacking)
        return f" ({command})" if command else ""

    def looked_at(self) -> Work:
        """Show what has changed, and offer to remove caches."""
        found = changes.look(self._testbed)
        spare = caches.find(found)
        word = "could go" if self._asker.asks else "removed"
        for cache in spare:
            self._say(f"womm: {word if cache.sure else 'perhaps a cache'}: {cache}")
        sure = [cache for cache in spare if cache.sure]
        if sure and self._asker.confirm("Remove what could go?", True):
            caches.clean(self._testbed, sure, found)
            found = changes.look(self._testbed)
        if not found.nothing:
            self._say(f"womm: changed in the image, {words.shown_bytes(found.size_bytes)}:")
            now = packages.read(self._testbed)
            difference = packages.difference(self._packages, now, found.listed)
            for line in (*found.lines(), *difference.lines()):
                self._say(f"    {line}")
        typed = self._seen.commands
        has_bash = bool(typed) and not self._testbed.run(["sh", "-c", "command -v bash"]).status
        return Work(found, self._new_variables(), typed, self._testbed.folder, has_bash)

    def may_be_kept(self, work: Work) -> bool:
        """Show the variables, and name what looks like a secret; return whether all may be pushed."""
        suspect = scan.in_variables(work.variables)
        hidden = {finding.path for finding in suspect}
        for name, value in work.variables.items():
            shown = "(not shown)" if name in hidden else words.name(value, _VALUE_WIDTH)
            self._say(f"womm: saved variable: {name}={shown}")
        found = [*work.changes.findings, *suspect]
        remedy, allowed = "remove it in the last --run", self._order.allow_secrets
        return may_be_pushed(found, remedy, allowed=allowed, asker=self._asker, say=self._say)

    def check_built(self, dockerfile: Path) -> list[Finding]:
        """See that workers can use the image of a Dockerfile, of which this is a testbed.

        Return the variables that look like secrets.
        """
        if lacking := requirements.missing(self._testbed):
            command = requirements.advice(self._testbed, lacking)
            raise ImageError(
                f"workers need {' and '.join(lacking)}, and the image does not have it",
                f"in {words.name(str(dockerfile))}: RUN {command}" if command else None,
            )
        return scan.in_variables(_variables(self._testbed))

    def _new_variables(self) -> dict[str, str]:
        """Return the variables that the image does not have so already. --env goes before the shell."""
        has = _variables(self._testbed)
        wanted = {**self._seen.variables, **self._order.variables}
        return {name: value for name, value in wanted.items() if has.get(name) != value}

    # ---- the files of the folder

    @contextmanager
    def _owned(self) -> Iterator[None]:
        """While root works in the folder: note what is root's already; give back the rest afterwards."""
        folder = self._testbed.folder
        if folder is not None:
            self._state.save(replace(self._state.load(), root_owned=ownership.root_owned(folder)))
        try:
            yield
        finally:
            with suppress(ImageError):
                self._testbed.run(["sh", "-c", _END_ALL])
            self._give_back()

    def _give_back(self) -> None:
        """Give the user what root has made in the folder since the record was written."""
        folder, record = self._testbed.folder, self._state.load()
        if folder is not None and record.root_owned is not None:
            ownership.give_back(self._testbed, folder, record.root_owned)
            self._state.save(replace(self._state.load(), root_owned=None))


def may_be_pushed(found: Sequence[Finding], remedy: str, *, allowed: bool, asker: Asker, say: Say) -> bool:
    """Name what looks like a secret, and ask.

    remedy: what to do where womm does not ask. Raises ImageError, click.Abort.
    """
    if not found:
        return True
    say(f"womm: {_counted(found)} like a secret:")
    for finding in found[:_FINDINGS]:
        say(f"    {finding}")
    if len(found) > _FINDINGS:
        say(f"    and {len(found) - _FINDINGS:,} more")
    if allowed:
        say("womm: kept all the same, by --allow-secrets")
        return True
    if asker.asks:
        return asker.confirm("Push it all the same?", False)
    raise ImageError(
        f"{_counted(found)} like a secret: nothing is kept or pushed",
        f"{remedy}; or, if all who can pull the image may have it: --allow-secrets",
    )


def _variables(testbed: Testbed) -> dict[str, str]:
    """Return those of the testbed's image."""
    return dict(entry.partition("=")[::2] for entry in testbed.base.config.get("Env") or ())


def _counted(found: Sequence[Finding]) -> str:
    return f"{words.counted(len(found), 'thing')} look{'s' if len(found) == 1 else ''}"

"""The console blocks of a page, and a terminal that runs their commands as they are printed.

A block is indented by four spaces. The user types the lines in it that begin with `$ `; what follows such
a line is what he sees. After `$ womm shell` he types into the worker's shell, until he types `exit`: its
prompt is `$ `, `# ` or that of a bash, `root@POD:/# `. A command that asks shows `> ` or `[default] > `
before each answer; the testbed that it opens has the prompt `testbed:FOLDER# `.
"""

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect

from tests import processes

PROMPT = "@@>"
_DEADLINE_S = 420
_OF_A_SLOW_MACHINE = ("waiting for a worker: ", "no worker is there", "the shell has ended: cleaning up")


@dataclass(frozen=True, slots=True)
class Command:
    """`section`: the heading above it. `inner`: what is typed into a shell that it opens, and its answers."""

    section: str
    text: str
    output: tuple[str, ...]
    inner: tuple[str, ...] = ()


@dataclass(slots=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return [*self.out.splitlines(), *self.err.splitlines()]


_ASKING = re.compile(r"womm (?:setup|shell --local)(?!.* --yes)(?!.* -- )")


def commands(page: str) -> list[Command]:
    """Every command of a page, in order."""
    found: list[Command] = []
    section = ""
    is_open = is_in_shell = asks = False
    for line in page.splitlines():
        typed = re.match(r"    (\w+@\S+:\S*[$#]|testbed:\S*#|[$#]) (.+)", line)
        answered = re.match(r"    (?:\[[^\]]+\] )?>(?: (.*))?$", line)
        if not line.startswith("    "):
            is_open &= not line.strip()  # a block may have empty lines
            is_in_shell &= is_open
            asks &= is_open
            if heading := re.match(r"#+ (.+)", line):
                section = heading[1]
        elif asks and typed and typed[1].startswith("testbed:"):
            _add(found, inner=typed[2])
        elif asks and answered:
            _add(found, inner=answered[1] or "")
        elif typed and is_in_shell:
            _add(found, inner=typed[2])
            is_in_shell = not typed[2].startswith("exit")
        elif typed and typed[1] == "$":
            found.append(Command(section, typed[2], ()))
            is_open = True
            asks = _ASKING.match(typed[2]) is not None
            is_in_shell = not asks and re.match(r"womm shell(?!.* -- )", typed[2]) is not None
        elif is_open:
            _add(found, output=line[4:])
    return found


def _add(found: list[Command], *, inner: str | None = None, output: str = "") -> None:
    last = found[-1]
    more_inner = () if inner is None else (inner,)
    more_output = (output,) if output else ()
    found[-1] = Command(last.section, last.text, last.output + more_output, last.inner + more_inner)


_VARYING = (
    (r"\bwomm-task-[a-z]{8}(-[a-z0-9]+-[a-z0-9]{5})?\b|\b[a-z]{8}-\d\b", "ID"),
    (r"^[a-z]{8}(?=\s)|(?<=\btask )[a-z]{8}\b|(?<=\blogs )[a-z]{8}\b", "ID"),
    (r"(?<=uses anything on )\S+", "HOST"),
    (r"\b\d+m\d+s\b|\b\d+(\.\d+)?[smhd]\b", "0s"),
    (r"\b\d[\d.,:]*(?: ?(?:[kKMGT]i?B|B|[kMGT]i))?\b", "0"),
    (r"-{3,}", "---"),
    (r"/\S*/(python3?|perl|parallel)\b", r"\1"),
    (r"\bpython3\b", "python"),
    (r"\b(ahead|behind)\b", "apart"),
    (r"\S*\.{3}$", "..."),
    (r"\s+", " "),
)


def plain(line: str) -> str:
    """A line without what differs from run to run: ids, times, numbers, widths, a word that is cut."""
    for pattern, instead in _VARYING:
        line = re.sub(pattern, instead, line)
    return line.strip()


def unlike(command: Command, done: Done) -> list[str]:
    """What is printed in the page and was not seen, and lines of womm's that the page does not have."""
    seen = {plain(line) for line in done.lines}
    wrong = []
    expected = [plain(line.removeprefix("^C")) for line in command.output]
    for line in expected:
        pattern = ".*".join(map(re.escape, line.split("...")))
        # In a terminal ls(1) prints several names in a line.
        if not any(re.fullmatch(pattern, other) for other in seen) and not {*line.split()} <= seen:
            wrong.append(f"not seen: {line}")
    patterns = [".*".join(map(re.escape, line.split("..."))) for line in expected]
    for other in sorted(seen):
        is_womms = (
            command.output
            and other.startswith("womm: ")
            and not any(words in other for words in _OF_A_SLOW_MACHINE)
        )
        if is_womms and not any(re.fullmatch(pattern, other) for pattern in patterns):
            wrong.append(f"not in the page: {other}")
    return wrong


@dataclass
class Terminal:
    """A bash in a terminal. Output of commands goes to files: shells that they open have the terminal."""

    folder: Path
    environment: Mapping[str, str]
    substitutions: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    """By the id that the page has: the one that a task has here."""

    def __post_init__(self) -> None:
        self._status = 0
        self._exported: dict[str, str] = {}
        self.folder.mkdir(exist_ok=True)
        self._child: Any = pexpect.spawn(
            "bash",
            ["--norc", "--noediting"],
            cwd=self.environment["HOME"],
            env={**self.environment, "PS1": PROMPT, "PS2": "", "TERM": "dumb"},
            encoding="utf-8",
            echo=False,
            timeout=_DEADLINE_S,
            dimensions=(24, 120),
        )
        self._child.expect_exact(PROMPT)

    @property
    def home(self) -> Path:
        return Path(self.environment["HOME"])

    @property
    def exported(self) -> dict[str, str]:
        """The environment of a program that is started in another such terminal."""
        return {**self.environment, **self._exported}

    def export(self, **variables: str) -> None:
        """As if they were in the user's profile."""
        self._exported |= variables
        words = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        self._type(f"export {words}")

    def enter(self, folder: Path) -> None:
        self._type(f"cd {shlex.quote(str(folder))}")

    def _type(self, line: str) -> None:
        self._child.sendline(line)
        self._child.expect_exact(PROMPT)

    def close(self) -> None:
        self._child.close(force=True)

    def as_printed(self, text: str) -> str:
        """What was seen here, with the names that the page has."""
        for printed, here in {**self.substitutions, "/home/you": self.environment["HOME"]}.items():
            text = text.replace(here, printed)
        return text

    def spelled(self, text: str) -> str:
        """The text of the page with the names that are this machine's."""
        for printed, here in {**self.substitutions, **self.ids}.items():
            text = text.replace(printed, here)
        return text

    def run(self, command: Command, interrupt: Callable[[], bool] | None = None) -> Done:
        """Type the command; return what it did. Its `$?` is that of the command before it.

        interrupt: press Ctrl-C when this says so.
        """
        script, out, err = (self.folder / name for name in ("typed", "out", "err"))
        script.write_text(f"(exit {self._status})\n{self.spelled(command.text)}\n")
        words = f". {shlex.quote(str(script))}"
        shell = ""
        if command.inner:
            self._child.sendline(words)
            shell = self._in_shell(command.inner)
            out.write_text("")
            err.write_text("")
        else:
            self._child.sendline(f"{words} >{shlex.quote(str(out))} 2>{shlex.quote(str(err))}")
            if interrupt is not None:
                self._interrupt(interrupt)
            self._child.expect_exact(PROMPT)
        self._child.sendline("echo status=$?.")
        self._child.expect(r"status=(\d+)\.")
        self._status = int(self._child.match[1])
        self._child.expect_exact(PROMPT)
        seen = shell + out.read_text(errors="replace"), err.read_text(errors="replace")
        done = Done(self._status, *map(self.as_printed, seen))
        self._learn_ids(command.output, done.lines)
        return done

    def _in_shell(self, lines: Sequence[str]) -> str:
        """Type lines into the shell that a command opens, and leave it; or answer what a command asks."""
        seen = ""
        prompt = re.compile(rf"(?:{re.escape(PROMPT)}|[#$] |(?:^|\n)(?:\[[^\]\n]*\] )?> )\Z")
        for line in lines:
            self._child.expect(prompt)
            seen += self._child.before + "\n"
            self._child.sendline(self.spelled(line))
        self._child.expect_exact(PROMPT)
        return (seen + str(self._child.before)).replace("\r", "")

    def _interrupt(self, when: Callable[[], bool]) -> None:
        """Press Ctrl-C, as the page says."""
        for _ in range(_DEADLINE_S):
            ended = self._child.expect_exact([PROMPT, pexpect.TIMEOUT], timeout=1) == 0
            assert not ended, "it ended before it was interrupted"
            if when():
                break
        self._child.sendintr()

    def _learn_ids(self, printed: Sequence[str], seen: Sequence[str]) -> None:
        found = [re.findall(r"\btask ([a-z]{8})\b", "\n".join(lines)) for lines in (printed, seen)]
        for page, here in zip(*found, strict=False):
            self.ids[page] = here


def environment(home: Path, runtime: Path, path: Sequence[Path]) -> dict[str, str]:
    """That of a new user: a home, and these folders first in PATH."""
    home.mkdir(exist_ok=True)
    places = os.pathsep.join([*map(str, path), os.environ["PATH"]])
    return {
        "HOME": str(home),
        "PATH": places,
        "LANG": "C.UTF-8",
        "USER": "you",
        "XDG_RUNTIME_DIR": str(runtime),
        processes.MARK: os.environ[processes.MARK],
    }

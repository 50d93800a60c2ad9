"""Questions to the user: plain lines on stderr, an answer from stdin; good for a screen reader, too.

A question has a line of its own, its choices are numbered lines, and `[default] > ` is before the answer.
Ctrl-C ends womm with status 130. So does the end of stdin (Ctrl-D), with a line that says so.
"""

import os
import select
import signal
import sys
from collections.abc import Callable, Mapping

import click

from womm import words
from womm.errors import UsageError

_QUIT = "*"


class Asker:
    """Asks, or where it must not ask, says which option is missing. asks: whether it may ask at all."""

    def __init__(self, *, asks: bool) -> None:
        self.asks = asks

    def choose(self, question: str, choices: Mapping[str, str], default: str, *, option: str) -> str:
        """Return the key of one of the choices, or end womm: `*` quits.

        choices: from a key to its text. default: a key; anything else: to quit is the default. option: of
        womm setup, which answers this question. Raises UsageError, click.Abort.
        """
        self._must_ask(option)
        keys = list(choices)
        lines = [f"{number}) {text}" for number, text in enumerate(choices.values(), 1)]
        usual = str(keys.index(default) + 1) if default in choices else _QUIT
        while True:
            answer = self._ask([question, *lines, f"{_QUIT}) never mind, quit"], usual)
            if answer == _QUIT:
                _echo("womm: never mind: nothing has been changed")
                raise click.Abort
            if answer in choices:  # somebody has typed the word
                return answer
            if answer.isdecimal() and answer.isascii() and 1 <= int(answer[:9]) <= len(keys):
                return keys[int(answer) - 1]
            _echo(f"Type a number from 1 to {len(keys)}, or {_QUIT} to quit.")

    def text(
        self,
        question: str,
        default: str = "",
        *,
        option: str,
        example: str = "",
        check: Callable[[str], object] = str,
        blank: bool = False,
    ) -> str:
        """Return a text. blank: the user may leave it empty; `-` does so in spite of a default.

        check: raises ValueError with a phrase for the values that are expected; then womm asks again.
        Raises UsageError, click.Abort.
        """
        self._must_ask(option)
        while True:
            answer = self._ask([question, *([example] if example else [])], default)
            if blank and answer in {"", "-"}:
                return ""
            if not answer:
                continue
            try:
                check(answer)
            except ValueError as exc:
                _echo(f"It must be {exc}.")
                continue
            return answer

    def confirm(self, question: str, default: bool) -> bool:
        """Return yes or no; the default where womm must not ask. Raises click.Abort."""
        while self.asks:
            answer = self._ask([f"{question} y/n"], "y" if default else "n").lower()
            if answer in {"y", "yes", "n", "no"}:
                return answer.startswith("y")
            _echo("Type y or n.")
        return default

    def _must_ask(self, option: str) -> None:
        if not self.asks:
            raise UsageError(f"{option} is missing, and womm setup does not ask here", "womm setup --help")

    def _ask(self, lines: list[str], default: str) -> str:
        """Print the lines, and return what is typed, without blanks around it."""
        for line in lines:
            _echo(line)
        prompt = f"[{words.name(default)}] > " if default else "> "
        while True:
            try:
                click.echo(prompt, nl=False, err=True)
                answer = _line()
            except UnicodeDecodeError:
                _echo("That is not text in this terminal's encoding.")
                continue
            except KeyboardInterrupt as exc:
                _echo("")  # the shell's prompt gets a line of its own
                raise click.Abort from exc
            if not answer:
                _echo("")
                _echo("womm: stdin has ended, and womm needs an answer")
                raise click.Abort
            return answer.strip() or default


def terminal() -> bool:
    """Return whether somebody sits there: womm asks on stderr, and reads stdin."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _line() -> str:
    """Read a line from stdin; empty at its end. Raises KeyboardInterrupt, UnicodeDecodeError.

    Python sees a Ctrl-C between two of its steps only: one that comes just before read(2) would do nothing
    until the next line. So the signal itself ends the wait (signal.set_wakeup_fd).
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        while sys.stdin not in select.select([sys.stdin, reader], [], [])[0]:
            os.read(reader, 1)
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)
    return sys.stdin.readline()


def _echo(line: str) -> None:
    # Not by `say`: a question must be seen in spite of --quiet.
    click.echo(words.line(line), err=True)

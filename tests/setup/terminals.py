"""Code that asks questions, in a process of its own with a pseudo-terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect

from tests.cli.running import environment

_START = """
import sys
import click
from womm.setup.asking import Asker
asker = Asker(asks=True)
try:
    {}
except click.Abort:
    sys.exit(130)
"""


@contextmanager
def asking(code: str, *words: str, cwd: Path | None = None, **env: str | None) -> Iterator[Any]:
    """Run code that uses `asker`; `words` are its sys.argv[1:]."""
    lines = _START.format("\n    ".join(code.strip().splitlines()))
    child = pexpect.spawn(
        sys.executable,
        ["-P", "-c", lines, *words],
        cwd=cwd,
        env=environment(**env),
        encoding="utf-8",
        timeout=60,
    )
    child.logfile_read = sys.stdout
    try:
        yield child
    finally:
        child.close(force=True)


def status_of(child: Any) -> int | None:
    child.expect(pexpect.EOF)
    child.close()
    status: int | None = child.exitstatus
    return status

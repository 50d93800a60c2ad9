"""womm's command line as a user runs it: in a process of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

WOMM = [sys.executable, "-m", "womm"]
ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class Result:
    status: int
    out: str
    err: str


def run(*words: str, cwd: Path | None = None, stdin: str = "", **env: str | None) -> Result:
    """Run womm; `env`: added to the environment, None takes a variable out."""
    result = subprocess.run(
        [*WOMM, *words],
        input=stdin,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        cwd=cwd,
        env=environment(**env),
        timeout=120,
    )
    return Result(result.returncode, result.stdout, result.stderr)


def environment(**changes: str | None) -> dict[str, str]:
    merged = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}

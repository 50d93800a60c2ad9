"""The file that says how many jobs GNU parallel may run at once. It reads the file again after a change.

GNU parallel looks at most once a second and compares whole seconds of the modification time
(measured on 20221122), so every change moves that time on by more than it would miss; 0 would mean
"without limit", so it is never written.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from womm.places import naming


class ChangingFile:
    """A file that GNU parallel watches. Written beside it and renamed: it is never half there."""

    def __init__(self, path: Path, step_s: int) -> None:
        self.path = path
        self._step_s = step_s
        self._mtime_s = 0
        self._text = ""

    def write(self, text: str, now_s: float) -> None:
        if text == self._text:
            return
        self._text = text
        self._mtime_s = max(int(now_s), self._mtime_s + self._step_s)
        fresh = self.path.with_name(self.path.name + ".new")
        with naming(fresh):
            fresh.write_text(text)
        os.utime(fresh, (self._mtime_s, self._mtime_s))
        fresh.rename(self.path)


def width_text(slots: int, cap: int | None) -> str:
    """The content of the -j file for so many ready jobslots."""
    return f"{max(1, min(slots, cap) if cap else slots)}\n"


FILES_PER_JOB, FILES_BESIDE = 4, 60
"""GNU parallel has so many files open for each job that runs, and so many more at the very most."""


def files_needed(jobs: int) -> int:
    """How many files GNU parallel must be allowed to open for so many jobs at once."""
    return jobs * FILES_PER_JOB + FILES_BESIDE


def most_jobs(files: int) -> int:
    """How many jobs may run at once where so many files may be open."""
    return max(1, (files - FILES_BESIDE) // FILES_PER_JOB)


WAITING_LOGIN = "womm-waits"
"""A login that stands for "any worker": with an empty login file GNU parallel would run jobs here."""
SLOTS_PER_LOGIN = 9
"""Above this GNU parallel probes how many logins a host takes at the same time."""


def login_lines(pods: Iterable[tuple[str, int]]) -> tuple[str, dict[str, str]]:
    """Return the login file for (pod, jobslots), and which pod each login means.

    Every line says its number of jobslots, or GNU parallel would ask the login for its CPUs.
    """
    lines: list[str] = []
    pods_of_logins: dict[str, str] = {}
    for pod, slots in pods:
        for part, first in enumerate(range(0, slots, SLOTS_PER_LOGIN)):
            login = f"{pod}.{part}" if part else pod
            lines.append(f"{min(SLOTS_PER_LOGIN, slots - first)}/{login}\n")
            pods_of_logins[login] = pod
    return "".join(lines) or f"1/{WAITING_LOGIN}\n", pods_of_logins

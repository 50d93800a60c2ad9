"""The figures as a table, for the terminal and for docs/benchmarks.md."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import womm
from bench.run import Place
from bench.stats import Spread, Target, ratios, spread

BEGIN, END = "<!-- make bench writes from here -->", "<!-- to here -->"
_HEAD = ("What", "womm", "beside", "ratio: median (range)", "target", "")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a table; `met` is None where there is no target."""

    what: str
    ours: str
    beside: str = ""
    ratio: str = ""
    target: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        return "" if self.met is None else "ok" if self.met else "MISSED"

    def cells(self) -> tuple[str, ...]:
        return (self.what, self.ours, self.beside, self.ratio, self.target, self.verdict)


@dataclass(frozen=True, slots=True)
class Section:
    """One benchmark's figures; `how` describes the measurement, `notes` its deviations."""

    title: str
    how: str
    figures: Sequence[Figure]
    notes: Sequence[str] = ()


def compared(
    what: str, ours: Sequence[float], theirs: Sequence[float], unit: str, target: Target | None = None
) -> Figure:
    """A figure whose ratio is ours / theirs, round by round; `target` is the ratio's."""
    if not ours:
        return Figure(what, "too noisy", "", "", str(target or ""), None if target is None else False)
    ratio = spread(ratios(ours, theirs))
    return Figure(
        what,
        f"{spread(ours)} {unit}",
        f"{spread(theirs)} {unit}",
        f"{ratio} x",
        str(target or ""),
        None if target is None else target.met(ratio.median),
    )


def absolute(what: str, ours: Spread, unit: str, target: Target | None = None) -> Figure:
    """A figure without a ratio."""
    met = None if target is None else target.met(ours.median)
    return Figure(what, f"{ours} {unit}", target=str(target or ""), met=met)


def as_text(section: Section) -> str:
    """For a terminal."""
    if not section.figures:
        return "\n".join([section.title, *("  " + note for note in section.notes), ""])
    rows = [_HEAD, *(figure.cells() for figure in section.figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([section.title, *("  " + line.rstrip() for line in lines), *section.notes, ""])


def as_markdown(sections: Sequence[Section], machine: Sequence[tuple[str, str]], *, quick: bool) -> str:
    """The part of docs/benchmarks.md that this program writes."""
    missed = sum(figure.met is False for section in sections for figure in section.figures)
    targets = sum(figure.met is not None for section in sections for figure in section.figures)
    parts = [BEGIN, ""]
    if quick:
        parts += ["A quick run: it shows that the benchmark works, its numbers mean little.", ""]
    parts += ["| Machine | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in machine), ""]
    parts += [f"{targets - missed} of {targets} targets are met.", ""]
    for section in sections:
        parts += [f"## {section.title}", "", section.how, ""]
        if section.figures:
            parts += ["| " + " | ".join(_HEAD) + " |", "|" + " --- |" * len(_HEAD)]
            parts += [*("| " + " | ".join(figure.cells()) + " |" for figure in section.figures), ""]
        parts += [*(line for note in section.notes for line in (note, ""))]
    return "\n".join([*parts, END, ""])


def write(path: Path, text: str) -> None:
    """Replace the part that was written before by `text`; the text of people around it stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before, after = _INTRODUCTION, ""
    if path.exists():
        old = path.read_text()
        if BEGIN in old and END in old:
            before, after = old.partition(BEGIN)[0], old.partition(END)[2].lstrip("\n")
        else:
            before = old.rstrip() + "\n\n"
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(before + text + (f"\n{after}" if after else ""))
    unfinished.replace(path)


_INTRODUCTION = """# Benchmarks

`make bench` measures this and writes it here; `.venv/bin/python -m bench --help` measures parts of it.
Each round runs every candidate once, the next round in the opposite order. A number is the median of
the rounds with its range. A ratio is taken within a round, between neighbours, and its median decides on
a target. You can compare ratios between machines and days, but not the other numbers.

"""


def machine(place: Place) -> list[tuple[str, str]]:
    """The machine and programs that the figures depend on. No names of hosts, users or folders."""
    return [
        ("Date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("CPU", _cpu_model()),
        ("Cores", str(len(os.sched_getaffinity(0)))),
        ("Memory", f"{_total_memory_bytes() / 2**30:.1f} GiB"),
        ("Load average before", f"{os.getloadavg()[0]:.1f}"),
        ("Kernel", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("Python", platform.python_version()),
        ("perl", _version([place.perl, "-e", "print $^V"])),
        ("GNU parallel", _version([*place.plain_parallel, "--version"])),
        ("xargs", _version(["xargs", "--version"])),
        ("ssh", _version(["ssh", "-V"])),
        ("/bin/sh", Path("/bin/sh").resolve().name),
        ("womm", womm.__version__),
    ]


def _version(command: Sequence[str]) -> str:
    if shutil.which(command[0]) is None:
        return "not there"
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (result.stdout or result.stderr).splitlines()
    return lines[0].split(",")[0].strip() if lines else "unknown"


def _cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _total_memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")

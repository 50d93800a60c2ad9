"""Thousands of jobslots on this machine: how long as many jobs take, and what each costs in memory here."""

import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.rates import digits
from bench.report import Section, absolute
from bench.run import READ_BYTES, TIMEOUT_S, BenchError, Place, interleave, last_words, running
from bench.stats import Target, spread

SLOTS_PER_WORKER = 100
_LOOK_EVERY_S = 1.0
_TARGETS = (Target(most=1.2), Target(most=1.5))
_MEMORY = Target(most=40, unit="KiB/job")


@dataclass(frozen=True, slots=True)
class _Wide:
    """From start to exit; the most memory (PSS) that GNU parallel, its children and the coordinator had."""

    wall_s: float
    pss_kib: int


def many_slots(place: Place) -> Section:
    few, many, sleep_s = (100, 200, 5) if place.quick else (1000, 4000, 20)
    command = f"echo {{}}; exec sleep {sleep_s}"
    found = interleave(
        {str(slots): partial(_run, place, slots, command) for slots in (few, many)}, rounds=2, budget_s=120
    )
    times = {slots: spread([run.wall_s / sleep_s for run in found[str(slots)]]) for slots in (few, many)}
    grown = [
        (large.pss_kib - small.pss_kib) / (many - few)
        for small, large in zip(found[str(few)], found[str(many)], strict=True)
    ]
    return Section(
        "Thousands of jobslots",
        f"`{command}` in {few:,} and in {many:,} jobslots ({few // SLOTS_PER_WORKER} and"
        f" {many // SLOTS_PER_WORKER} local workers), as many lines on stdin, from start to exit;"
        f" {len(grown)} rounds. Memory is the PSS (smaps_rollup) of the coordinator, GNU parallel and GNU"
        " parallel's children, without workers and jobs, looked at once a second; of a running job, it is"
        " the difference of the two.",
        [
            *(
                absolute(
                    f"{slots:,} jobs of {sleep_s} s at once, beside {sleep_s} s", times[slots], "x", target
                )
                for slots, target in zip((few, many), _TARGETS, strict=True)
            ),
            absolute("memory of a running job", spread(grown), "KiB/job", _MEMORY),
            absolute(
                f"memory with {many:,} jobs, in all",
                spread([run.pss_kib / 1024 for run in found[str(many)]]),
                "MiB",
            ),
        ],
    )


def _run(place: Place, slots: int, command: str) -> _Wide:
    workers = slots // SLOTS_PER_WORKER
    words = [place.womm, "parallel", "--kube-pods", str(workers), "--procs-per-pod", str(SLOTS_PER_WORKER)]
    began = time.perf_counter()
    with running(place, [*words, "--", command], place.numbers(slots)) as process:
        size, pss_kib = _watch(process)
        try:
            status = process.wait(max(0.1, began + TIMEOUT_S * 2 - time.perf_counter()))
        except subprocess.TimeoutExpired as exc:
            raise BenchError(f"womm parallel: not done after {TIMEOUT_S * 2:g} s") from exc
        wall_s = time.perf_counter() - began
    if status or size != digits(slots):
        raise BenchError(f"womm parallel: exit status {status}, {size} bytes{last_words(place)}")
    return _Wide(wall_s, pss_kib)


def _watch(process: "subprocess.Popen[bytes]") -> tuple[int, int]:
    """Read stdout to its end; return its length and the most memory seen."""
    assert process.stdout is not None
    size = pss_kib = 0
    deadline = time.monotonic() + TIMEOUT_S * 2
    look_at = time.monotonic() + _LOOK_EVERY_S
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (now := time.monotonic()) < deadline:
            if now >= look_at:
                pss_kib = max(pss_kib, sum(map(_pss_kib, _ours(process.pid))))
                look_at = time.monotonic() + _LOOK_EVERY_S
            if selector.select(max(0.0, look_at - time.monotonic())):
                data = os.read(process.stdout.fileno(), READ_BYTES)
                if not data:
                    return size, pss_kib
                size += len(data)
    raise BenchError(f"womm parallel: output not done after {TIMEOUT_S * 2:g} s")


def _ours(pid: int) -> Iterator[int]:
    """The process and those below it, without workers and what is below them."""
    with suppress(OSError):
        if b"agent.pl" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return
        yield pid
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _ours(int(child))


def _pss_kib(pid: int) -> int:
    with suppress(OSError):
        found = re.search(r"^Pss:\s+(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0
    return 0

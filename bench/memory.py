"""The coordinator's memory does not grow with the lines that wait on stdin."""

import os
import re
import selectors
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.report import Section, compared
from bench.run import TIMEOUT_S, BenchError, Place, end, interleave, last_words, running
from bench.stats import Target

_FLAT = Target(most=1.1)
SETTLE_S = 5.0
"""After the first output, with jobs of one second: some rounds of jobs have gone through."""


@dataclass(frozen=True, slots=True)
class _Memory:
    peak_mib: float
    now_mib: float


def queued_lines(place: Place) -> Section:
    few, many = 1_000, 100_000
    candidates = {count: partial(_sample, place, count) for count in (few, many)}
    found = interleave(
        {str(count): candidate for count, candidate in candidates.items()},
        rounds=1 if place.quick else 3,
        budget_s=50,
    )
    small, large = found[str(few)], found[str(many)]
    what = f"{many:,} lines, beside {few:,}"
    return Section(
        "The coordinator's memory",
        f"`seq {many} | womm parallel --kube-pods 4 -- 'sleep 1; echo {{}}'`, and the same with {few:,}"
        " lines: VmHWM and VmRSS of the coordinator (the Python process) in /proc, taken"
        f" {_settle_s(place):g} s after the first output, when nearly all the lines still wait;"
        f" {len(small)} rounds.",
        [
            compared(
                f"peak (VmHWM), {what}",
                [memory.peak_mib for memory in large],
                [memory.peak_mib for memory in small],
                "MiB",
                _FLAT,
            ),
            compared(
                f"resident (VmRSS), {what}",
                [memory.now_mib for memory in large],
                [memory.now_mib for memory in small],
                "MiB",
                _FLAT,
            ),
        ],
    )


def _settle_s(place: Place) -> float:
    return 2.0 if place.quick else SETTLE_S


def _sample(place: Place, lines: int) -> _Memory:
    """Run until the first output and a while longer, look, end it."""
    source = subprocess.Popen(["seq", str(lines)], stdout=subprocess.PIPE, start_new_session=True)
    assert source.stdout is not None
    try:
        with source.stdout:
            fd = source.stdout.fileno()
            command = [*place.womm_parallel, "--", "sleep 1; echo {}"]
            with running(place, command, fd) as process:
                # Close this end: seq must end by SIGPIPE when the reader ends.
                source.stdout.close()
                _drain(process, _settle_s(place), place)
                return _memory(process.pid)
    finally:
        end(source)


def _drain(process: "subprocess.Popen[bytes]", settle_s: float, place: Place) -> None:
    """Read stdout until `settle_s` after its first byte."""
    assert process.stdout is not None
    deadline, seen = time.monotonic() + TIMEOUT_S, False
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left_s := deadline - time.monotonic()) > 0:
            if selector.select(left_s):
                if not os.read(process.stdout.fileno(), 65536):
                    raise BenchError(f"womm parallel ended too soon{last_words(place)}")
                if not seen:
                    seen, deadline = True, time.monotonic() + settle_s
    if not seen:
        raise BenchError(f"womm parallel: no output in {TIMEOUT_S:g} s{last_words(place)}")


def _memory(pid: int) -> _Memory:
    status = Path(f"/proc/{pid}/status").read_text()
    found = dict(re.findall(r"^(VmHWM|VmRSS):\s+(\d+) kB$", status, re.MULTILINE))
    if len(found) != 2 or "python" not in os.readlink(f"/proc/{pid}/exe"):
        raise BenchError("the process that was started is not the coordinator")
    return _Memory(int(found["VmHWM"]) / 1024, int(found["VmRSS"]) / 1024)

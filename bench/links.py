"""The links alone, without GNU parallel on top: jobs a second, CPU of a job, bytes a second."""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench.driver import Driven
from bench.rates import sample_text
from bench.report import Section, absolute, compared
from bench.run import PODS, BenchError, Place, interleave, measure
from bench.stats import Target, spread

_SLOTS = (1, 2, 4)
_OVER_XARGS = Target(least=0.75)
_CPU_OVER_XARGS = Target(most=1.4)
_STREAM = Target(least=200, unit="MB/s")
_COPIES = 4


@dataclass(frozen=True, slots=True)
class _Cost:
    """The figures of one run: rates, and milliseconds of CPU per job. The CPU of xargs includes its jobs."""

    jobs_per_s: float
    mb_per_s: float
    coordinator_ms: float
    workers_ms: float


def small_jobs(place: Place) -> Section:
    jobs = 200 if place.quick else 2000
    command = "echo {}"
    candidates: dict[str, Callable[[], _Cost]] = {
        str(slots): partial(_driven, place, jobs, slots, command) for slots in reversed(_SLOTS)
    }
    candidates["xargs"] = partial(_xargs, place, jobs, command)
    candidates["xargs"]()
    found = interleave(candidates, rounds=2 if place.quick else 5, budget_s=60)
    xargs = found["xargs"]
    figures = []
    for slots in _SLOTS:
        ours = found[str(slots)]
        what = f"{PODS} workers of {slots} slot{'s' if slots > 1 else ''}"
        figures += [
            compared(
                f"{what}, beside xargs -P4",
                [cost.jobs_per_s for cost in ours],
                [cost.jobs_per_s for cost in xargs],
                "jobs/s",
                _OVER_XARGS if slots == 1 else None,
            ),
            absolute(
                f"{what}: CPU of the coordinator", spread([cost.coordinator_ms for cost in ours]), "ms/job"
            ),
            compared(
                f"{what}: CPU of agents and jobs, beside xargs and jobs",
                [cost.workers_ms for cost in ours],
                [cost.workers_ms for cost in xargs],
                "ms/job",
                _CPU_OVER_XARGS if slots == 1 else None,
            ),
        ]
    return Section(
        "The links alone: small jobs",
        f"{jobs:,} times `/bin/sh -c 'echo N'`, submitted to the dispatcher without GNU parallel, as"
        " many at a time as there are slots, flow control, journal and rusage on; beside"
        f" `xargs -P{PODS} -I{{}} /bin/sh -c 'echo {{}}'`; {len(xargs)} rounds. The clock starts when all"
        " workers are ready. The target is for as many slots as xargs has.",
        figures,
    )


def stream(place: Place) -> Section:
    size = 10_000_000 if place.quick else 50_000_000
    text = place.folder / "long-text"
    block = sample_text(1_000_000)
    with text.open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
    command = "cat" + f" {text}" * _COPIES
    expected = PODS * _COPIES * size
    candidates = {
        "links": partial(_driven, place, PODS, 1, command, expected),
        "xargs": partial(_xargs, place, PODS, f": {{}}; {command}", expected),
    }
    candidates["xargs"]()
    found = interleave(candidates, rounds=2 if place.quick else 5, budget_s=40)
    text.unlink()
    links = [cost.mb_per_s for cost in found["links"]]
    return Section(
        "The links alone: output",
        f"{PODS} jobs at once, one per worker, each prints {_COPIES * size // 1_000_000} MB of text (`cat`)"
        f" to a sink that counts it; beside the same under `xargs -P{PODS}` into one pipe;"
        f" {len(links)} rounds.",
        [
            absolute("all four together", spread(links), "MB/s", _STREAM),
            compared("beside xargs -P4", links, [cost.mb_per_s for cost in found["xargs"]], "MB/s"),
        ],
    )


def _driven(place: Place, jobs: int, slots: int, command: str, expected: int | None = None) -> _Cost:
    # A short name at the top: it holds sockets.
    folder = tempfile.mkdtemp(prefix="d", dir=place.folder)
    words = [sys.executable, "-m", "bench.driver", folder, str(jobs), str(slots), command]
    try:
        run = measure(place, words)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    driven = Driven(**json.loads(run.out))
    _check(driven.out_bytes, expected)
    return _Cost(
        jobs / driven.wall_s,
        driven.out_bytes / driven.wall_s / 1e6,
        driven.coordinator_cpu_s / jobs * 1000,
        driven.workers_cpu_s / jobs * 1000,
    )


def _xargs(place: Place, jobs: int, command: str, expected: int | None = None) -> _Cost:
    words = ["xargs", f"-P{PODS}", "-I{}", "/bin/sh", "-c", command]
    run = measure(place, words, place.numbers(jobs))
    _check(run.out_bytes, expected)
    return _Cost(jobs / run.wall_s, run.out_bytes / run.wall_s / 1e6, 0.0, run.cpu_s / jobs * 1000)


def _check(size: int, expected: int | None) -> None:
    if expected is not None and size != expected:
        raise BenchError(f"{size} bytes of output instead of {expected}")

"""Very many jobs and workers, on simulated agents: what the coordinator costs, and whether it grows."""

import json
import shutil
import sys
import tempfile

from bench.crowddriver import Crowd
from bench.report import Figure, Section, absolute
from bench.run import Place, measure
from bench.stats import Target, spread

_TIMEOUT_S = 1200.0
_HOLD_S = 10.0
_STEADY = Target(least=0.9)
_FLAT = Target(most=1.1)
_MEMORY = Target(most=250, unit="MiB")
_OF_A_POD = Target(most=120, unit="KiB/pod")


def long_run(place: Place) -> Section:
    jobs = 20_000 if place.quick else 1_000_000
    found = _crowd(place, 4, 4, jobs)
    first_s, last_s = found.part_s[0], found.part_s[-1]
    return Section(
        f"Simulated agents: {jobs:,} jobs",
        f"{jobs:,} jobs through the dispatcher, without GNU parallel, on 4 workers of 4 slots that are one"
        " program of Python and end each job at once; links and journal as in a task. Tenths are of the jobs,"
        " memory is VmRSS of the coordinator.",
        [
            absolute("rate", spread([jobs / found.wall_s]), "jobs/s"),
            absolute("CPU of the coordinator", spread([found.cpu_s / jobs * 1000]), "ms/job"),
            absolute(
                "rate of the last tenth beside the first", spread([first_s / last_s]), "x", Target(least=0.9)
            ),
            absolute(
                "memory at the end beside that at a tenth",
                spread([found.part_kib[-1] / found.part_kib[0]]),
                "x",
                _FLAT,
            ),
        ],
    )


def many_pods(place: Place) -> Section:
    pods, slots, jobs = (100, 8, 4_000) if place.quick else (1_000, 8, 100_000)
    found = _crowd(place, pods, slots, jobs)
    running = 500 if place.quick else 5_000
    held = _crowd(place, running // slots, slots, running, _HOLD_S)
    secured = 40 if place.quick else 300
    over_tls = _crowd(place, secured, slots, secured, tls=True)
    return Section(
        f"Simulated agents: {pods:,} pods",
        f"{jobs:,} jobs on {pods:,} pods of {slots} slots, each with a link over a Unix socket. Then"
        f" {running:,} jobs of {_HOLD_S:g} s at once on {running // slots:,} pods, and {secured} pods"
        " whose links are websockets with the channels of an exec, over TLS. Memory is VmRSS.",
        [
            absolute("rate", spread([jobs / found.wall_s]), "jobs/s"),
            absolute("CPU of the coordinator", spread([found.cpu_s / jobs * 1000]), "ms/job"),
            absolute(
                "memory of the coordinator, at most",
                spread([found.peak_kib / 1024]),
                "MiB",
                Target(most=250, unit="MiB"),
            ),
            absolute(
                "memory of a link, without TLS",
                spread([(found.connected_kib - found.idle_kib) / pods]),
                "KiB/pod",
            ),
            absolute(
                "memory of a link over TLS",
                spread([(over_tls.connected_kib - over_tls.idle_kib) / secured]),
                "KiB/pod",
                _OF_A_POD,
            ),
            _per_job(held, running),
        ],
    )


def _per_job(held: Crowd, running: int) -> Figure:
    grown_kib = held.running_kib - held.connected_kib
    return absolute(f"memory of a running job, of {running:,}", spread([grown_kib / running]), "KiB/job")


def _crowd(
    place: Place, pods: int, slots: int, jobs: int, hold_s: float = 0.0, *, tls: bool = False
) -> Crowd:
    # A short name at the top: it holds a socket.
    folder = tempfile.mkdtemp(prefix="m", dir=place.folder)
    words = [sys.executable, "-m", "bench.crowddriver", folder, *map(str, (pods, slots, jobs, hold_s))]
    words += ["tls"] if tls else []
    try:
        run = measure(place, words, timeout_s=_TIMEOUT_S)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Crowd(**json.loads(run.out))

"""`python -m bench`: run the benchmarks, print their figures, write docs/benchmarks.md."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from bench import (
    cluster,
    crowd,
    eager,
    fileserver,
    here,
    links,
    memory,
    nfs,
    rates,
    report,
    scale,
    share,
    waits,
    wide,
)
from bench.kube import Kube, Kubes, Unable
from bench.report import Section
from bench.run import BenchError, Place, place
from tests.realcluster.kubectl import KubectlError

BENCHMARKS: Mapping[str, Callable[[Place], Section]] = {
    "true": rates.true_jobs,
    "echo": rates.echo_jobs,
    "output": rates.output_jobs,
    "links": links.small_jobs,
    "stream": links.stream,
    "many-jobs": crowd.long_run,
    "many-pods": crowd.many_pods,
    "first": waits.first_output,
    "slots": wide.many_slots,
    "memory": memory.queued_lines,
    "commands": waits.commands,
    "eager": eager.section,
}
KUBERNETES: Mapping[str, Callable[[Place, Kube], Section]] = {
    "kube-first": cluster.first_output,
    "kube-jobs": cluster.small_jobs,
    "kube-stream": cluster.stream,
    "kube-idle": cluster.idle,
    "kube-cost": cluster.cost_of_a_pod,
    "kube-scale": scale.scheduled,
    "kube-track": scale.tracked,
    "kube-eager": eager.into_a_pod,
    "kube-fileserver": fileserver.ready,
    "kube-share": share.fast,
    "kube-share-slow": share.slow,
}
NFS = "nfs"
"""The NFS server beside NFS-Ganesha: `python -m bench.nfs` measures parts of it."""
HERE = "here"
"""This machine's programs: `python -m bench.here` measures parts of it."""
GUESTS: Mapping[str, tuple[str, Callable[[Path, bool], Section]]] = {
    NFS: (nfs.TITLE, lambda folder, quick: nfs.section(folder, quick=quick)),
    HERE: (here.TITLE, lambda folder, quick: here.section(folder, quick=quick)),
}
CLUSTER = "cluster"
"""All of those on Kubernetes."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure womm on this machine.")
    parser.add_argument("--quick", action="store_true", help="few jobs and rounds: only shows that it works")
    parser.add_argument(
        "--only",
        action="append",
        choices=[*BENCHMARKS, NFS, HERE, CLUSTER, *KUBERNETES],
        metavar="NAME",
        help=f"{', '.join(BENCHMARKS)}, {NFS}, {HERE}; {CLUSTER}, which is {', '.join(KUBERNETES)}",
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the figures into FILE (Markdown)")
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write replaces all figures: it cannot go with --only")
    if sys.platform != "linux":
        parser.error("the figures come from Linux's /proc")
    signal.signal(signal.SIGTERM, _terminated)
    sections = []
    try:
        # /tmp: the paths of sockets must be short.
        with (
            tempfile.TemporaryDirectory(prefix="womm-bench-", dir="/tmp") as folder,
            ExitStack() as stack,
        ):
            where = place(Path(folder), quick=options.quick)
            machine = report.machine(where)
            kubes = Kubes(stack, Path(folder))
            for name in _names(options.only):
                began = time.monotonic()
                section = _section(name, where, kubes)
                sections.append(section)
                print(report.as_text(section), flush=True)
                print(f"bench: {name} took {time.monotonic() - began:.0f} s", file=sys.stderr)
    except BenchError as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.write:
        report.write(options.write, report.as_markdown(sections, machine, quick=options.quick))
        print(f"bench: written to {options.write}", file=sys.stderr)
    return 0


def _names(only: Sequence[str] | None) -> list[str]:
    if not only:
        return [*BENCHMARKS, NFS, HERE, *KUBERNETES]
    return [one for name in only for one in (KUBERNETES if name == CLUSTER else [name])]


def _section(name: str, where: Place, kubes: Kubes) -> Section:
    if name in BENCHMARKS:
        return BENCHMARKS[name](where)
    return _in_guests(name, where) if name in GUESTS else _on_cluster(name, where, kubes)


def _in_guests(name: str, where: Place) -> Section:
    folder = where.folder / name
    folder.mkdir()
    title, section = GUESTS[name]
    try:
        return section(folder, where.quick)
    except Unable as exc:
        return Section(title, f"Skipped: {exc}.", [], [f"Skipped: {exc}."])


def _on_cluster(name: str, where: Place, kubes: Kubes) -> Section:
    try:
        return KUBERNETES[name](where, kubes.get())
    except Unable as exc:
        return Section(f"Kubernetes: {name}", f"Skipped: {exc}.", [], [f"Skipped: {exc}."])
    except KubectlError as exc:
        raise BenchError(str(exc)) from exc


def _terminated(number: int, frame: FrameType | None) -> None:
    """Unwind: end all programs and remove the folder."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())

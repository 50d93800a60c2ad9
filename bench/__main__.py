"""`python -m bench`: run the benchmarks, print their figures, write docs/benchmarks.md."""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

from bench import links, memory, rates, report, waits
from bench.report import Section
from bench.run import BenchError, Place, place

BENCHMARKS: Mapping[str, Callable[[Place], Section]] = {
    "true": rates.true_jobs,
    "echo": rates.echo_jobs,
    "output": rates.output_jobs,
    "links": links.small_jobs,
    "stream": links.stream,
    "first": waits.first_output,
    "memory": memory.queued_lines,
    "commands": waits.commands,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure womm on this machine.")
    parser.add_argument("--quick", action="store_true", help="few jobs and rounds: only shows that it works")
    parser.add_argument(
        "--only", action="append", choices=list(BENCHMARKS), metavar="NAME", help=", ".join(BENCHMARKS)
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
        with tempfile.TemporaryDirectory(prefix="womm-bench-", dir="/tmp") as folder:
            where = place(Path(folder), quick=options.quick)
            machine = report.machine(where)
            for name in options.only or BENCHMARKS:
                began = time.monotonic()
                section = BENCHMARKS[name](where)
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


def _terminated(number: int, frame: FrameType | None) -> None:
    """Unwind: what was started ends, the folder goes."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())

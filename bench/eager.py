"""`python -m bench.eager`: the eager share beside tar and rsync, through one and the same stream.

Strategy: the stream is the share's own (womm.share.stream), into a process of this machine that stands for
the pod; so what is compared is what both ends do and how many bytes it takes. Candidates take turns in every
round, each into an empty store, all on tmpfs; ratios are of neighbours (bench.run.interleave). womm's time is
all of it: starting Python at the far end, looking at the folder, and the note of what both sides have.
`make bench` has it as a section.
"""

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.report import Figure, Section, as_text, compared
from bench.run import BenchError, Place, interleave
from bench.stats import Target
from womm.share.eager import EagerShare
from womm.share.pack import CHUNK
from womm.share.stream import LocalStore, PodStream, converse

_FIRST = Target(least=0.8)


@dataclass(frozen=True, slots=True)
class Ground:
    folder: Path
    store: Path
    state: Path
    files: int

    def clear(self) -> None:
        shutil.rmtree(self.store, ignore_errors=True)
        self.store.mkdir()
        for path in self.state.parent.glob(self.state.name + "*"):
            path.unlink()


def section(place: Place) -> Section:
    """On the tmpfs that every Linux has."""
    files, rounds = (2000, 1) if place.quick else (50_000, 5)
    with tempfile.TemporaryDirectory(prefix="womm-bench-", dir="/dev/shm") as base:
        return _section(Path(base), files, rounds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.eager", description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", default="/dev/shm", help="where to work: a tmpfs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="womm-bench-", dir=options.folder) as base:
        try:
            print(as_text(_section(Path(base), options.files, options.rounds)))
        except BenchError as exc:
            print(f"bench: {exc}", file=sys.stderr)
            return 1
    return 0


def _section(base: Path, files: int, rounds: int) -> Section:
    ground = Ground(base / "folder", base / "store", base / "state", files)
    _fill(ground)
    return Section(
        "The eager share",
        f"{files:,} files of up to 4,000 bytes in 500 folders, tmpfs to tmpfs, through the share's own stream"
        " into a process of this machine that stands for the pod; rsync through a pipe. What is judged is the"
        " first copy. For the next one, one file in a hundred has changed.",
        [*first_copy(ground, rounds), *next_copy(ground, rounds)],
    )


def first_copy(ground: Ground, rounds: int) -> list[Figure]:
    candidates: dict[str, Callable[[], float]] = {
        "womm": partial(_timed, ground, partial(_womm, ground, syncback=False)),
        "tar": partial(_timed, ground, partial(_tar, ground)),
        "womm with syncback": partial(_timed, ground, partial(_womm, ground, syncback=True)),
        "rsync": partial(_timed, ground, partial(_rsync, ground)),
    }
    candidates["tar"]()
    found = interleave(candidates, rounds=rounds, budget_s=150)
    rates = {name: [ground.files / seconds for seconds in times] for name, times in found.items()}
    return [
        compared("first copy, beside tar", rates["womm"], rates["tar"], "files/s", _FIRST),
        compared("with syncback, beside tar", rates["womm with syncback"], rates["tar"], "files/s"),
        compared("beside rsync -rlpt --whole-file", rates["womm"], rates["rsync"], "files/s"),
    ]


def next_copy(ground: Ground, rounds: int) -> list[Figure]:
    """One file in a hundred has changed."""
    ground.clear()
    _womm(ground, syncback=True)

    def changed(copy: Callable[[], None]) -> float:
        for number in range(0, ground.files, 100):
            _path(ground, number).write_bytes(random.randbytes(2000))
        began = time.perf_counter()
        copy()
        return time.perf_counter() - began

    candidates: dict[str, Callable[[], float]] = {
        "womm": partial(changed, partial(_womm, ground, syncback=True)),
        "rsync": partial(changed, partial(_rsync, ground)),
    }
    found = interleave(candidates, rounds=rounds, budget_s=60)
    return [compared("next copy, beside rsync -rlpt --delete", found["womm"], found["rsync"], "s")]


def _path(ground: Ground, number: int) -> Path:
    return ground.folder / f"d{number % 500}" / f"f{number}"


def _fill(ground: Ground) -> None:
    rng = random.Random(1)
    for number in range(ground.files):
        path = _path(ground, number)
        if number < 500:
            path.parent.mkdir(parents=True)
        path.write_bytes(rng.randbytes(rng.randrange(4000)))


def _timed(ground: Ground, copy: Callable[[], None]) -> float:
    ground.clear()
    began = time.perf_counter()
    copy()
    seconds = time.perf_counter() - began
    count = sum(len(files) for _, _, files in os.walk(ground.store))
    if count != ground.files:
        raise BenchError(f"{count} files of {ground.files} arrived")
    return seconds


def _womm(ground: Ground, *, syncback: bool) -> None:
    async def copy() -> None:
        async with LocalStore() as store:
            share = EagerShare(
                ground.folder,
                "bench",
                state=ground.state,
                store=str(ground.store),
                python=(sys.executable,),
                syncback=syncback,
                yes=True,
            )
            await share.push(store.exec_dial)

    asyncio.run(copy())


def _tar(ground: Ground) -> None:
    def send(stream: PodStream) -> None:
        with subprocess.Popen(["tar", "-C", ground.folder, "-cf", "-", "."], stdout=subprocess.PIPE) as tar:
            assert tar.stdout is not None
            while data := os.read(tar.stdout.fileno(), CHUNK):
                stream.send(data)
        # The shell says so when tar is done: a stream into a pod has no half that can be closed.
        while stream.receive(CHUNK):
            pass

    _stream(["sh", "-c", f"tar -C {ground.store} -xf - && echo done"], send)


def _rsync(ground: Ground) -> None:
    """Through a pipe, which is faster than the stream."""
    words = [
        "rsync",
        "-rlpt",
        "--delete",
        "--whole-file",
        "-e",
        _SHELL,
        f"{ground.folder}/",
        f"pod:{ground.store}/",
    ]
    subprocess.run(words, check=True)


_SHELL = "sh -c 'shift; exec \"$@\"' sh"


def _stream(command: Sequence[str], work: Callable[[PodStream], None]) -> None:
    async def copy() -> None:
        async with LocalStore() as store:
            await converse(store.exec_dial(command), work)

    asyncio.run(copy())


if __name__ == "__main__":
    sys.exit(main())

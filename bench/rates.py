"""Jobs, and bytes of their output, per second: womm, plain GNU parallel, GNU parallel over ssh, xargs."""

import random
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.report import Figure, Section, compared
from bench.run import PODS, BenchError, Place, interleave, measure
from bench.sshd import NoSshd, logins
from bench.stats import Target, both, marginal_rate

OUTPUT_BYTES = 1_000_000
WOMM, PLAIN, SSH, XARGS = "womm", "parallel -j4", "parallel over ssh", "xargs -P4"
_OVER_SSH = Target(least=2.0)


@dataclass(frozen=True, slots=True)
class Load:
    """A command line and how often it runs: `few` times to measure the start-up, then `many`.

    `out_bytes` is the output of `count` jobs. `ssh_many` is smaller since ssh is slower.
    """

    name: str
    command: str
    out_bytes: Callable[[int], int]
    few: int
    many: int
    ssh_many: int
    unit: str = "jobs/s"
    factor: float = 1.0
    """Of `unit` in one job."""
    over_plain: Target | None = None
    over_xargs: Target | None = None
    over_ssh: Target | None = _OVER_SSH


@dataclass(frozen=True, slots=True)
class _Pair:
    few: int
    few_s: float
    many: int
    many_s: float

    def rate(self, load: Load) -> float:
        return self.many / self.many_s * load.factor

    def marginal(self, load: Load) -> float | None:
        rate = marginal_rate(self.few, self.few_s, self.many, self.many_s)
        return None if rate is None else rate * load.factor


def true_jobs(place: Place) -> Section:
    many, ssh_many = (60, 20) if place.quick else (1000, 200)
    load = Load(
        "true",
        "true {}",
        lambda count: 0,
        4,
        many,
        ssh_many,
        over_plain=Target(least=1.9),
        over_xargs=Target(least=0.55),
        over_ssh=Target(least=12.0),
    )
    return _compare(place, load)


def echo_jobs(place: Place) -> Section:
    many, ssh_many = (60, 20) if place.quick else (1000, 200)
    load = Load("echo {}", "echo {}", digits, 4, many, ssh_many, over_plain=Target(least=1.7))
    return _compare(place, load)


def output_jobs(place: Place) -> Section:
    """1 MB of text from each job. Text, since the journal compresses the output that it keeps."""
    text = place.folder / "text"
    text.write_bytes(sample_text(OUTPUT_BYTES))
    many, ssh_many = (30, 12) if place.quick else (300, 60)
    load = Load(
        "1 MB of output",
        f": {{}}; cat {text}",
        lambda count: count * OUTPUT_BYTES,
        4,
        many,
        ssh_many,
        unit="MB/s",
        factor=OUTPUT_BYTES / 1e6,
        over_plain=Target(least=1.0),
        over_ssh=None,
    )
    return _compare(place, load)


def sample_text(size_bytes: int) -> bytes:
    """Lines of words and numbers, the same each time; zlib makes a third to a half of them."""
    source = random.Random(1)
    words = [
        "".join(source.choices("abcdefghijklmnopqrstuvwxyz", k=source.randint(2, 9))) for _ in range(2000)
    ]
    lines, size = [], 0
    while size < size_bytes:
        line = f"{source.random():.6f} {' '.join(source.choices(words, k=10))}\n"
        lines.append(line)
        size += len(line)
    return "".join(lines).encode()[:size_bytes]


def digits(count: int) -> int:
    """Bytes of the lines 1 to `count`."""
    return sum(len(str(number)) + 1 for number in range(1, count + 1))


def _compare(place: Place, load: Load) -> Section:
    commands = {
        WOMM: [*place.womm_parallel, "--", load.command],
        PLAIN: [*place.plain_parallel, f"-j{PODS}", load.command],
        XARGS: ["xargs", f"-P{PODS}", "-I{}", "/bin/sh", "-c", load.command],
    }
    notes = []
    with ExitStack() as stack:
        try:
            ssh = stack.enter_context(logins(place.folder))
            over_ssh = [*place.plain_parallel, *ssh.parallel_options, load.command]
            commands = {SSH: over_ssh, **commands}  # womm runs between its two rivals
        except NoSshd as exc:
            notes.append(f"Left out: GNU parallel over ssh, since {exc}.")
        candidates: dict[str, Callable[[], _Pair]] = {}
        for name, command in commands.items():
            many = load.ssh_many if name == SSH else load.many
            candidates[name] = partial(_pair, place, load, command, many)
            _once(place, load, command, load.few)  # caches warm, for all alike
        found = interleave(candidates, rounds=2 if place.quick else 5, budget_s=75)
    return Section(
        f"{load.name}: {load.unit}",
        f"`{load.command.replace(str(place.folder) + '/', '')}` in `/bin/sh -c`, {load.many:,} lines on stdin"
        f" ({load.ssh_many} over ssh), {PODS} jobslots each, stdout read from a pipe and its length checked,"
        f" {len(found[WOMM])} rounds. *With start-up* is jobs / time from start to exit. *Marginal* leaves"
        f" the start-up out: (jobs - {load.few}) / (time - time of {load.few} jobs). The target"
        " beside ssh is for the marginal rate, since there are fewer jobs to spread the start-up over; the"
        " ssh connections, one per login, are open before the clock starts.",
        _figures(load, found),
        notes,
    )


def _figures(load: Load, found: Mapping[str, list[_Pair]]) -> list[Figure]:
    ours = found[WOMM]
    rates = [pair.rate(load) for pair in ours]
    marginals = [pair.marginal(load) for pair in ours]
    targets = {PLAIN: load.over_plain, XARGS: load.over_xargs}
    figures = []
    for name, theirs in found.items():
        if name == WOMM:
            continue
        over = [pair.rate(load) for pair in theirs]
        mine, other = both(marginals, [pair.marginal(load) for pair in theirs])
        whole = f"{load.name}, beside {name}, with start-up"
        rest = f"{load.name}, beside {name}, marginal"
        figures += [
            compared(whole, rates, over, load.unit, targets.get(name)),
            compared(rest, mine, other, load.unit, load.over_ssh if name == SSH else None),
        ]
    return figures


def _pair(place: Place, load: Load, command: list[str], many: int) -> _Pair:
    few_s = _once(place, load, command, load.few)
    return _Pair(load.few, few_s, many, _once(place, load, command, many))


def _once(place: Place, load: Load, command: list[str], count: int) -> float:
    run = measure(place, command, place.numbers(count))
    expected = load.out_bytes(count)
    if run.out_bytes != expected:
        raise BenchError(f"{Path(command[0]).name}: {run.out_bytes} bytes of output instead of {expected}")
    return run.wall_s

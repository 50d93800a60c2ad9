"""How long a user waits for the first output, and for the commands that only look."""

import sys
from functools import partial

from bench.report import Section, absolute, compared
from bench.run import PODS, BenchError, Place, interleave, measure
from bench.stats import Target, spread

_FIRST = Target(most=1.0, unit="s")
_BESIDE_PLAIN = Target(most=2.2)
_HELP = Target(most=150, unit="ms")


def first_output(place: Place) -> Section:
    words = ["echo", ":::", "1", "2", "3", "4"]
    commands = {
        "womm": [*place.womm_parallel, "--", *words],
        "parallel": [*place.plain_parallel, f"-j{PODS}", *words],
    }

    def first_s(command: list[str]) -> float:
        run = measure(place, command)
        if run.first_s is None:
            raise BenchError("nothing on stdout")
        return run.first_s

    candidates = {name: partial(first_s, command) for name, command in commands.items()}
    for candidate in candidates.values():
        candidate()
    found = interleave(candidates, rounds=3 if place.quick else 12, budget_s=25)
    return Section(
        "Time to first output",
        "From the start of the command (`echo ::: 1 2 3 4`, the workers not yet there) to the first byte on"
        f" stdout, {len(found['womm'])} rounds.",
        [
            absolute("womm parallel --kube-pods 4", spread(found["womm"]), "s", _FIRST),
            compared("womm, beside parallel -j4", found["womm"], found["parallel"], "s", _BESIDE_PLAIN),
        ],
    )


def commands(place: Place) -> Section:
    candidates = {
        "womm --help": [place.womm, "--help"],
        "womm status": [place.womm, "status"],
        "python": [sys.executable, "-c", "pass"],
    }
    measure(place, [*place.womm_parallel, "--", "true", ":::", "1"])  # a task to look at

    def wall_ms(command: list[str]) -> float:
        return measure(place, command).wall_s * 1000

    timed = {name: partial(wall_ms, command) for name, command in candidates.items()}
    for candidate in timed.values():
        candidate()
    found = interleave(timed, rounds=5 if place.quick else 20, budget_s=25)
    return Section(
        "Commands that only look",
        f"From start to exit, {len(found['python'])} rounds. Beside them, the interpreter alone:"
        " `python -c pass`.",
        [
            absolute("womm --help", spread(found["womm --help"]), "ms", _HELP),
            compared("womm --help, beside python -c pass", found["womm --help"], found["python"], "ms"),
            absolute("womm status", spread(found["womm status"]), "ms"),
        ],
    )

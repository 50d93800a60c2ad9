"""GNU parallel's options: what they are to womm, and which of them the user has given.

GNU parallel reads options from four places: the arguments, $PARALLEL, ~/.parallel/config and profiles. Its
--pipe, --fifo and --cat write the name of the shell into commands that run in a worker.
"""

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from womm import descriptors, worker
from womm.errors import UsageError

_READER = Path(__file__).parent / "options.pl"

REFUSED = {
    "semaphore": "a semaphore counts jobs of one machine; womm's jobs run in workers",
    "semaphore-name": "a semaphore counts jobs of one machine; womm's jobs run in workers",
    "semaphore-timeout": "a semaphore counts jobs of one machine; womm's jobs run in workers",
    "fg": "it belongs to --semaphore, which works on one machine only",
    "bg": "it belongs to --semaphore, which works on one machine only",
    "wait": "it belongs to --semaphore, which works on one machine only",
    "tmux": "the windows would open here while the jobs run in workers; see womm logs -f",
    "tmux-pane": "the windows would open here while the jobs run in workers; see womm logs -f",
    "sshlogin": "womm gives GNU parallel its workers as logins; choose them with --kube-pods",
    "sshloginfile": "womm gives GNU parallel its workers as logins; choose them with --kube-pods",
    "filter-hosts": "womm gives GNU parallel only workers that are ready",
    "hgrp": "womm's workers have no host groups",
    "controlmaster": "womm reaches its workers over links of its own, not ssh",
    "ssh": "womm reaches its workers over links of its own, not ssh",
    "tty": "a job in a worker has no terminal; use womm shell",
    "open-tty": "a job in a worker has no terminal; use womm shell",
    "cleanup": "workers have this machine's files, so it would delete your own",
    "trc": "workers have this machine's files, so its --cleanup would delete your own",
    "memsuspend": "it stops processes of this machine, not those in a worker",
    "sql": "GNU parallel would start a worker of its own here",
    "sql-master": "GNU parallel would start a worker of its own here",
    "sql-worker": "GNU parallel would start a worker of its own here",
    "sql-and-worker": "GNU parallel would start a worker of its own here",
    "shebang": "it makes GNU parallel the interpreter of a script; call womm parallel in the script",
    "shebang-wrap": "it makes GNU parallel the interpreter of a script; call womm parallel in the script",
}
"""Options that cannot work through workers, each with the reason."""
ONLY_ELSEWHERE = frozenset(["cleanup", "trc"])
"""Options of REFUSED that do work where the workers have files of their own."""
REFUSED_ELSEWHERE = {
    "tee": "it feeds the jobs through fifos of this machine, which pods do not have",
    "shard": "it feeds the jobs through fifos of this machine, which pods do not have",
    "bin": "it feeds the jobs through fifos of this machine, which pods do not have",
}
"""Options that only work where the workers are on this machine."""

PRINT_ONLY = frozenset(
    "help version min-version embed shell-completion number-of-cpus number-of-sockets number-of-cores"
    " number-of-threads max-line-length-allowed recordenv session".split()
)
"""Options with which GNU parallel prints something and starts no job."""

NEEDS_LOGINS = frozenset("onall nonall transfer transfer-file return basefile".split())
LIVE = frozenset("ungroup line-buffer latest-line compress use-compress-program".split())
"""Options with which output is shown, or passed on, while the job still runs."""
STARTS_ANOTHER = frozenset("shard bin group-by".split())
"""Options with which GNU parallel starts another GNU parallel, found in PATH."""
FIXED_WIDTH = frozenset("xargs m X L max-lines max-replace-args tee shard bin round-robin pipe-part".split())
"""Options whose meaning depends on the number of jobslots at the start."""


@dataclass(frozen=True, slots=True)
class Options:
    """GNU parallel's options, wherever they came from. `found` keeps their order, later ones win;
    `command` is what follows the options in the arguments, `given` what precedes it. `ended`: a -- stood
    between them; the command may then begin as an option does."""

    found: tuple[tuple[str, str], ...]
    given: tuple[str, ...]
    command: tuple[str, ...]
    ended: bool = False

    def has(self, *names: str) -> bool:
        return any(name in names for name, _ in self.found)

    def last(self, *names: str) -> str | None:
        return next((value for name, value in reversed(self.found) if name in names), None)


def read_options(
    arguments: Sequence[str], perl: str, meanwhile: Callable[[], object] = lambda: None
) -> Options:
    """Let Getopt::Long read the arguments as GNU parallel will; do `meanwhile` in the meantime.

    Raises UsageError.
    """
    with subprocess.Popen(
        [perl, str(_READER), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=descriptors.of_caller(),  # a profile may be one of them
        env=worker.clean_environment(os.environ),
    ) as reader:
        meanwhile()
        stdout, stderr = reader.communicate()
    if reader.returncode != 0:
        lines = stderr.decode(errors="replace").strip().splitlines() or ["cannot read the options"]
        raise UsageError(f"GNU parallel's options: {lines[0]}", "womm parallel -- --help")
    found: list[tuple[str, str]] = []
    rest, ended = 0, False
    for field in os.fsdecode(stdout).split("\0"):
        if field.startswith("o "):
            name, _, value = field[2:].partition("=")
            found.append((name, value))
        elif field.startswith("r "):
            rest = int(field[2:])
        elif field.startswith("p "):
            path, _, content = field[2:].partition("\n")
            if not descriptors.refill(path, os.fsencode(content)):
                raise UsageError(
                    f"the profile {path} can be read only once, and womm reads it before GNU parallel does",
                    f"cat {path} >profile, then --profile ./profile",
                )
        elif field.startswith("t "):
            ended = True
    at = len(arguments) - rest
    return Options(tuple(found), tuple(arguments[: at - ended]), tuple(arguments[at:]), ended)

"""What a worker's agent, its bridge and a shell read of this machine: `find_pins`.

Strategy: the perl itself tells. It loads the modules that womm's programs use, and then says which files that
were (%INC), which ones are mapped (/proc/self/maps), and where it looks for modules; the loader says under
which names it looks for libraries. Both have the variables that they have in a pod: perl those of the agent,
a shell those of a job. A file that is missing in the list is fetched when it is read.
"""

import os
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from typing import Final

from womm.errors import ShareError
from womm.here.filesystems import FileSystems, mounted
from womm.here.machine import loader_of
from womm.here.programs import Programs
from womm.worker import LOADER_VARIABLES, PERL_VARIABLES

_PROGRAMS: Final = ("agent.pl", "bridge.pl")
_USE: Final = re.compile(r"^\s*(?:use|require) ([A-Z][\w:]*|strict|warnings|constant)\b", re.M)
_TELL: Final = (
    r"for (@ARGV) { eval qq{require $_; 1} or next }"
    r" $Config::Config{archname};"
    r" my @maps = do { local @ARGV = '/proc/self/maps'; map { m{ (/.*)$} ? $1 : () } <> };"
    r' print join "\0", (grep { !ref } values %INC), @maps, grep { !ref } @INC;'
)
_LOADED: Final = re.compile(rb"^\s*(?:\S+ => )?(/\S+) \(0x", re.M)
_JOBS_ALONE: Final = (*PERL_VARIABLES, *LOADER_VARIABLES)
_TIMEOUT_S: Final = 20.0
_LOADERS: Final = (
    *("/etc/ld.so.cache", "/etc/ld.so.preload", "/etc", "/lib", "/lib64", "/usr/lib"),
    *("/usr/lib/locale", "/usr/share/locale/locale.alias"),
)
_LARGEST: Final = 16 << 20
"""A larger file (a locale-archive) is read in parts."""


@dataclass(frozen=True, slots=True)
class Pins:
    """Paths below the export's root: of files, and of directories whose names are looked for.

    essential: those without which no worker starts.
    """

    paths: tuple[bytes, ...]
    essential: tuple[bytes, ...]


def find_pins(programs: Programs, shells: Sequence[str], filesystems: FileSystems | None = None) -> Pins:
    """Find what a worker reads to start, where it can be read now. Blocks.

    Raises ShareError when the perl does not run here.
    """
    table = filesystems or mounted()
    agents = {name: value for name, value in programs.env.items() if name not in _JOBS_ALONE}
    found = [programs.perl, *shells, *_loaded(programs.perl, agents), *_LOADERS]
    for shell in shells:
        found += _loaded(shell, programs.env)
    found += filter(os.path.isabs, programs.env.get("LD_LIBRARY_PATH", "").split(":"))
    found += _told_by(programs.perl, agents)
    paths = dict.fromkeys(_exported(path, programs.links) for path in found if _is_worth_it(path, table))
    return Pins(tuple(paths), tuple(_exported(path, programs.links) for path in (programs.perl, *shells)))


def modules() -> tuple[str, ...]:
    """Return the modules that womm's programs in a worker use."""
    texts = [resources.files("womm.worker").joinpath(name).read_text() for name in _PROGRAMS]
    return tuple(dict.fromkeys(name for text in texts for name in _USE.findall(text)))


def _told_by(perl: str, env: Mapping[str, str]) -> list[str]:
    try:
        done = subprocess.run(
            [perl, "-MConfig", "-e", _TELL, *modules()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            env=env,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise ShareError(f"{perl} does not run here: {exc}", f"{perl} -v") from exc
    return [path for path in map(os.fsdecode, done.stdout.split(b"\0")) if path.startswith("/")]


def _loaded(program: str, env: Mapping[str, str]) -> list[str]:
    """Return a program's loader and its libraries, as the loader names them. The program does not run."""
    loader = loader_of(program)
    if not loader:  # it is static, or a script
        return []
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            [loader, "--list", program],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            env=env,
            check=False,
        )
        return [loader, *map(os.fsdecode, _LOADED.findall(done.stdout))]
    return [loader]


def _is_worth_it(path: str, table: FileSystems) -> bool:
    if os.path.isabs(path) and not table.answers(path):
        return False
    try:
        return os.path.isdir(path) or os.path.getsize(path) <= _LARGEST
    except OSError:
        return True  # that it is missing is to be known, too


def _exported(path: str, links: Iterable[tuple[str, str]]) -> bytes:
    """Return where the export has a path: pods have the folder of a link mounted in its place."""
    for link, folder in links:
        if path == link or path.startswith(link + "/"):
            path = folder + path[len(link) :]
            break
    return os.fsencode(path.strip("/"))

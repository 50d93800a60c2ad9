"""Finding GNU parallel: the one that came with womm, else the user's own, if it is new enough."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import womm
from womm import programs
from womm.errors import EngineError

OLDEST_VERSION = 20221122
_PACKAGE = Path(womm.__file__).parent
_VENDORED = (
    _PACKAGE / "vendor" / "parallel" / "parallel",
    _PACKAGE / "vendor" / "parallel",
    _PACKAGE.parent / "vendor" / "parallel" / "build" / "parallel",
)
_VERSION = re.compile(rb"\$Global::version\s*=\s*(\d{8})")


@dataclass(frozen=True, slots=True)
class GnuParallel:
    path: Path
    version: int
    vendored: bool


def locate(environ: Mapping[str, str] | None = None) -> GnuParallel:
    """Find GNU parallel: the vendored one, else the first on PATH that is GNU's and new enough.

    Raises EngineError that says how to get it.
    """
    for path in _VENDORED:
        if version := _version(path):
            return GnuParallel(path, version, True)
    too_old = ""
    search = programs.search_path(environ if environ is not None else os.environ)
    for folder in search.split(os.pathsep) if search else ():
        path = Path(folder) / "parallel"
        version = _version(path)
        if version >= OLDEST_VERSION:
            return GnuParallel(path, version, False)
        if version:
            too_old = f"; {path} is of {version}, older than {OLDEST_VERSION}"
    raise EngineError(
        f"GNU parallel is not there{too_old}",
        "make vendor (in womm's sources), or apt-get install parallel",
    )


def _version(path: Path) -> int:
    """The version of GNU parallel at `path`; 0 when it is another program (moreutils has one)."""
    try:
        with path.open("rb") as file:
            found = _VERSION.search(file.read(1 << 20))
    except OSError:
        return 0
    return int(found.group(1)) if found else 0

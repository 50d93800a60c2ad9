"""What takes minutes to make and is the same for every cluster: made once, kept in the user's cache folder.

A file is made under another name and renamed when it is whole, under a lock, so that neither an interrupted
run nor two runs at once leave half a file. A file's name says what it was made from: something newer has
another name.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# Read when this is imported: tests point the environment to folders of their own.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "womm-test"


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Return the file of the cache; `make` writes it to the path that it is given, if it is not there."""
    file = CACHE / name
    if file.exists():
        return file
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / f"{name}.lock"):
        if not file.exists():
            partial = CACHE / f"{name}.partial"
            partial.unlink(missing_ok=True)
            make(partial)
            partial.rename(file)
    return file


@contextmanager
def scratch(name: str) -> Iterator[Path]:
    """Give a folder of the cache for something that is made, empty at the beginning, gone at the end."""
    folder = CACHE / f"{name}.making"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold a lock that the kernel gives back at any death of this process."""
    with open(file, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

"""The user's folder of an eager share."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from womm import words
from womm.errors import ShareError
from womm.share.eager.manifest import Ancestor
from womm.store.tree import IgnoreRules, Walk, walk


@dataclass(frozen=True, slots=True)
class CopiedFolder:
    """The user's folder. `task` is in the names of files that are placed beside others."""

    path: Path
    task: str
    ignore: IgnoreRules | None

    @contextmanager
    def opened(self) -> Iterator[int]:
        """Raises ShareError."""
        try:
            root = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except NotADirectoryError as exc:
            raise ShareError(f"{self.path} is no folder any more: nothing was copied") from exc
        except OSError as exc:
            raise ShareError(f"cannot open {self.path}: {exc.strerror or exc}") from exc
        try:
            yield root
        finally:
            os.close(root)

    def walk(self, stop: Callable[[], None]) -> Walk:
        """Look at all of it. Raises ShareError."""
        try:
            with self.opened() as root:
                return walk(root, self.ignore, stop)
        except OSError as exc:
            raise self.error(exc) from exc

    def error(self, exc: OSError) -> ShareError:
        """The error of a folder that cannot be read or written."""
        where = "" if exc.filename is None else f" ({words.name(exc.filename)})"
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            return ShareError(
                f"no room for what comes back into {self.path}: {exc.strerror}{where}; files here are"
                " whole, the rest is still in the store",
                f"df {self.path}",
            )
        return ShareError(f"{self.path}: {exc.strerror or exc}{where}")

    def must_be_copied(self, ancestor: Ancestor, root: os.stat_result, so: str) -> None:
        """Refuse another folder than the one that was copied, and say what follows."""
        if (root.st_dev, root.st_ino) != (ancestor.dev, ancestor.ino):
            raise ShareError(f"{self.path} is not the folder that was copied (unmounted, or replaced): {so}")

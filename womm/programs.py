"""Programs that womm itself starts: looked up in PATH, but never in the current folder.

An empty or relative entry of PATH means the current folder, and pods or strangers may be able to write that.
A job's own PATH stays as the user has it.
"""

import os
import shutil
from collections.abc import Mapping


def search_path(environ: Mapping[str, str]) -> str:
    """Return PATH without its empty and relative entries."""
    entries = environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(entry for entry in entries if os.path.isabs(entry))


def which(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """Return the program of this name, None without one. A name with a slash is a path, as it is."""
    path = search_path(os.environ if environ is None else environ)
    # shutil.which takes an empty path for "not given".
    return shutil.which(name, path=path or os.devnull)

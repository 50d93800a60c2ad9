"""The line of `womm --version` and of `womm parallel --version`."""

import sys

from womm import __version__
from womm.engine.gnu.locate import locate
from womm.errors import WommError


def version_line() -> str:
    """Return the versions of womm, Python and GNU parallel, which may be missing."""
    python = ".".join(map(str, sys.version_info[:3]))
    try:
        parallel = f"GNU parallel {locate().version}"
    except WommError:
        parallel = "no GNU parallel"
    return f"womm {__version__}, Python {python}, {parallel}"

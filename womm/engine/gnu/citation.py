"""GNU parallel's citation notice, which Debian's package leaves out and womm shows in its place.

The promise is kept where GNU parallel keeps its own (`will-cite` in its configuration folder), so nobody
has to make it twice. Nothing here ever blocks a run.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

NOTICE = """\
womm runs GNU parallel. If you use it for research, please cite:
  Tange, O. (2022, November 22). GNU Parallel 20221122. Zenodo. https://doi.org/10.5281/zenodo.7347980
How to cite, and to promise it: womm parallel --citation
"""
BIBTEX = """\
@software{tange_2022_7347980,
      author       = {Tange, Ole},
      title        = {GNU Parallel 20221122},
      month        = Nov,
      year         = 2022,
      note         = {{GNU Parallel is a general parallelizer to run
                       multiple serial command line programs in parallel
                       without changing them.}},
      publisher    = {Zenodo},
      doi          = {10.5281/zenodo.7347980},
      url          = {https://doi.org/10.5281/zenodo.7347980}
}
"""
PROMISE = "will cite"


def folders(environ: Mapping[str, str]) -> list[Path]:
    """GNU parallel's configuration folders, whether they exist or not; it writes to the last."""
    home = environ.get("HOME", "")
    config = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    names = [environ.get("PARALLEL_HOME", ""), f"{config}/parallel" if config else ""]
    names.append(f"{home}/.parallel" if home else "")
    return [Path(name) for name in names if name]


def promised(environ: Mapping[str, str]) -> bool:
    return any(os.access(folder / "will-cite", os.F_OK) for folder in folders(environ))


def show_notice(environ: Mapping[str, str], shown: Path) -> None:
    """Print the notice on a terminal, once: the file `shown` remembers."""
    if not sys.stderr.isatty() or promised(environ) or os.access(shown, os.F_OK):
        return
    sys.stderr.write(NOTICE)
    with suppress(OSError):
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.touch()


def ask(environ: Mapping[str, str]) -> int:
    """`womm parallel --citation`: print what to cite and ask for the promise. Returns the exit status."""
    sys.stdout.write(NOTICE.splitlines()[0] + "\n\n" + BIBTEX)
    sys.stdout.flush()
    if not sys.stdin.isatty():
        sys.stderr.write(f"womm: not a terminal: run womm parallel --citation in one and type {PROMISE!r}\n")
        return 0
    while True:
        sys.stderr.write(f"\nType: {PROMISE!r} and press enter.\n> ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            return 1
        if PROMISE in line.lower():
            break
    known = folders(environ)
    if not known:
        sys.stderr.write("womm: $HOME is not set: the promise cannot be remembered\n")
        return 1
    folder = next((folder for folder in known if folder.is_dir()), known[-1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "will-cite").touch()
    sys.stderr.write("Thank you. The notice is silenced; if it is for research, do cite.\n")
    return 0

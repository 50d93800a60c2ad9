"""womm as its users get it: the wheel of this checkout, installed, its modules compiled.

    python -m tests.installation FOLDER     # an environment there that also finds tests/ and bench/

The environment has womm alone; everything else it finds where this Python finds it, so nothing is fetched,
and it takes seconds.
"""

import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
_TIMEOUT_S = 300.0


def make(folder: Path, also: Sequence[Path] = ()) -> Path:
    """Install womm into a new environment; return its `python`. `also`: where it finds more modules, last."""
    venv.EnvBuilder(symlinks=True, with_pip=False, clear=True).create(folder)
    base = {"base": str(folder), "platbase": str(folder)}
    own = Path(sysconfig.get_path("purelib", "venv", base))
    # A .pth file's folders come after its own, and the .pth files in them (of an editable womm) are not read.
    (own / "others.pth").write_text("".join(f"{path}\n" for path in [*_installed_here(), *also]))
    python = folder / "bin" / "python"
    with tempfile.TemporaryDirectory(prefix="womm-wheel-") as wheels:
        _run(["-m", "hatchling", "build", "-t", "wheel", "-d", wheels])
        (wheel,) = Path(wheels).glob("womm-*.whl")
        pip = ["-m", "pip", "--python", str(python), "--quiet", "--disable-pip-version-check", "install"]
        _run([*pip, "--no-deps", "--no-index", "--ignore-installed", str(wheel)])
    return python


def _installed_here() -> list[str]:
    return [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]


def _run(words: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {result.returncode}:\n{result.stdout}")


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve(), also=[ROOT])

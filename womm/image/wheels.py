"""The wheels of the file server's image: womm itself, and the ssh library with what it needs."""

import hashlib
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import womm
from womm import words
from womm.errors import ImageError

PACKAGES: Final = ("asyncssh", "cryptography", "cffi", "pycparser", "typing_extensions")
"""Whole: what is not here is not in the image."""
_OF_ONE_PYTHON: Final = ("cffi",)
"""Their wheels are for one version of Python each; all others are for any, from 3.11 on."""
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
_PLATFORMS: Final = ("manylinux_2_17_{}", "manylinux2014_{}", "manylinux_2_28_{}", "manylinux_2_34_{}")
_PACKAGE: Final = Path(womm.__file__).parent
_TAKEN: Final = (
    *("__init__.py", "background.py", "errors.py", "memory.py", "process.py", "project.py"),
    *("fileserver/**/*.py", "nfs/**/*.py", "store/**/*.py", "wire/**/*.py"),
)
"""Of womm: what the file server may import."""
_TIMEOUT_S: Final = 300.0
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def download(folder: Path, machine: str) -> None:
    """Put the wheels that are not womm's into `folder`, for a Linux of this machine type (`x86_64`).

    The versions are those that run here; pip gets them, as it got these. Raises ImageError.
    """
    _download(folder, machine, PYTHONS[0], pins())
    for python in PYTHONS[1:]:
        _download(folder, machine, python, [pin for pin in pins() if pin.startswith(_OF_ONE_PYTHON)])


def pins() -> list[str]:
    """Return the wheels that are not womm's as pip names them, with their versions. Raises ImageError."""
    return [f"{name}=={_version(name)}" for name in PACKAGES]


def write_own(folder: Path) -> Path:
    """Write a wheel of the womm that runs here, as far as a file server needs it."""
    path = folder / f"womm-{womm.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _sources():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    return path


def tag() -> str:
    """The tag of the image that is made of this womm: its version, and what is in it.

    `pip install .` of another state of the sources has the same version.
    """
    content = hashlib.sha256()
    for name, data in _sources():
        content.update(b"%s\0%d\0" % (name.encode(), len(data)) + data)
    content.update("\n".join(pins()).encode())
    return f"{womm.__version__}-{content.hexdigest()[:10]}"


def _sources() -> list[tuple[str, bytes]]:
    paths = sorted(path for pattern in _TAKEN for path in _PACKAGE.glob(pattern))
    return [(str(path.relative_to(_PACKAGE.parent)), path.read_bytes()) for path in paths]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError as exc:
        raise ImageError(f"{name} is not installed", "pip install --upgrade womm") from exc


def _download(folder: Path, machine: str, python: str, pins: list[str]) -> None:
    # -P: the current folder may hold a pip.py.
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    for platform in _PLATFORMS:
        command += ["--platform", platform.format(machine)]
    try:
        result = subprocess.run(
            [*command, "--dest", str(folder), *pins],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        late = isinstance(exc, subprocess.TimeoutExpired)
        why = f"it has not ended after {_TIMEOUT_S} s" if late else words.cause(exc)
        raise ImageError(f"pip does not bring the file server's wheels: {why}") from exc
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["no reason given"]
        raise ImageError(
            f"pip does not bring the file server's wheels: {lines[-1].removeprefix('ERROR: ')}",
            "name an image that is made already: womm setup --fileserver-image NAME",
        )

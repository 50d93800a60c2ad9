"""The wheels of the file server's image: womm itself, and the ssh library with what it needs."""

import ast
import hashlib
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import womm
from womm import words
from womm.errors import ImageError

PACKAGES: Final = ("asyncssh", "cryptography", "cffi", "pycparser", "typing_extensions")
"""Distributions that the image gets as a whole; it gets no others."""
_OF_ONE_PYTHON: Final = ("cffi",)
"""Each wheel of these is for one version of Python; all others are for any, from 3.11 on."""
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
_PLATFORMS: Final = ("manylinux_2_17_{}", "manylinux2014_{}", "manylinux_2_28_{}", "manylinux_2_34_{}")
_PACKAGE: Final = Path(womm.__file__).parent
_ROOMS: Final = ("fileserver", "nfs", "store")
"""The packages of womm that run in the file server's pod; the wheel has what they import of womm, too."""
_TIMEOUT_S: Final = 300.0
_LOOK_S: Final = 0.2
"""How often womm looks whether pip is still wanted."""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def download(folder: Path, machine: str) -> None:
    """Put the wheels that are not womm's into `folder`, for a Linux of this machine type (`x86_64`).

    The versions are those that run here; pip downloads them. Raises ImageError.
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
        for name, data in sources():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), data)
    return path


def tag() -> str:
    """Return the tag of the image of this womm: its version, and a hash of its contents.

    `pip install .` of another state of the sources has the same version.
    """
    content = hashlib.sha256()
    for name, data in sources():
        content.update(b"%s\0%d\0" % (name.encode(), len(data)) + data)
    content.update("\n".join(pins()).encode())
    return f"{womm.__version__}-{content.hexdigest()[:10]}"


@cache
def sources() -> tuple[tuple[str, bytes], ...]:
    """Return paths and contents of the modules in the wheel: _ROOMS, and what they import of womm."""
    found: dict[Path, bytes] = {}
    left = [path for room in _ROOMS for path in (_PACKAGE / room).rglob("*.py")]
    while left:
        path = left.pop()
        if path not in found:
            found[path] = path.read_bytes()
            left += _imports(found[path])
    return tuple((str(path.relative_to(_PACKAGE.parent)), found[path]) for path in sorted(found))


def _imports(source: bytes) -> Iterator[Path]:
    """The modules of womm that a module imports, each with the packages that it is in."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == _PACKAGE.name:
                above = [_PACKAGE.joinpath(*parts[1:count]) for count in range(1, len(parts) + 1)]
                files = [file for path in above for file in (path / "__init__.py", path.with_suffix(".py"))]
                yield from (file for file in files if file.is_file())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError as exc:
        raise ImageError(f"{name} is not installed", "pip install --upgrade womm") from exc


def _download(folder: Path, machine: str, python: str, pins: list[str]) -> None:
    platforms = [platform.format(machine) for platform in _PLATFORMS]
    pip_download(
        folder,
        platforms,
        python,
        pins,
        "name an image that is made already: womm setup --fileserver-image NAME",
    )


def pip_download(
    folder: Path,
    platforms: Iterable[str],
    python: str,
    pins: list[str],
    other_way: str,
    *,
    stop: threading.Event | None = None,
) -> None:
    """Put wheels into `folder` as pip finds them. platforms: as in their names. python: "3.13".

    other_way: the command that needs none. stop: ends pip once it is set. Raises ImageError.
    """
    # -P: the current folder may hold a pip.py.
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    # Its five retries take minutes where a firewall drops the packets.
    command += ["--timeout", "15", "--retries", "1"]
    command += ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    for platform in platforms:
        command += ["--platform", platform]
    try:
        returncode, told = _run([*command, "--dest", str(folder), *pins], stop or threading.Event())
    except OSError as exc:
        raise ImageError(
            f"pip does not bring the file server's wheels: {words.cause(exc)}", other_way
        ) from exc
    if returncode:
        lines = told.strip().splitlines() or ["no reason given"]
        why = lines[-1].removeprefix("ERROR: ")
        raise ImageError(f"pip does not bring the file server's wheels: {why}", other_way)


def _run(command: list[str], stop: threading.Event) -> tuple[int, str]:
    """Run pip to its end, and return its status and stderr. Raises OSError if it is ended early."""
    until = time.monotonic() + _TIMEOUT_S
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    _, told = process.communicate(timeout=_LOOK_S)
                    return process.returncode, told
                if stop.is_set():
                    raise OSError("it was stopped")
                if time.monotonic() > until:
                    raise OSError(f"it has not ended after {_TIMEOUT_S:.0f} s")
        finally:
            process.kill()

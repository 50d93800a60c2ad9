"""The bundle: womm as a file server needs it, for a pod whose image has nothing but python3.

Strategy: a distribution that is installed here goes in as it lies here, if its wheel is for the pod's Python
too (cryptography's is for any from 3.11 on). pip downloads the others: usually cffi's, where the Pythons
differ. Where they are the same, modules go in compiled, without their sources: it would take the pod half a
second. Bundles are kept in the cache folder, one for each state of womm and kind of pod. The file's name ends
in a hash of its contents, so a damaged one is made again.
"""

import glob
import hashlib
import importlib.metadata
import io
import logging
import marshal
import os
import re
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib.util import MAGIC_NUMBER
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

from womm import places, words
from womm.cluster.base import PodPython
from womm.errors import ImageError
from womm.image import wheels

log = logging.getLogger(__name__)

HERE: Final = f"{sys.version_info[0]}.{sys.version_info[1]}"
KEPT: Final = 6
"""Bundles in the folder: the least recently used go."""
PRESET: Final = 1
"""Of xz. A bundle takes 2 s; with preset 6, 10 s, and it is 10 % smaller."""
_SUFFIX: Final = ".tar.xz"
_NAME: Final = re.compile(r"womm-.+-[0-9a-f]{16}\.tar\.xz")
_LEGACY: Final = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_MANYLINUX: Final = (
    (2, 5),
    (2, 12),
    (2, 17),
    (2, 24),
    (2, 26),
    (2, 27),
    (2, 28),
    (2, 31),
    (2, 34),
    (2, 35),
    (2, 39),
)
_MUSLLINUX: Final = ((1, 1), (1, 2))
_LEFT_OUT: Final = re.compile(r"\.pyi$|/py\.typed$|/__pycache__/|\.dist-info/(?!licenses/)|^\.\.|^/")
_OF_CFFI: Final = re.compile(r"_cffi_backend\b|cffi\.libs/|\.dist-info/licenses/")
"""The library needs cffi's compiled module alone; pycparser is for those who write such modules."""
_UNUSED: Final = frozenset(["pycparser"])
_OTHER: Final = f"an image with this machine's Python: --fileserver-python python:{HERE}-slim-bookworm"
"""With the same Python, what is installed here fits."""
Files: TypeAlias = dict[str, bytes]
"""Contents by path."""


class WommBundles:
    """See womm.cluster.base.Bundles. folder: where bundles are kept; None: nowhere."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._spare: tempfile.TemporaryDirectory[str] | None = None

    def __repr__(self) -> str:
        return f"<WommBundles {self._folder}>"

    def provide(
        self,
        python: PodPython,
        *,
        making: Callable[[], None] = lambda: None,
        stop: threading.Event | None = None,
    ) -> Path:
        """Return the bundle's file for this kind of pod; make it first if need be. Raises ImageError."""
        stem = f"womm-{wheels.tag()}-py{python.version}-{python.machine}-{python.libc.replace(' ', '-')}"
        folder = self._folder or self._temporary()
        try:
            found = _kept(folder, stem)
            if found is None:
                log.debug("%s is made", stem)
                making()
                found = _keep(folder, stem, pack(contents(python, stop)))
                _prune(folder)
        except OSError as exc:
            raise ImageError(
                f"the file server's bundle cannot be kept in {folder}: {words.cause(exc)}", f"df -h {folder}"
            ) from exc
        except (ValueError, SyntaxError, zipfile.BadZipFile, MemoryError) as exc:
            # A wheel that is not as wheels are, or no memory for all of them.
            raise ImageError(f"the file server's bundle cannot be made: {words.cause(exc)}", _OTHER) from exc
        return found

    def _temporary(self) -> Path:
        """Return a folder of this process, for a user without a home."""
        if self._spare is None:
            self._spare = tempfile.TemporaryDirectory(prefix="womm-bundle-")
        return Path(self._spare.name)


def contents(python: PodPython, stop: threading.Event | None = None) -> Files:
    """Return the files of a bundle. stop: see Bundles. Raises ImageError."""
    files = _sources(python, stop)
    return compiled(files) if python.version == HERE else files


def compiled(files: Files) -> Files:
    """Return the files with compiled modules in the place of their sources (PEP 3147)."""
    found = {}
    for name, data in files.items():
        if name.endswith(".py"):
            code = compile(data, name, "exec", dont_inherit=True, optimize=0)
            # Its flags say: not to be compared with a source (PEP 552).
            found[name + "c"] = MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code)
        else:
            found[name] = data
    return found


def _sources(python: PodPython, stop: threading.Event | None) -> Files:
    files: Files = dict(wheels.sources())
    missing: list[str] = []
    for pin in wheels.pins():
        name = pin.partition("==")[0]
        if name in _UNUSED:
            continue
        found = installed(name, python)
        if found is None:
            missing.append(pin)
        else:
            files |= found
    if missing:
        log.debug("pip brings %s", ", ".join(missing))
        files |= _downloaded(missing, python, stop)
    return files


def pack(files: Files) -> bytes:
    """Return files as an archive, byte for byte the same each time; modules first."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz", preset=PRESET, format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files, key=lambda name: (not name.endswith((".py", ".pyc")), name)):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(files[name]), 0o644
            archive.addfile(info, io.BytesIO(files[name]))
    return out.getvalue()


def installed(name: str, python: PodPython) -> Files | None:
    """Return the files of a distribution that is installed here, if they run in such a pod."""
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    tags = re.findall(r"^Tag: *(\S+)$", found.read_text("WHEEL") or "", re.MULTILINE)
    if not found.files or not any(fits(tag, python) for tag in tags):
        return None
    chosen = {str(path): path for path in found.files if _is_needed(name, str(path))}
    try:
        return {path: Path(str(file.locate())).read_bytes() for path, file in chosen.items()}
    except OSError as exc:
        log.debug("%s is not as it was installed: %s", name, exc)
        return None


def fits(tag: str, python: PodPython) -> bool:
    """Whether a wheel with this tag (PEP 425, 600, 656) runs in such a pod; tags may be joined by dots."""
    interpreters, abis, platforms = tag.split("-")
    major, minor = map(int, python.version.split("."))
    return any(
        _fits_python(interpreter, abi, major, minor) and _fits_platform(platform, python)
        for interpreter in interpreters.split(".")
        for abi in abis.split(".")
        for platform in platforms.split(".")
    )


def _fits_python(interpreter: str, abi: str, major: int, minor: int) -> bool:
    if abi == "none":
        return interpreter in {f"py{major}", f"py{major}{minor}", f"cp{major}{minor}"}
    if abi == "abi3":
        found = re.fullmatch(rf"cp{major}(\d+)", interpreter)
        return found is not None and int(found[1]) <= minor
    return interpreter == abi == f"cp{major}{minor}"


def _fits_platform(platform: str, python: PodPython) -> bool:
    if platform == "any":
        return True
    found = re.fullmatch(r"(manylinux|musllinux)_(\d+)_(\d+)_(.+)|(manylinux\d+)_(.+)", platform)
    if found is None:
        return False  # a wheel that was built here: it may need libraries of this machine
    kind, libc = python.libc.partition(" ")[::2]
    if found[5]:
        needed, machine, theirs = _LEGACY.get(found[5]), found[6], "glibc"
    else:
        needed, machine = (int(found[2]), int(found[3])), found[4]
        theirs = "glibc" if found[1] == "manylinux" else "musl"
    return machine == python.machine and theirs == kind and needed is not None and needed <= _numbers(libc)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def _platforms(python: PodPython) -> list[str]:
    """Return the platforms of wheels that run in such a pod, as pip is asked for them."""
    kind, version = python.libc.partition(" ")[::2]
    name, known = ("manylinux", _MANYLINUX) if kind == "glibc" else ("musllinux", _MUSLLINUX)
    fitting = [one for one in known if one <= _numbers(version)]
    found = [f"{name}_{major}_{minor}_{python.machine}" for major, minor in fitting]
    if kind == "glibc":
        found += [f"{old}_{python.machine}" for old, needed in _LEGACY.items() if needed <= _numbers(version)]
    return found


def _is_needed(distribution: str, path: str) -> bool:
    if _LEFT_OUT.search(path):
        return False
    return distribution != "cffi" or _OF_CFFI.search(path) is not None


def _downloaded(pins: Iterable[str], python: PodPython, stop: threading.Event | None) -> Files:
    """Return the files of wheels that pip downloads for such a pod."""
    platforms = _platforms(python)
    if not platforms:  # pip would take wheels for this machine
        raise ImageError(f"no wheel is for {words.line(python.libc)}", _OTHER)
    with tempfile.TemporaryDirectory(prefix="womm-bundle-") as place:
        wheels.pip_download(Path(place), platforms, python.version, list(pins), _OTHER, stop=stop)
        return dict(_unpacked(Path(place)))


def _unpacked(folder: Path) -> Iterator[tuple[str, bytes]]:
    for wheel in sorted(folder.glob("*.whl")):
        distribution = wheel.name.partition("-")[0]
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if (
                    not name.endswith("/")
                    and ".." not in PurePosixPath(name).parts
                    and _is_needed(distribution, name)
                ):
                    yield name, archive.read(name)


def _kept(folder: Path, stem: str) -> Path | None:
    """Return the file that is kept, if it is as it was written."""
    for path in folder.glob(f"{glob.escape(stem)}-*{_SUFFIX}"):
        if path.name == _name(stem, path.read_bytes()):
            with suppress(OSError):
                os.utime(path)
            return path
        log.debug("%s is damaged", path)
        path.unlink(missing_ok=True)
    return None


def _keep(folder: Path, stem: str, data: bytes) -> Path:
    target = folder / _name(stem, data)
    places.keep(target, data)
    return target


def _name(stem: str, data: bytes) -> str:
    return f"{stem}-{hashlib.sha256(data).hexdigest()[:16]}{_SUFFIX}"


def _prune(folder: Path) -> None:
    """Remove the bundles that have not been used for the longest time, and what a killed womm has begun."""
    places.remove_halves(folder)
    with suppress(OSError):
        found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
        for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
            path.unlink(missing_ok=True)

"""Womm for the file server's pod: which wheels fit it, what is in the bundle, how it is kept."""

import io
import os
import platform
import sys
import tarfile
from pathlib import Path

import pytest

from womm.cluster.base import PodPython
from womm.errors import ImageError
from womm.image import bundle
from womm.image.bundle import WommBundles, fits, pack

LIMIT_BYTES = 8_000_000
HERE = PodPython(f"3.{sys.version_info[1]}", platform.machine(), "glibc 2.99")
DEBIAN = PodPython("3.13", "x86_64", "glibc 2.36")
ALPINE = PodPython("3.12", "aarch64", "musl 1.2")


@pytest.mark.parametrize(
    ("tag", "python", "expected"),
    [
        ("py3-none-any", DEBIAN, True),
        ("py2.py3-none-any", ALPINE, True),
        ("cp311-abi3-manylinux_2_34_x86_64", DEBIAN, True),
        ("cp314-abi3-manylinux_2_34_x86_64", DEBIAN, False),
        ("cp311-abi3-manylinux_2_39_x86_64", DEBIAN, False),  # a newer C library
        ("cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64", DEBIAN, True),
        ("cp311-cp311-manylinux_2_17_x86_64", DEBIAN, False),
        ("cp313-cp313t-manylinux_2_17_x86_64", DEBIAN, False),
        ("cp313-cp313-manylinux_2_17_aarch64", DEBIAN, False),
        ("cp313-cp313-linux_x86_64", DEBIAN, False),  # built on some machine, for its libraries
        ("cp313-cp313-macosx_11_0_arm64", DEBIAN, False),
        ("cp312-cp312-musllinux_1_2_aarch64", ALPINE, True),
        ("cp312-cp312-manylinux_2_17_aarch64", ALPINE, False),
    ],
)
def test_wheel_fits_a_pod_by_its_tag(tag: str, python: PodPython, expected: bool) -> None:
    assert fits(tag, python) is expected


@pytest.mark.slow
def test_bundle_has_what_a_file_server_imports_and_is_kept(tmp_path: Path) -> None:
    bundles = WommBundles(tmp_path / "cache")
    made = bundles.provide(HERE)
    assert made.stat().st_size <= LIMIT_BYTES
    with tarfile.open(made) as archive:
        names = archive.getnames()
    for path in ("womm/fileserver/__main__.pyc", "womm/store/server.pyc", "asyncssh/__init__.pyc"):
        assert path in names
    assert any(name.startswith("_cffi_backend.") for name in names)
    assert not [name for name in names if name.startswith(("womm/cli", "pycparser", "cffi/", "/", ".."))]
    written = made.stat().st_ino
    assert WommBundles(tmp_path / "cache").provide(HERE) == made
    assert made.stat().st_ino == written
    whole = made.read_bytes()
    made.write_bytes(whole[:-100])
    assert bundles.provide(HERE).read_bytes() == whole
    assert list(made.parent.iterdir()) == [made]


def test_bundles_that_are_not_used_go_and_other_files_stay(tmp_path: Path) -> None:
    for number in range(bundle.KEPT + 3):
        path = tmp_path / f"womm-0.1-{number:016x}.tar.xz"
        path.write_bytes(b"")
        os.utime(path, (number, number))
    for other in ("womm-notes.tar.xz", ".womm-new", ".womm-old"):
        (tmp_path / other).write_bytes(b"")
    os.utime(tmp_path / ".womm-old", (0, 0))
    bundle._prune(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [
        ".womm-new",
        *(f"womm-0.1-{number:016x}.tar.xz" for number in range(3, bundle.KEPT + 3)),
        "womm-notes.tar.xz",
    ]


def test_archive_is_the_same_each_time_and_begins_with_modules() -> None:
    files = {"b/x.so": b"so", "a.py": b"a", "z/y.pyc": b"y"}
    assert pack(files) == pack(dict(reversed(files.items())))
    with tarfile.open(fileobj=io.BytesIO(pack(files))) as archive:
        assert archive.getnames() == ["a.py", "z/y.pyc", "b/x.so"]


@pytest.mark.slow
def test_pod_that_no_wheel_is_for_is_told_with_another_way(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as raised:
        WommBundles(tmp_path).provide(PodPython("3.11", "vax", "glibc 2.36"))
    assert "pip does not bring the file server's wheels" in raised.value.message
    assert "--fileserver-python python:3." in (raised.value.hint or "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("python", "why"),
    [
        (PodPython("3.11", "x86_64", "unknown"), "no wheel is for unknown"),
        (PodPython("three", "x86_64", "glibc 2.36"), "cannot be made"),
    ],
)
def test_pod_that_is_like_no_other_is_refused_with_another_way(
    tmp_path: Path, python: PodPython, why: str
) -> None:
    with pytest.raises(ImageError, match=why) as raised:
        WommBundles(tmp_path).provide(python)
    assert "--fileserver-python" in (raised.value.hint or "")

"""The wheels of the file server's image."""

import socket
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import pytest

from womm.errors import ImageError
from womm.image import wheels


def test_own_wheel_has_what_the_file_server_imports_and_no_command_line(tmp_path):
    with zipfile.ZipFile(wheels.write_own(tmp_path)) as wheel:
        names = set(wheel.namelist())
    assert {
        "womm/__init__.py",
        "womm/errors.py",
        "womm/nfs/server.py",
        "womm/fileserver/__main__.py",
    } <= names
    assert not [name for name in names if "/cli/" in name or "kubernetes" in name or "vendor" in name]


def test_own_wheel_has_all_that_its_modules_import_of_womm(tmp_path):
    path = wheels.write_own(tmp_path)
    with zipfile.ZipFile(path) as wheel:
        modules = sorted(name.removesuffix(".py").replace("/", ".") for name in wheel.namelist())
    program = "import importlib, sys; sys.path.insert(0, sys.argv[1])\n"
    program += (
        "for name in sys.argv[2:]: assert importlib.import_module(name).__file__.startswith(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", program, path, *modules], check=True, cwd=tmp_path, timeout=60)


def test_own_wheel_is_the_same_each_time_and_so_is_the_tag(tmp_path):
    first = wheels.write_own(tmp_path).read_bytes()
    assert wheels.write_own(tmp_path).read_bytes() == first
    assert wheels.tag() == wheels.tag()
    assert wheels.tag().startswith("0.")


def test_own_wheel_has_nothing_of_the_machine_that_made_it(tmp_path):
    """No time, no owner, no path: two machines with the same sources make the same image."""
    with zipfile.ZipFile(wheels.write_own(tmp_path)) as wheel:
        found = wheel.infolist()
    names = [info.filename for info in found]
    assert names == sorted(set(names))
    assert {info.date_time for info in found} == {(1980, 1, 1, 0, 0, 0)}
    assert all(name.startswith("womm/") and name.endswith(".py") for name in names)


def test_pins_are_the_versions_that_run_here():
    assert wheels.pins() == [f"{name}=={version(name)}" for name in wheels.PACKAGES]


def test_wheels_that_pip_does_not_find_are_told_in_a_line_with_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ImageError) as refused:
        wheels.download(tmp_path, "x86_64")
    message = refused.value.message
    assert message.startswith(
        "pip does not bring the file server's wheels: No matching distribution found for"
    )
    assert "\n" not in message and "ERROR" not in message
    assert refused.value.hint == "name an image that is made already: womm setup --fileserver-image NAME"
    assert list(tmp_path.iterdir()) == []


def test_pip_of_the_current_folder_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (tmp_path / "pip.py").write_text("raise SystemExit('it ran')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError, match="No matching distribution"):
        wheels.download(tmp_path, "x86_64")


def test_pip_that_waits_for_an_index_ends_when_it_is_stopped(tmp_path, monkeypatch):
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(1) as pool:
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        download = pool.submit(wheels.pip_download, tmp_path, [], "3.12", ["cffi"], "another", stop=stop)
        pip, _ = silent.accept()
        stop.set()
        with pip, pytest.raises(ImageError, match="it was stopped"):
            download.result()

"""The wheels of the file server's image."""

import subprocess
import sys
import zipfile

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

"""What a worker needs of this machine to start."""

import os
import shutil

import pytest

from womm.errors import ShareError
from womm.here.programs import Programs, Root
from womm.share.programs.pins import find_pins, modules

PERL = shutil.which("perl") or "perl"
LINKS = tuple((link, os.path.realpath(link)) for link in ("/bin", "/lib", "/lib64") if os.path.islink(link))
HERE = Programs((Root("/usr", "system", ""),), LINKS, ("ld.so.cache",), perl=PERL)


def test_perl_its_modules_and_libraries_and_the_shell_are_pinned():
    found = find_pins(HERE, ("/bin/sh",))
    pins = found.paths
    names = {os.path.basename(path) for path in pins}
    assert {b"perl", b"sh", b"Socket.pm", b"Fcntl.so", b"libc.so.6", b"ld.so.cache"} <= names
    assert any(os.path.isdir(b"/" + path) and b"perl" in path for path in pins), "where it looks for modules"
    if LINKS:
        assert b"usr/bin/sh" in pins and not any(path.startswith(b"bin/") for path in pins)
    assert len(pins) == len(set(pins)) and not any(path.startswith(b"/") for path in pins)
    assert set(found.essential) <= set(pins) and len(found.essential) == 2
    assert {"Socket", "Fcntl", "Errno", "strict"} <= set(modules())


def test_a_perl_that_does_not_run_is_told_of(tmp_path):
    with pytest.raises(ShareError, match="does not run here"):
        find_pins(Programs((), perl=str(tmp_path / "perl")), ())

"""What a worker needs of this machine to start."""

import os
import shutil
from dataclasses import replace

import pytest

from womm.errors import ShareError
from womm.here.filesystems import FileSystems
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


def test_agents_perl_has_no_folder_of_the_jobs_and_their_shell_has(tmp_path):
    """As in a pod: the agent has neither PERL5LIB nor LD_LIBRARY_PATH, and a job has both."""
    for name in ("modules", "libraries"):
        (tmp_path / name).mkdir()
    (tmp_path / "modules/Socket.pm").write_text("die 'not the agents';")
    libc = next(path for path in find_pins(HERE, ()).paths if path.endswith(b"/libc.so.6"))
    shutil.copy(os.fsdecode(b"/" + libc), tmp_path / "libraries")
    env = {"PERL5LIB": f"{tmp_path}/modules", "LD_LIBRARY_PATH": f"{tmp_path}/libraries"}
    paths = find_pins(replace(HERE, env=env), ("/bin/sh",)).paths
    own = [path for path in paths if path.startswith(os.fsencode(tmp_path).strip(b"/"))]
    assert {os.path.basename(path) for path in own} == {b"libraries", b"libc.so.6"}
    assert libc in paths and any(path.endswith(b"/Socket.pm") for path in paths)


def test_what_is_on_a_server_that_does_not_answer_is_not_pinned(tmp_path):
    gone = f"{tmp_path}/gone"
    here = replace(HERE, env={"LD_LIBRARY_PATH": f"{gone}/lib"})
    table = FileSystems([("/", "ext4"), (gone, "nfs4")])
    assert not [path for path in find_pins(here, (), table).paths if path.endswith(b"/gone/lib")]


def test_a_static_shell_is_not_run(tmp_path):
    (tmp_path / "made").mkdir()
    shell = tmp_path / "mktemp"  # it makes a file when it runs
    shutil.copy(shutil.which("busybox") or "", shell)
    pins = find_pins(replace(HERE, env={"TMPDIR": f"{tmp_path}/made"}), (str(shell),))
    assert os.fsencode(shell).strip(b"/") in pins.essential
    assert not list((tmp_path / "made").iterdir())


def test_a_perl_that_does_not_run_is_told_of(tmp_path):
    with pytest.raises(ShareError, match="does not run here"):
        find_pins(Programs((), perl=str(tmp_path / "perl")), ())

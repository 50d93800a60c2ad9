"""What fills a worker's own folder, spoken to by the eager share."""

import os
import socket
import subprocess

import pytest

from tests.link.wires import PERL, PERL_BASE
from tests.share.eager.eagers import Rig, snapshot
from womm import worker
from womm.errors import ShareError
from womm.store.protocol import VERSION


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def push(rig, **options):
    command = [PERL, PERL_BASE, str(worker.COPY_INTO_POD), str(rig.store)]
    return rig.push(syncback=False, command=command, **options)


def fill(folder):
    """One of each kind, with times, modes and names that are not easy."""
    (folder / "sub/deep").mkdir(parents=True)
    (folder / "empty").mkdir()
    (folder / "sub/a file").write_bytes(b"\0data\n" * 10)
    (folder / "none").touch()
    (folder / "sub/deep/large").write_bytes(os.urandom(1_000_001))
    with open(folder / "holes", "wb") as holes:
        holes.seek(5 << 20)
        holes.write(b"end")
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    (folder / "locked").mkdir()
    (folder / "locked/in").write_text("in")
    (folder / "locked/in").chmod(0o400)
    (folder / "locked").chmod(0o555)
    (folder / "link").symlink_to("../outside/\n")
    os.link(folder / "run", folder / "sub/again")
    (folder / os.fsdecode(b"\xff\n -x")).write_text("name")
    for number, name in enumerate(["none", "sub/a file", "sub", "."]):
        os.utime(folder / name, ns=(number, 1_600_000_000_123_456_789 + number))
    os.utime(folder / "empty", ns=(0, -1_500_000_000))


def test_worker_gets_all_as_it_is(rig):
    fill(rig.folder)
    result = push(rig)
    assert snapshot(rig.store) == snapshot(rig.folder)
    assert (rig.store / "run").stat().st_nlink == 2
    assert (rig.store / "holes").stat().st_blocks * 512 < 1 << 20
    assert result.files == 9 and rig.said == []


def test_what_a_copy_that_was_cut_has_left_goes_and_no_link_is_followed(rig, tmp_path):
    fill(rig.folder)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (rig.store / "old/deeper").mkdir(parents=True)
    (rig.store / "old/deeper/file").touch()
    (rig.store / "old").chmod(0o500)
    (rig.store / "out").symlink_to(outside)
    for _ in range(2):
        push(rig)
        assert snapshot(rig.store) == snapshot(rig.folder)
    assert (outside / "precious").exists()


def test_worker_without_room_says_why(rig):
    (rig.folder / "file").write_text("text")
    with pytest.raises(ShareError, match="No such file or directory"):
        rig.push(
            syncback=False, command=[PERL, PERL_BASE, str(worker.COPY_INTO_POD), str(rig.store / "none")]
        )


@pytest.mark.parametrize("path", [b"/etc/x", b"../x", b"a/../x", b"", b"a//b"])
def test_path_out_of_the_folder_is_refused(rig, path):
    sent = b"q %d \0L  \0f 420,0,1 " % VERSION + path + b"\0x"
    found = subprocess.run(
        [PERL, PERL_BASE, str(worker.COPY_INTO_POD), str(rig.store)],
        input=sent,
        capture_output=True,
        check=False,
    )
    assert found.returncode == 1
    assert (b"!  not a path: " + path).rstrip() + b"\0" in found.stdout
    assert not os.listdir(rig.store)


def test_it_ends_with_its_connection(rig):
    ours, theirs = socket.socketpair()
    words = [PERL, PERL_BASE, str(worker.COPY_INTO_POD), str(rig.store)]
    with subprocess.Popen(words, stdin=theirs.fileno(), stdout=theirs.fileno()) as process, ours, theirs:
        ours.sendall(b"q %d \0f 420,0,10 half\0x" % VERSION)
        assert ours.recv(100).startswith(b"w %d," % VERSION)
        ours.shutdown(socket.SHUT_WR)
        assert process.wait(10) == 1

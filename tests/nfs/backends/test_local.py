"""The local backend keeps the contract, and what is its own."""

import asyncio
import contextlib
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.nfs.filesystem_contract import *  # noqa: F403
from tests.nfs.local import serving
from tests.soak import count
from womm.nfs.constants import SHARE_BOTH, SHARE_READ, FileType
from womm.nfs.filesystem import NOTHING, WANT_KEY, WANT_TIMES, Settings
from womm.nfs.status import NFSError, Status

if not sys.platform.startswith("linux"):
    pytest.skip("the local backend needs Linux", allow_module_level=True)


def _descriptors():
    return set(os.listdir("/proc/self/fd"))


@pytest.fixture
def top(tmp_path):
    path = tmp_path / "top"
    path.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    return path


@pytest.fixture
def fs(top):
    with serving(top) as found:
        yield found
        assert found.real._open_files == 0


def test_no_descriptor_is_left(top):
    with serving(top) as fs:  # what is loaded at the first use stays
        fs.make(b"f")
    before = _descriptors()
    with serving(top, max_fds=10) as fs:
        nodes = [fs.make(b"f%d" % number, b"x") for number in range(50)]
        assert len(_descriptors() - before) < 30
        # Closed ones are opened again when they are needed.
        assert [fs.content(node) for node in nodes] == [b"x"] * 50
        fs.names()
    assert _descriptors() == before


# -- confinement ---------------------------------------------------------------------------------------
def test_links_out_of_the_tree_are_links(fs, top, tmp_path):
    for number, target in enumerate(["../outside", str(tmp_path / "outside"), "/proc/self/root", "/"]):
        (top / f"l{number}").symlink_to(target)
        node = fs(fs.real.lookup(fs.root, b"l%d" % number))
        fs.fails(fs.real.lookup(node, b"secret"), Status.NOTDIR)
        fs.fails(fs.real.readdir(node, 0, WANT_KEY, 10), Status.NOTDIR, Status.SYMLINK)
        fs.fails(fs.real.open(node, SHARE_READ), Status.INVAL)
        fs.fails(
            fs.real.create(node, b"x", NOTHING, verifier=None, exclusive=False, access=SHARE_BOTH),
            Status.NOTDIR,
        )
        fs.fails(
            fs.real.create(
                fs.root, b"l%d" % number, NOTHING, verifier=None, exclusive=False, access=SHARE_BOTH
            ),
            Status.SYMLINK,
        )
    assert os.listdir(tmp_path / "outside") == ["secret"]


def test_link_that_is_moved_leads_nowhere_new(fs, tmp_path):
    deep, _ = fs(fs.real.mkdir(fs.root, b"d", NOTHING))
    deeper, _ = fs(fs.real.mkdir(deep, b"e", NOTHING))
    fs(fs.real.symlink(deeper, b"l", b"../../outside/secret", NOTHING))
    fs(fs.real.rename(deeper, b"l", deep, b"l2"))
    node = fs(fs.real.lookup(deep, b"l2"))
    fs.fails(fs.real.open(node, SHARE_READ), Status.INVAL)
    # A hard link to it is a link too.
    fs(fs.real.link(node, fs.root, b"hard"))
    assert stat.S_ISLNK((tmp_path / "top" / "hard").lstat().st_mode)
    assert os.stat(tmp_path / "outside" / "secret").st_nlink == 1


def test_directory_swapped_for_a_link_all_the_time_never_leads_out(top, tmp_path):
    """100,000 swaps while a client looks up, opens, makes and removes names below."""
    (top / "d").mkdir()
    (top / "d" / "secret").write_text("inside")
    (top / "link").symlink_to(tmp_path / "outside")
    swaps = count(3_000, 100_000)
    ended = threading.Event()

    def swap():
        try:
            for _ in range(swaps):
                os.rename(top / "d", top / "kept")
                os.rename(top / "link", top / "d")
                os.rename(top / "d", top / "link")
                os.rename(top / "kept", top / "d")
        finally:
            ended.set()

    thread = threading.Thread(target=swap)
    with serving(top) as fs:
        thread.start()
        reads = 0
        try:
            while not ended.is_set():
                with contextlib.suppress(NFSError):
                    directory = fs(fs.real.lookup(fs.root, b"d"))
                    node = fs(fs.real.lookup(directory, b"secret"))
                    assert fs.content(node) == b"inside"
                    reads += 1
                with contextlib.suppress(NFSError):
                    directory = fs(fs.real.lookup(fs.root, b"d"))
                    _, file, _, _ = fs(
                        fs.real.create(
                            directory, b"new", NOTHING, verifier=None, exclusive=False, access=SHARE_BOTH
                        )
                    )
                    fs(fs.real.close(file))
                    fs(fs.real.remove(directory, b"new"))
        finally:
            thread.join()
        assert reads
    assert os.listdir(tmp_path / "outside") == ["secret"]
    assert (tmp_path / "outside" / "secret").read_text() == "secret"


def test_fifo_that_takes_a_files_place_does_not_block(fs, top):
    node = fs.make(b"f", b"x")
    os.unlink(top / "f")
    os.mkfifo(top / "f")
    fs.fails(fs.real.open(fs(fs.real.lookup(fs.root, b"f")), SHARE_READ), Status.INVAL)
    with socket.socket(socket.AF_UNIX) as sock:
        os.chdir(top)
        sock.bind("s")
    fs.fails(fs.real.open(fs(fs.real.lookup(fs.root, b"s")), SHARE_READ), Status.INVAL)
    assert fs.attributes(node).nlink in (0, 1)


if os.getuid() == 0:

    def test_mount_points_are_refused(fs, top):
        (top / "mnt").mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(top / "mnt")], check=False)
        if done.returncode:
            return  # a root that may not mount
        try:
            fs.fails(fs.real.lookup(fs.root, b"mnt"), Status.ACCESS)
            [entry] = fs(fs.real.readdir(fs.root, 0, WANT_KEY, 10)).entries
            assert entry.attributes is Status.ACCESS
        finally:
            subprocess.run(["umount", str(top / "mnt")], check=True)


# -- handles over restarts and others' changes -----------------------------------------------------------
@pytest.mark.parametrize("with_index", [True, False])
def test_keys_are_found_after_a_restart(top, tmp_path, with_index):
    index = tmp_path / "files.db" if with_index else None
    with serving(top, index=index) as fs:
        directory = fs.root
        for name in (b"a", b"b", b"c"):
            directory, _ = fs(fs.real.mkdir(directory, name, NOTHING))
        node = fs.make(b"f", b"deep", directory)
        gone = fs.make(b"gone")
        key, gone_key = node.key, gone.key
    os.rename(top / "a" / "b" / "c" / "f", top / "moved")
    os.unlink(top / "gone")
    with serving(top, index=index) as fs:
        assert fs.content(fs(fs.real.resolve(key))) == b"deep"
        fs.fails(fs.real.resolve(gone_key), Status.STALE)


def test_search_is_shared_and_not_repeated_at_once(top):
    with serving(top) as fs:
        keys = [fs.make(b"f%d" % number).key for number in range(20)]
    with serving(top) as fs:

        async def all_at_once():
            return await asyncio.gather(*(fs.real.resolve(key) for key in keys))

        assert [node.key for node in fs(all_at_once())] == keys


def test_file_renamed_by_another_program_is_found(fs, top):
    node = fs.make(b"f", b"x")
    key = node.key
    os.rename(top / "f", top / "g")
    assert fs.content(fs(fs.real.resolve(key))) == b"x"
    os.close(node.fd)
    fs.real._tree.recent.pop(node)
    node.fd = -1
    assert fs.content(fs(fs.real.resolve(key))) == b"x"


@pytest.mark.parametrize("mode", [0o644, 0o400])
def test_verifier_of_a_create_outlives_the_server_and_leaves_nothing_behind(top, mode):
    def make(fs, verifier):
        return fs.real.create(
            fs.root, b"f", Settings(mode=mode), verifier=verifier, exclusive=True, access=SHARE_BOTH
        )

    before = time.time_ns() - 10**9
    with serving(top) as fs:
        node, file, _, made = fs(make(fs, b"verifier"))
        assert made
        assert fs(fs.real.listxattr(node)) == []
        if not fs.real.limits.exclusive_times:
            assert fs(fs.real.getattr(node, WANT_TIMES)).mtime_ns > before
        assert stat.S_IMODE((top / "f").stat().st_mode) == mode
        with serving(top) as restarted:
            again, second, _, made = restarted(make(restarted, b"verifier"))
            assert (again.key, made) == (node.key, False)
            restarted.fails(make(restarted, b"another."), Status.EXIST)
            restarted(restarted.real.close(second))
        fs(fs.real.close(file))
    assert os.listxattr(top / "f") == []
    assert stat.S_IMODE((top / "f").stat().st_mode) == mode


def test_inode_number_used_again_is_another_file(fs, top):
    keys = set()
    for _ in range(count(50, 1000)):
        node = fs.make(b"f")
        assert node.key not in keys
        keys.add(node.key)
        os.unlink(top / "f")  # not through the server
        del node


def test_change_made_by_another_program_is_seen(fs, top):
    node = fs.make(b"f", b"x")
    before = fs.attributes(node).change
    (top / "f").write_text("other")
    assert fs.attributes(node).change > before
    names = fs.attributes(fs.root).change
    (top / "g").touch()
    assert fs.attributes(fs.root).change > names


if os.getuid() == 0:

    def test_owner_may_write_what_its_mode_forbids():
        """As nobody in a child: root may anyway."""
        script = (
            "import asyncio, os, sys\n"
            "from womm.nfs.backends.local import LocalFilesystem\n"
            "from womm.nfs.filesystem import Settings\n"
            "async def main():\n"
            "    os.setgid(65534); os.setuid(65534)\n"
            "    fs = LocalFilesystem(sys.argv[1]); await fs.start()\n"
            "    args = {'verifier': None, 'exclusive': True, 'access': 3}\n"
            "    node, file, _, _ = await fs.create(fs.root(), b'f', Settings(mode=0o444), **args)\n"
            "    await fs.write(file, 0, memoryview(b'one'), False); await fs.close(file)\n"
            "    file = await fs.open(node, 2)\n"
            "    await fs.write(file, 3, memoryview(b'two'), False); await fs.close(file); await fs.stop()\n"
            "asyncio.run(main())\n"
        )
        with tempfile.TemporaryDirectory() as place:  # pytest's own folders are root's alone
            os.chmod(place, 0o777)
            subprocess.run([sys.executable, "-c", script, place], check=True)
            made = Path(place, "f")
            assert made.read_bytes() == b"onetwo"
            assert made.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("device", [(1 << 12, 0), (0, 1 << 20), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_device_that_linux_does_not_have_is_invalid(fs, device):
    fs.fails(fs.real.mknod(fs.root, b"n", FileType.CHARACTER, device, NOTHING), Status.INVAL)
    assert fs.names() == []

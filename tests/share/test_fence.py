"""Nothing outside of the folder is read, written or named, whatever is swapped meanwhile."""

import errno
import os
import socket
import stat
import threading
from contextlib import contextmanager, suppress

import pytest

from tests.soak import count
from womm.share.fence import Fence, clean

SECRET = b"secret\n"


@pytest.fixture
def outside(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(SECRET)
    return outside


@pytest.fixture(params=[True, False], ids=["openat2", "name by name"])
def fence(folder, outside, request):
    before = len(os.listdir("/proc/self/fd"))
    fence = Fence(folder, openat2=request.param)
    assert ("openat2" in repr(fence)) == request.param
    yield fence
    fence.close()
    assert len(os.listdir("/proc/self/fd")) == before
    assert (outside / "file").read_bytes() == SECRET
    assert os.listdir(outside) == ["file"]


@contextmanager
def fails(*numbers):
    with pytest.raises(OSError) as caught:
        yield
    assert caught.value.errno in numbers, caught.value


def content(fence, path, flags=os.O_RDONLY):
    fd = fence.open_file(path, flags)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def attempts(fence, path):
    """Everything that a path can be used for; each fails or stays inside."""
    calls = [
        lambda: content(fence, path),
        lambda: os.close(fence.open_file(path, os.O_RDWR)),
        lambda: os.close(fence.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)),
        lambda: os.close(fence.open_directory(path)),
        lambda: fence.truncate(path, 0),
        lambda: fence.chmod(path, 0o600),
        lambda: fence.utime(path, 1, 1),
        lambda: fence.mkdir(path + b"/new"),
        lambda: fence.symlink(b"x", path + b"/new"),
        lambda: os.close(fence.open_file(path + b"/new", os.O_WRONLY | os.O_CREAT)),
        lambda: content(fence, path + b"/file"),
        lambda: fence.lstat(path + b"/file"),
        lambda: fence.readlink(path + b"/file"),
        lambda: fence.rename(path + b"/file", b"stolen"),
        lambda: fence.link(path + b"/file", b"stolen"),
        lambda: fence.unlink(path + b"/file"),
        lambda: fence.rmdir(path + b"/new"),
        lambda: fence.access(path + b"/file", 4),
    ]
    for number, call in enumerate(calls):
        try:
            found = call()
        except OSError:
            continue
        assert found != SECRET, number


def test_clean_takes_away_what_says_nothing():
    for path in (b"", b".", b"/", b"./", b"//.//"):
        assert clean(path) == b""
    assert clean(b"/a//b/./c/") == b"a/b/c"
    assert clean(b".a/..b/c.") == b".a/..b/c."
    for path in (b"..", b"a/../b", b"a/..", b"../a"):
        with fails(errno.EACCES):
            clean(path)
    with fails(errno.EINVAL):
        clean(b"a\0b")


def test_files_and_directories_are_used_as_by_the_calls(fence, folder):
    fence.mkdir(b"d", 0o755)
    fence.mkdir(b"d/e", 0o755)
    fd = fence.open_file(b"d/e/f", os.O_RDWR | os.O_CREAT, 0o640)
    os.write(fd, b"hello")
    os.close(fd)
    assert content(fence, b"d/e/f") == b"hello"
    assert fence.lstat(b"d/e/f").st_size == 5
    assert stat.S_ISDIR(fence.lstat(b"").st_mode)
    fence.truncate(b"d/e/f", 2)
    fence.chmod(b"d/e/f", 0o604)
    fence.utime(b"d/e/f", 1_000_000_001, 2_000_000_003)
    found = os.stat(folder / "d/e/f")
    assert (found.st_size, found.st_mode & 0o7777) == (2, 0o604)
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_000_000_001, 2_000_000_003)
    fence.link(b"d/e/f", b"g")
    assert fence.lstat(b"g").st_nlink == 2
    fence.symlink(b"d/e", b"l")
    assert fence.readlink(b"l") == b"d/e"
    with fails(errno.EEXIST):
        fence.rename(b"g", b"d/e/f", replace=False)
    fence.unlink(b"d/e/f")
    fence.rename(b"g", b"d/h")
    with fails(errno.ENOTEMPTY):
        fence.rmdir(b"d")
    fence.rmdir(b"d/e")
    directory = fence.open_directory(b"d")
    assert os.listdir(directory) == ["h"]
    os.close(directory)
    with fails(errno.EEXIST):
        fence.open_file(b"d/h", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with fails(errno.ENOENT):
        fence.lstat(b"none/x")
    with fails(errno.ENOTDIR):
        fence.lstat(b"d/h/x")
    with fails(errno.EISDIR):
        fence.open_file(b"d", os.O_RDONLY)
    with fails(errno.ENAMETOOLONG):
        fence.mkdir(b"x" * 256)
    assert fence.statvfs().f_blocks > 0
    for call in (lambda: fence.rmdir(b""), lambda: fence.unlink(b""), lambda: fence.rename(b"", b"x")):
        with fails(errno.EBUSY, errno.EISDIR):
            call()


def test_links_out_absolute_and_relative_lead_nowhere(fence, folder, outside):
    (folder / "abs").symlink_to(outside)
    (folder / "rel").symlink_to("../outside")
    (folder / "file").symlink_to(outside / "file")
    (folder / "up").symlink_to("..")
    for path in (b"abs", b"rel", b"file", b"up", b"up/outside"):
        attempts(fence, path)
    assert os.readlink(folder / "file") == str(outside / "file")


def test_a_link_that_a_rename_points_out_leads_nowhere(fence, folder):
    fence.mkdir(b"d")
    fence.mkdir(b"d/e")
    (folder / "outside").mkdir()
    (folder / "outside/file").write_text("inside")
    fence.symlink(b"../../outside/file", b"d/e/l")
    fence.symlink(b"../../outside", b"d/e/m")
    fence.rename(b"d/e/l", b"l")
    fence.rename(b"d/e/m", b"d/m")
    fence.rename(b"d/m", b"m")
    for path in (b"l", b"m"):
        attempts(fence, path)


def test_a_hard_link_to_a_link_leads_nowhere(fence, folder, outside):
    (folder / "l").symlink_to(outside / "file")
    (folder / "m").symlink_to(outside)
    fence.mkdir(b"deep")
    fence.link(b"l", b"deep/l")
    fence.link(b"m", b"deep/m")
    assert stat.S_ISLNK(os.lstat(folder / "deep/l").st_mode)
    attempts(fence, b"deep/l")
    attempts(fence, b"deep/m")


def test_magic_links_of_proc_lead_nowhere():
    proc = Fence("/proc/self")
    for path in (b"root", b"cwd", b"fd/0", b"exe", b"root/etc/passwd", b"cwd/pyproject.toml"):
        with fails(errno.ELOOP, errno.ENOTDIR):
            proc.open_file(path, os.O_RDONLY)
        with fails(errno.ELOOP, errno.ENOTDIR):
            proc.open_directory(path)
    proc.close()


def test_dots_lead_nowhere(fence):
    with fails(errno.EXDEV, errno.EACCES, errno.ENOENT):
        fence.lstat(clean(b"../outside/file"))
    with fails(errno.EACCES):
        fence.open_file(clean(b"d/../../outside/file"), os.O_RDONLY)


def test_fifos_sockets_and_devices_are_not_opened(fence, folder):
    os.mkfifo(folder / "fifo")
    server = socket.socket(socket.AF_UNIX)
    here = os.open(".", os.O_RDONLY)
    os.chdir(folder)
    try:
        server.bind("socket")
    finally:
        os.fchdir(here)
        os.close(here)
    for name in (b"fifo", b"socket"):
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
            with fails(errno.EINVAL):
                fence.open_file(name, flags)
        assert fence.lstat(name).st_size == 0
        fence.chmod(name, 0o600)
        fence.unlink(name)
    server.close()


def test_force_lifts_the_owners_permissions_for_the_call(fence, folder):
    file = folder / "f"
    file.write_text("old")
    file.chmod(0o444)
    if os.geteuid():
        with fails(errno.EACCES):
            fence.open_file(b"f", os.O_WRONLY)
    fence.truncate(b"f", 1, force=True)
    assert file.read_text() == "o"
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o444


@contextmanager
def swapping(one, other):
    """Swap two names as fast as it goes."""
    stop = threading.Event()
    swaps = [0]
    temporary = one.with_name("temporary")

    def swap():
        while not stop.is_set():
            os.rename(one, temporary)
            os.rename(other, one)
            os.rename(temporary, other)
            swaps[0] += 1

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield swaps
    finally:
        stop.set()
        thread.join()


def test_a_link_swapped_for_a_directory_2000_times_lets_nothing_out(fence, folder, outside):
    (folder / "d").mkdir()
    (folder / "d/file").write_bytes(b"inside\n")
    (folder / "l").symlink_to(outside)
    seen: set[object] = set()
    most = count(2000, 100_000)
    with swapping(folder / "d", folder / "l") as swaps:
        while swaps[0] < most or b"inside\n" not in seen or len(seen) < 2:
            try:
                seen.add(content(fence, b"d/file"))
            except OSError as exc:
                seen.add(exc.errno)
            with suppress(OSError):
                fd = fence.open_file(b"d/file", os.O_WRONLY)
                os.write(fd, b"inside\n")
                os.close(fd)
            with suppress(OSError):
                fence.chmod(b"d/file", 0o640)
            with suppress(OSError):
                fence.mkdir(b"d/new")
            with suppress(OSError):
                fence.rmdir(b"d/new")
    assert b"inside\n" in seen
    assert SECRET not in seen
    assert stat.S_IMODE((outside / "file").stat().st_mode) == 0o644


def test_a_link_swapped_for_a_file_2000_times_lets_nothing_out(fence, folder, outside):
    (folder / "f").write_bytes(b"inside\n")
    (folder / "l").symlink_to(outside / "file")
    seen: set[object] = set()
    most = count(2000, 100_000)
    with swapping(folder / "f", folder / "l") as swaps:
        while swaps[0] < most or b"inside\n" not in seen or len(seen) < 2:
            try:
                seen.add(content(fence, b"f"))
            except OSError as exc:
                seen.add(exc.errno)
            with suppress(OSError):
                fence.truncate(b"f", 7)
            with suppress(OSError):
                fd = fence.open_file(b"f", os.O_WRONLY | os.O_CREAT)
                os.write(fd, b"inside\n")
                os.close(fd)
            with suppress(OSError):
                fence.chmod(b"f", 0o640)
    assert b"inside\n" in seen
    assert SECRET not in seen
    assert stat.S_IMODE((outside / "file").stat().st_mode) == 0o644


def test_a_closed_fence_opens_nothing(folder):
    fence = Fence(folder)
    fence.close()
    fence.close()
    for path in (b"", b"a", b"a/b"):
        with fails(errno.EIO):
            fence.lstat(path)

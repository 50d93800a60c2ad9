"""System calls of Linux: what they return is what Python's own calls do, and how they fail."""

import ctypes
import errno
import os
import stat
import struct
import sys
import time

import pytest

from womm.nfs.filesystem import NOW

if not sys.platform.startswith("linux"):
    pytest.skip("the local backend needs Linux", allow_module_level=True)

from womm.nfs.backends import linux


@pytest.fixture
def directory(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def file(tmp_path):
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT, 0o644)
    yield fd
    os.close(fd)


# -- statx -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["file", "directory", "link", "fifo"])
def test_statx_says_what_lstat_says(tmp_path, directory, kind):
    path = tmp_path / "f\udcff\n"
    {
        "file": lambda: path.write_bytes(b"x" * 100_000),
        "directory": path.mkdir,
        "link": lambda: path.symlink_to("nowhere"),
        "fifo": lambda: os.mkfifo(path, 0o640),
    }[kind]()
    os.utime(path, ns=(-1_500_000_000, 2**33 * 10**9 + 7), follow_symlinks=False)
    found = linux.statx(directory, os.fsencode(path.name))
    expected = path.lstat()
    assert (found.ino, found.mode, found.nlink) == (expected.st_ino, expected.st_mode, expected.st_nlink)
    assert (found.uid, found.gid, found.size) == (expected.st_uid, expected.st_gid, expected.st_size)
    assert found.blocks == expected.st_blocks
    assert os.makedev(found.dev_major, found.dev_minor) == expected.st_dev
    times = {
        "atime": (found.atime_s, found.atime_rest),
        "mtime": (found.mtime_s, found.mtime_rest),
        "ctime": (found.ctime_s, found.ctime_rest),
    }
    for name, (seconds, rest) in times.items():
        assert seconds * 10**9 + rest == getattr(expected, f"st_{name}_ns"), name


def test_statx_of_a_descriptor_needs_no_name(tmp_path, file):
    os.unlink(tmp_path / "f")
    found = linux.statx(file, b"")
    assert (found.ino, found.nlink) == (os.fstat(file).st_ino, 0)


def test_birth_of_a_file_stays_when_it_changes(tmp_path, directory, file):
    before = linux.statx(directory, b"f").birth_ns
    os.write(file, b"x")
    os.utime(tmp_path / "f", ns=(1, 1))
    assert linux.statx(directory, b"f").birth_ns == before
    assert before == 0 or abs(before - time.time_ns()) < 3600 * 10**9


def test_birth_that_the_filesystem_does_not_know_is_0(directory):
    known = linux.statx(directory, b"")
    assert known._replace(mask=known.mask & ~0x800).birth_ns == 0


@pytest.mark.parametrize(
    ("name", "number"), [(b"none", errno.ENOENT), (b"x" * 256, errno.ENAMETOOLONG), (b"f/x", errno.ENOTDIR)]
)
def test_statx_fails_with_the_errno_of_the_kernel(directory, file, name, number):
    with pytest.raises(OSError) as caught:
        linux.statx(directory, name)
    assert caught.value.errno == number


# -- directory entries -----------------------------------------------------------------------------------
def _entries(fd, size=65536):
    buffer = ctypes.create_string_buffer(size)
    found = []
    while read := linux.getdents(fd, buffer, size):
        found += linux.parse_dirents(buffer.raw[:read])
    return found


def test_entries_have_the_numbers_and_names_of_the_directory(tmp_path, directory):
    names = [b"x", b"y" * 255, b"\xff\n ", b".hidden", b"..."]
    for name in names:
        (tmp_path / os.fsdecode(name)).touch()
    found = {name: ino for ino, _, name in _entries(directory)}
    assert found == {name: os.lstat(os.fsencode(tmp_path) + b"/" + name).st_ino for name in names}


def test_position_of_an_entry_is_where_the_next_one_is(tmp_path, directory):
    for number in range(40):
        (tmp_path / str(number)).touch()
    whole = _entries(directory, 1024)
    for index in (0, 17, 38):
        os.lseek(directory, whole[index][1], os.SEEK_SET)
        assert _entries(directory) == whole[index + 1 :]


def test_buffer_that_holds_no_entry_is_an_io_error(tmp_path, directory):
    (tmp_path / ("x" * 200)).touch()
    buffer = ctypes.create_string_buffer(65536)
    with pytest.raises(OSError) as caught:
        linux.getdents(directory, buffer, 8)
    assert caught.value.errno == errno.EIO


def test_getdents_never_writes_beyond_its_buffer(tmp_path, directory):
    for number in range(100):
        (tmp_path / str(number)).touch()
    small = ctypes.create_string_buffer(256)
    assert 0 < linux.getdents(directory, small, 1 << 30) <= 256


def test_entries_are_parsed_by_their_sizes_and_dots_are_left_out():
    def entry(ino, after, name):
        size = (19 + len(name) + 1 + 7) & ~7
        return struct.pack("=QqHB", ino, after, size, 8) + name.ljust(size - 19, b"\0")

    data = entry(1, 10, b".") + entry(2, 11, b"..") + entry(2**64 - 1, 2**63 - 1, b"a") + entry(4, -1, b"..a")
    assert linux.parse_dirents(data) == [(2**64 - 1, 2**63 - 1, b"a"), (4, -1, b"..a")]
    assert linux.parse_dirents(b"") == []


# -- contents --------------------------------------------------------------------------------------------
def test_read_says_whether_it_reached_the_end(file):
    os.pwrite(file, b"content", 0)
    assert linux.read_all(file, 0, 6) == (b"conten", False)
    assert linux.read_all(file, 0, 7) == (b"content", True)
    assert linux.read_all(file, 100, 7) == (b"", True)


def test_write_and_copy_do_all_of_it(tmp_path, file):
    data = os.urandom(3 << 20)
    assert linux.write_all(file, 5, memoryview(data), True) == len(data)
    assert linux.write_all(file, 5, memoryview(b""), False) == 0
    other = os.open(tmp_path / "g", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        assert linux.copy_all(file, 5, other, 1, 1 << 40) == len(data)
        assert linux.copy_all(file, 1 << 30, other, 0, 10) == 0
        assert os.pread(other, len(data) + 2, 0) == b"\0" + data
    finally:
        os.close(other)


def test_copy_that_cannot_begin_fails(tmp_path, file):
    os.pwrite(file, b"x", 0)
    other = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        with pytest.raises(OSError) as caught:
            linux.copy_all(file, 0, other, 0, 1)
        assert caught.value.errno == errno.EBADF
    finally:
        os.close(other)


def test_range_is_reserved_and_freed(file):
    linux.fallocate(file, 0, 0, 1 << 16)
    assert os.fstat(file).st_size == 1 << 16
    os.pwrite(file, b"x" * (1 << 16), 0)
    linux.fallocate(file, linux.FALLOC_PUNCH_HOLE | linux.FALLOC_KEEP_SIZE, 100, 1 << 30)
    assert linux.read_all(file, 0, 1 << 17) == (b"x" * 100 + bytes((1 << 16) - 100), True)
    with pytest.raises(OSError) as caught:
        linux.fallocate(file, 0, 0, 0)
    assert caught.value.errno == errno.EINVAL


def test_begin_writing_never_fails_on_a_file(file):
    os.pwrite(file, b"x", 0)
    linux.begin_writing(file)
    linux.begin_writing(-1)  # a sync tells


# -- modes and times -------------------------------------------------------------------------------------
def test_mode_is_widened_only_while_it_is_needed(tmp_path, file):
    path = str(tmp_path / "f")
    os.chmod(path, 0o4400)
    modes = []

    def needs_to_write():
        modes.append(stat.S_IMODE(os.stat(path).st_mode))
        if not modes[-1] & 0o200:
            raise PermissionError(errno.EACCES, "as of a user")
        return "done"

    assert linux.permitted(path, 0o200, needs_to_write) == "done"
    assert modes == [0o4400, 0o4600]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o4400


def test_mode_is_given_back_when_the_call_fails_all_the_same(tmp_path, file):
    path = str(tmp_path / "f")
    os.chmod(path, 0o400)
    calls = []

    def refused():
        calls.append(1)
        raise PermissionError(errno.EACCES, "another reason")

    with pytest.raises(PermissionError):
        linux.permitted(path, 0o200, refused)
    assert (len(calls), stat.S_IMODE(os.stat(path).st_mode)) == (2, 0o400)
    with pytest.raises(PermissionError):
        linux.permitted(path, 0o400, refused)  # it has that bit
    assert len(calls) == 3


def test_times_that_are_none_stay_and_now_is_one_moment(tmp_path, file):
    path = str(tmp_path / "f")
    linux.set_times(path, file, 5, -7)
    assert (os.fstat(file).st_atime_ns, os.fstat(file).st_mtime_ns) == (5, -7)
    linux.set_times(path, file, None, 2**33 * 10**9)
    assert (os.fstat(file).st_atime_ns, os.fstat(file).st_mtime_ns) == (5, 2**33 * 10**9)
    before = time.time_ns() - 10**9
    linux.set_times(path, file, NOW, None)
    assert os.fstat(file).st_atime_ns > before and os.fstat(file).st_mtime_ns == 2**33 * 10**9
    linux.set_times(path, file, NOW, NOW)
    assert os.fstat(file).st_atime_ns == os.fstat(file).st_mtime_ns > before

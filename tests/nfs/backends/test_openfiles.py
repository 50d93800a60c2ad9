"""Open files of a directory: what runs inline and what in threads, and when descriptors are closed."""

import asyncio
import os
import sys
import threading

import pytest

from tests.loop import until
from tests.nfs.local import serving
from womm.nfs.backends.local import LocalFilesystem
from womm.nfs.constants import SHARE_BOTH, SHARE_READ, SHARE_WRITE
from womm.nfs.filesystem import NOTHING
from womm.nfs.status import Status

if not sys.platform.startswith("linux"):
    pytest.skip("the local backend needs Linux", allow_module_level=True)


@pytest.fixture
def top(tmp_path):
    path = tmp_path / "top"
    path.mkdir()
    return path


@pytest.fixture
def fs(top):
    with serving(top) as found:
        yield found
        assert found.real._open_files == 0


def test_synced_write_waits_inline_where_it_delays_nobody(fs, monkeypatch):
    node = fs.make(b"f")
    file = fs(fs.real.open(node, SHARE_BOTH))
    threads = []
    sync = os.fdatasync

    def watched(fd):
        threads.append(threading.current_thread())
        sync(fd)

    monkeypatch.setattr(os, "fdatasync", watched)
    for slow_s, alone, inline in (
        (0.0, False, True),
        (0.01, True, True),
        (0.01, False, False),
        (9, True, False),
    ):
        fs.real._sync_s, fs.real.alone = slow_s, lambda alone=alone: alone
        assert fs(fs.real.write(file, 0, memoryview(b"x"), True)) == 1
        assert (threads.pop() is threading.main_thread()) == inline, (slow_s, alone)
    fs(fs.real.close(file))


def test_large_write_is_done_inline_for_who_is_alone(fs, monkeypatch):
    node = fs.make(b"f")
    file = fs(fs.real.open(node, SHARE_BOTH))
    threads = []
    write = os.pwrite

    def watched(fd, data, offset):
        threads.append(threading.current_thread())
        return write(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", watched)
    data = memoryview(bytes(1 << 20))
    for slow_s, alone, inline in ((0.0, False, False), (0.0, True, True), (9, True, False)):
        fs.real._write_s, fs.real.alone = slow_s, lambda alone=alone: alone
        assert fs(fs.real.write(file, 0, data, False)) == len(data)
        assert (threads.pop() is threading.main_thread()) == inline, (slow_s, alone)
    fs(fs.real.close(file))


def test_uncached_read_goes_through_a_thread(fs, top):
    data = os.urandom(1 << 20)
    (top / "f").write_bytes(data)
    fd = os.open(top / "f", os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)
    node = fs(fs.real.lookup(fs.root, b"f"))
    file = fs(fs.real.open(node, SHARE_READ))
    assert fs(fs.real.read(file, 0, 1 << 20)) == (data, True)
    fs(fs.real.close(file))


def test_close_while_a_read_runs_waits_for_it(fs, top):
    data = os.urandom(1 << 20)
    (top / "f").write_bytes(data)
    node = fs(fs.real.lookup(fs.root, b"f"))

    async def story():
        file = await fs.real.open(node, SHARE_READ)
        fs.real._nowait = False  # through a thread, as when it is not in the page cache
        reading = asyncio.ensure_future(fs.real.read(file, 0, 1 << 20))
        await asyncio.sleep(0)
        await fs.real.close(file)
        assert file.read_fd >= 0
        assert (await reading)[0] == data
        assert file.read_fd == -1

    fs(story())
    assert fs.attributes(node).size == len(data)


def test_file_opened_for_reading_is_not_written_and_the_other_way_round_both_work(fs):
    node = fs.make(b"f", b"content")
    reading = fs(fs.real.open(node, SHARE_READ))
    fs.fails(fs.real.write(reading, 0, memoryview(b"x"), False), Status.OPENMODE)
    fs(fs.real.close(reading))
    # To write a part of a page, it is read first.
    writing = fs(fs.real.open(node, SHARE_WRITE))
    assert fs(fs.real.read(writing, 0, 100)) == (b"content", True)
    assert fs(fs.real.write(writing, 0, memoryview(b"C"), True)) == 1
    fs(fs.real.close(writing))
    assert fs.content(node) == b"Content"


def test_commit_needs_no_open_file_and_leaves_none(fs):
    node = fs.make(b"f", b"content")
    fs(fs.real.commit(node, None))
    file = fs(fs.real.open(node, SHARE_WRITE))
    fs(fs.real.commit(node, file))
    fs(fs.real.close(file))
    directory, _ = fs(fs.real.mkdir(fs.root, b"d", NOTHING))
    fs.fails(fs.real.commit(directory, None), Status.INVAL)


def test_copy_keeps_both_files_open_that_are_closed_meanwhile(fs):
    data = os.urandom(4 << 20)
    one, two = fs.make(b"one", data), fs.make(b"two")

    async def story():
        source, target = await fs.real.open(one, SHARE_READ), await fs.real.open(two, SHARE_WRITE)
        copying = asyncio.ensure_future(fs.real.copy(source, 0, target, 0, len(data)))
        await asyncio.sleep(0)
        await fs.real.close(source)
        await fs.real.close(target)
        assert source.read_fd >= 0 <= target.write_fd
        assert await copying == len(data)
        assert (source.read_fd, target.write_fd) == (-1, -1)

    fs(story())
    assert fs.content(two) == data[: 1 << 20]


def test_many_large_writes_make_the_kernel_begin_and_leave_no_task(fs):
    node = fs.make(b"f")
    block = memoryview(bytes(1 << 20))

    async def story():
        file = await fs.real.open(node, SHARE_WRITE)
        for number in range(20):
            await fs.real.write(file, number << 20, block, False)
        await fs.real.close(file)
        while fs.real._begun:
            await asyncio.gather(*fs.real._begun)
        assert file.write_fd == -1

    fs(story())
    assert fs.attributes(node).size == 20 << 20


async def test_call_that_is_cancelled_keeps_its_descriptor_until_its_thread_is_done(top):
    """Else what the thread writes would go to the next file that gets the descriptor's number."""
    real = LocalFilesystem(top)
    await real.start()
    go = threading.Event()

    async def make(name):
        return (
            await real.create(real.root(), name, NOTHING, verifier=None, exclusive=True, access=SHARE_BOTH)
        )[1]

    def slow():
        go.wait(60)
        return os.pwrite(fd, b"of the first", 0)

    first = await make(b"first")
    fd = first.write_fd
    call = asyncio.ensure_future(real._in_thread(first, slow))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await real.close(first)
    second = await make(b"second")
    assert second.write_fd != fd
    go.set()
    await until(lambda: first.write_fd == -1)
    assert ((top / "first").read_bytes(), (top / "second").read_bytes()) == (b"of the first", b"")
    await real.close(second)
    assert real._open_files == 0
    await real.stop()

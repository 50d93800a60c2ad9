"""LazyConnection against a scripted file server: asyncssh's client that speaks the control protocol."""

import asyncio
import errno
import os
import resource
import socket
import subprocess
from contextlib import asynccontextmanager

import pytest
from asyncssh.sftp import SFTPAttrs

from tests.share.eager.pod import NONE, OPEN_EXISTING, OPEN_OR_CREATE, WRITE, Control, Pod, fails
from womm import worker
from womm.errors import ShareError
from womm.share.lazy.connection import LazyConnection, LazyOptions
from womm.share.lazy.flushes import FlushResult
from womm.share.lazy.unsent import MissingFiles
from womm.wire.control import ShareStats


@pytest.fixture
def sharing(folder, place):
    """Share `folder`: `async with sharing() as (share, pod)`; nobody is connected yet."""

    @asynccontextmanager
    async def sharing(dials=True, **options):
        lost: list[str] = []
        said: list[str] = []
        share = LazyConnection(folder, on_lost=lost.append, say=said.append, **options)
        pod = Pod(place / "socket", share.keys)
        pod.lost, pod.said = lost, said
        if dials:
            share.start(pod.dial)
        try:
            yield share, pod
        finally:
            await pod.close()
            await share.close()
            await share.close()

    return sharing


async def connect(pod, epoch="e1"):
    await pod.accept()
    control = Control(pod, epoch)
    await control.open()
    return control


async def settled(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_share_serves_files_and_is_ready_after_hello(sharing, folder):
    (folder / "f").write_text("hello")

    async with sharing() as (share, pod):
        assert not share.connected
        waiting = asyncio.ensure_future(share.ready())
        await pod.accept()
        await asyncio.sleep(0.05)
        assert not waiting.done()
        control = Control(pod)
        await control.open()
        await waiting
        await share.ready()
        assert share.connected
        await pod.open_sftp()
        assert await pod.sftp.read_all(b"f") == b"hello"
        assert share.traffic.read_bytes == 5
        assert not pod.lost and not pod.said
        assert "up" in repr(share)


async def test_pods_may_have_as_many_files_open_as_the_hard_limit_allows(sharing, folder):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    try:
        async with sharing(dials=False) as (share, pod):
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
            share.start(pod.dial)
            await connect(pod)
            sftp = await pod.open_sftp()
            for number in range(600):
                await sftp.open56(b"%d" % number, WRITE, OPEN_OR_CREATE, SFTPAttrs())
            assert len(list(folder.iterdir())) == 600
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_barrier_without_changes_asks_nobody(sharing):
    async with sharing() as (share, pod):
        control = await connect(pod)
        await share.ready()
        for _ in range(100):
            assert await share.barrier() == []
        answering = asyncio.ensure_future(control.answer("stats", fetched=1, reads=5))
        await share.stats()
        await answering
        assert len(control.heard) == 1


async def test_a_barrier_waits_until_changes_are_known_there(sharing, folder):
    async with sharing() as (share, pod):
        control = await connect(pod)
        await share.ready()
        (folder / "d").mkdir()
        (folder / "d/\udcff").write_text("1")
        waiting = asyncio.ensure_future(share.barrier())
        message = await control.hear("changed")
        assert message["paths"] == ["d", "d/\udcff"] and message["all"] is False
        await asyncio.sleep(0.05)
        assert not waiting.done()
        # Another waits for that one, though it sees nothing new.
        second = asyncio.ensure_future(share.barrier())
        await asyncio.sleep(0.05)
        assert not second.done()
        control.say({"id": message["id"], "ok": True})
        assert await waiting == ["d", "d/\udcff"]
        assert await second == []
        assert await share.barrier() == []
        (folder / "d/\udcff").unlink()
        answering = asyncio.ensure_future(control.answer("changed"))
        assert await share.barrier() == ["d/\udcff"]
        await answering


async def test_barriers_that_come_together_are_one_request(sharing, folder):
    async with sharing() as (share, pod):
        control = await connect(pod)
        await share.ready()
        (folder / "a").touch()
        first = asyncio.ensure_future(share.barrier())
        message = await control.hear("changed")
        (folder / "b").touch()
        others = [asyncio.ensure_future(share.barrier()) for _ in range(10)]
        await asyncio.sleep(0.02)
        control.say({"id": message["id"], "ok": True})
        assert (await control.answer("changed"))["paths"] == ["b"]
        assert await first == ["a"]
        assert await asyncio.gather(*others) == [["b"]] * 10


async def test_a_barrier_that_is_cancelled_loses_no_change(sharing, folder):
    async with sharing() as (share, pod):
        control = await connect(pod)
        await share.ready()
        (folder / "a").touch()
        waiting = asyncio.ensure_future(share.barrier())
        message = await control.hear("changed")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        control.say({"id": message["id"], "ok": True})
        assert await share.barrier() == ["a"]
        assert await share.barrier() == []


async def test_what_the_pods_write_is_no_change(sharing, folder):
    async with sharing() as (share, pod):
        await connect(pod)
        await share.ready()
        sftp = await pod.open_sftp()
        await sftp.write_all(b"f", b"x" * 100_000)
        await sftp.mkdir(b"d", sftp_attrs())
        await sftp.write_all(b"d/f", b"x", OPEN_OR_CREATE)
        await sftp.put(b"d/g", b"x", flags=1 | 8)
        await sftp.rename(b"d", b"e", 0)
        await sftp.remove(b"e/f")
        await sftp.make_link(b"x", b"l", True)
        await sftp.make_link(b"f", b"h", False)
        await sftp.setstat(b"f", sftp_attrs(size=5, permissions=0o600, atime=1, mtime=1))
        left_open = await sftp.open56(b"f", 2, OPEN_OR_CREATE, sftp_attrs())
        await sftp.write(left_open, 0, b"y")
        assert await share.barrier() == []
        # A change by the user between two writes of a pod is told.
        (folder / "e/g").write_text("user")
        await sftp.put(b"e/g", b"pod")
        told = asyncio.ensure_future(share.barrier())
        control = Control(pod)
        await control.open()
        assert (await control.answer("changed"))["paths"] == ["e/g"]
        assert await told == ["e/g"]


def sftp_attrs(**fields):
    from asyncssh.sftp import SFTPAttrs

    return SFTPAttrs(**fields)


async def test_rules_hold_for_the_whole_task_and_those_of_a_new_directory_are_all(sharing, folder):
    (folder / "a.o").touch()
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/.wommignore").write_text("*.o\n")
    (folder / "deep/er/a.o").touch()

    async with sharing() as (share, pod):
        control = await connect(pod)
        await share.ready()
        sftp = await pod.open_sftp()
        (folder / ".wommignore").write_text("*.o\n")
        (folder / "deep/er/.wommignore").unlink()
        answering = asyncio.ensure_future(control.answer("changed"))
        assert await share.barrier() == [".wommignore", "deep/er/.wommignore"]
        assert (await answering)["all"] is False
        assert set(await sftp.names(b"")) == {b".wommignore", b"a.o", b"deep"}
        assert set(await sftp.names(b"deep/er")) == set()
        (folder / "new").mkdir()
        (folder / "new/a.o").touch()
        answering = asyncio.ensure_future(control.answer("changed"))
        assert await share.barrier() == ["new", "new/a.o"]
        await answering
        (folder / "new/.wommignore").write_text("*.o\n")
        answering = asyncio.ensure_future(control.answer("changed"))
        assert await share.barrier() == [""]
        assert (await answering)["all"] is True
        assert set(await sftp.names(b"new")) == {b".wommignore"}


async def test_files_of_womms_are_known_by_inode_also_those_that_come(sharing, folder):
    (folder / "sub").mkdir()
    (folder / "sub/.womm").write_text("mine")
    os.link(folder / "sub/.womm", folder / "alias")
    (folder / "x").write_text("x")

    async with sharing() as (share, pod):
        control = await connect(pod)
        await share.ready()
        sftp = await pod.open_sftp()
        with fails(errno.EACCES):
            await sftp.write_all(b"alias", b"theirs")
        handle = await sftp.open56(b"x", WRITE, OPEN_EXISTING, NONE)
        await sftp.write(handle, 0, b"y")
        os.rename(folder / "x", folder / ".womm")
        answering = asyncio.ensure_future(control.answer("changed"))
        await share.barrier()
        await answering
        with fails(errno.EACCES):
            await sftp.write(handle, 0, b"z")
        await sftp.close(handle)
    assert (folder / "sub/.womm").read_text() == "mine"
    assert (folder / ".womm").read_text() == "y"


async def test_flush_tells_what_was_written_changed_and_failed(sharing):
    async with sharing() as (share, pod):
        control = await connect(pod)
        await share.ready()
        flushing = asyncio.ensure_future(share.flush())
        first = await control.hear("flush")
        assert first["seen"] == 0
        others = [asyncio.ensure_future(share.flush()) for _ in range(5)]
        await asyncio.sleep(0.02)
        control.say({"id": first["id"], "ok": True, "bytes": 10, "changed": ["a"]})
        assert await flushing == FlushResult(10, ["a"], {}, [])
        second = await control.hear("flush")
        assert second["seen"] == first["id"]
        control.say({"id": second["id"], "ok": False, "failed": {"b": "No space left on device"}})
        found = await asyncio.gather(*others)
        assert found == [FlushResult(0, [], {"b": "No space left on device"}, [])] * 5


async def test_stats_and_finish(sharing):
    async with sharing() as (share, pod):
        control = await connect(pod)
        answering = asyncio.ensure_future(
            control.answer("stats", fetched=1, cached=2, written=3, unwritten=4, reads=5)
        )
        assert await share.stats() == ShareStats(1, 2, 3, 4, 5)
        await answering
        answering = asyncio.ensure_future(control.answer("finish"))
        await share.finish(40)
        assert (await answering)["timeout"] == 40


async def test_a_cut_is_dialled_again_and_what_was_asked_is_asked_again(sharing, folder):
    async with sharing() as (share, pod):
        control = await connect(pod)
        await share.ready()
        (folder / "a").touch()
        barrier = asyncio.ensure_future(share.barrier())
        flush = asyncio.ensure_future(share.flush())
        first = [await control.hear(), await control.hear()]
        pod.refuses = True
        await pod.hang_up()
        await settled(lambda: not share.connected)
        # Asked for during the cut.
        stats = asyncio.ensure_future(share.stats())
        await asyncio.sleep(0.05)
        assert not (barrier.done() or flush.done() or stats.done())
        pod.refuses = False
        control = await connect(pod)
        again = [await control.hear() for _ in range(3)]
        assert again[:2] == first and again[2]["op"] == "stats"
        for message in again:
            control.say({"id": message["id"], "ok": True})
        assert await barrier == ["a"]
        await flush
        await stats
        sftp = await pod.open_sftp()
        assert set(await sftp.names(b"")) == {b"a"}
        assert not pod.lost


async def test_20_cuts_lose_no_change(sharing, folder):
    async with sharing() as (share, pod):
        told: set[str] = set()

        async def serve():
            while True:
                try:
                    control = await connect(pod)
                    for _ in range(3):
                        message = await control.hear()
                        told.update(message.get("paths", ()))
                        control.say({"id": message["id"], "ok": True})
                    await asyncio.sleep(0.01)
                    await pod.hang_up()
                except (OSError, EOFError):
                    continue

        serving = asyncio.ensure_future(serve())
        await share.ready()
        for number in range(60):
            (folder / f"{number}").touch()
            assert f"{number}" in await share.barrier()
            assert f"{number}" in told
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert pod.dials >= 20


async def test_a_frozen_link_is_found_and_dialled_again(sharing):
    async with sharing(options=LazyOptions(keepalive_s=0.1)) as (share, pod):
        await connect(pod)
        await share.ready()
        await asyncio.sleep(0.5)
        assert share.connected and pod.dials == 1  # idle, but it answers
        frozen = pod.ssh
        frozen._transport.pause_reading()
        flush = asyncio.ensure_future(share.flush())
        await settled(lambda: not share.connected)
        control = await connect(pod)
        await control.answer("flush")
        await flush
        assert pod.dials == 2
        frozen.abort()
        await frozen.wait_closed()


async def test_a_slow_busy_link_is_not_taken_for_a_dead_one(sharing, folder):
    """Nothing is heard for ten times the limit, while the answer to one request trickles out."""
    (folder / "f").write_bytes(bytes(4_000_000))

    async with sharing(options=LazyOptions(keepalive_s=0.05)) as (share, pod):
        await connect(pod)
        await share.ready()
        sftp = await pod.open_sftp()
        transport = pod.ssh._transport
        reading = asyncio.ensure_future(sftp.get(b"f", 0, 3_900_000))
        await asyncio.sleep(0)
        for _ in range(25):
            transport.pause_reading()
            await asyncio.sleep(0.06)
            transport.resume_reading()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert pod.dials == 1 and share.connected
        assert len((await reading)[1]) == 3_900_000


async def test_another_epoch_is_a_lost_file_server(sharing):
    async with sharing() as (share, pod):
        await connect(pod, "e1")
        await share.ready()
        flush = asyncio.ensure_future(share.flush())
        await asyncio.sleep(0)
        await pod.hang_up()
        await connect(pod, "e1")
        await settled(lambda: share.connected)
        assert not pod.lost
        await pod.hang_up()
        await connect(pod, "e2")
        with pytest.raises(ShareError, match="lost its disk"):
            await flush
        assert len(pod.lost) == 1 and "lost its disk" in pod.lost[0]
        for call in (share.barrier, share.flush, share.stats):
            with pytest.raises(ShareError):
                await call()
        dials = pod.dials
        await asyncio.sleep(0.1)
        assert pod.dials == dials and not share.connected


async def test_a_server_that_will_not_come_back_is_not_waited_for(sharing):
    async with sharing(dials=False) as (share, pod):
        removed = False

        async def dial(factory):
            if removed:
                raise ShareError("the file server is removed")
            return await pod.dial(factory)

        share.start(dial)
        await connect(pod)
        await share.ready()
        removed = True
        flush = asyncio.ensure_future(share.flush())
        await pod.hang_up()
        async with asyncio.timeout(20):
            with pytest.raises(ShareError, match="the file server is removed"):
                await flush
        assert pod.lost == ["the file server is removed"]


async def test_a_server_with_an_empty_disk_gets_the_names_and_answers_what_was_asked(sharing):
    losses: list[str] = []

    async with sharing(on_disk_lost=lambda: losses.append("lost")) as (share, pod):
        first = await connect(pod, "e1")
        await share.ready()
        names = [[1, "d", 1 << 32, 2, 5, 1 << 63], [1 << 32, "f\udcff", 7, 1, 5, 6], [1, "gone"]]
        first.say({"op": "names", "number": 1, "rows": names[:2]})
        first.say({"op": "names", "number": 2, "rows": names[2:]})
        for number in (1, 2):
            assert (await first.hear("seen"))["number"] == number
        asked = asyncio.ensure_future(share.stats())
        await first.answer("stats", fetched=10, cached=20, written=30, unwritten=40, reads=50)
        assert await asked == ShareStats(10, 20, 30, 40, 50)
        assert await share.barrier() == []
        flush = asyncio.ensure_future(share.flush())
        await first.hear("flush")
        await pod.hang_up()
        await pod.accept()
        second = Control(pod, "e2")
        await second.open(whole=False, generation=1, change=1)
        told = [await second.hear("names"), await second.hear("names")]
        assert [row for message in told for row in message["rows"]] == names
        end = await second.hear("adopted")
        assert end["generation"] == 1 and end["change"] > 1
        assert losses == ["lost"] and not pod.lost
        await second.answer("flush", changed=[], bytes=0)
        assert await flush == FlushResult(0, [], {}, [])
        barrier = asyncio.ensure_future(share.barrier())
        assert (await second.answer("changed"))["all"]
        assert await barrier == [""]
        asked = asyncio.ensure_future(share.stats())
        await second.answer("stats", fetched=1, cached=2, written=3, unwritten=4, reads=5)
        assert await asked == ShareStats(11, 22, 33, 4, 55)
        # It has ended before it had them, and then its disk is lost, too.
        await pod.hang_up()
        await pod.accept()
        third = Control(pod, "e2")
        await third.open(whole=False, generation=3)
        assert len([await third.hear("names") for _ in range(2)]) == 2
        assert (await third.hear("adopted"))["generation"] == 3
        third.say({"op": "names", "number": 1, "rows": [[1, "x", 9, 1, 5, 7]], "reset": True})
        await third.hear("seen")
        await pod.hang_up()
        await pod.accept()
        fourth = Control(pod, "e3")
        await fourth.open(whole=False)
        assert (await fourth.hear("names"))["rows"] == [[1, "x", 9, 1, 5, 7]]
        again = await fourth.hear("adopted")
        assert again["generation"] == 4 and again["change"] > end["change"]
        assert losses == ["lost", "lost"] and not pod.lost


async def test_what_is_not_sent_is_known_while_the_server_is_away_and_when_it_is_lost(sharing):
    losses: list[MissingFiles] = []

    def lost():
        losses.append(share.unsent)

    async with sharing(on_disk_lost=lost) as (share, pod):
        assert (share.unsent, share.heard_s) == (MissingFiles(), 0.0)
        first = await connect(pod)
        first.say({"op": "unsent", "files": [], "sent": [], "more": 0, "whole": True})
        first.say({"op": "unsent", "files": [[7, "a"], [8, "b\udcff"]], "sent": [], "more": 3})
        await settled(lambda: share.unsent)
        assert share.unsent == MissingFiles(("a", "b\udcff"), 5)
        assert share.heard_s > 0
        # Renamed, sent, new.
        first.say({"op": "unsent", "files": [[7, "d/a"], [9, "c"]], "sent": [8], "more": 0})
        await settled(lambda: share.unsent.count == 2)
        assert share.unsent == MissingFiles(("d/a", "c"), 2)
        await pod.hang_up()
        await settled(lambda: not share.connected)
        assert share.unsent == MissingFiles(("d/a", "c"), 2)
        second = await connect(pod)
        second.say({"op": "unsent", "files": [[9, "c"]], "sent": [], "more": 0, "whole": True})
        await settled(lambda: share.unsent.count == 1)
        assert share.unsent == MissingFiles(("c",), 1)
        await pod.hang_up()
        third = await connect(pod, "e2")
        third.say({"op": "unsent", "files": [], "sent": [], "more": 0, "whole": True})
        await settled(lambda: not share.unsent)
        assert losses == [MissingFiles(("c",), 1)] and not pod.lost
    assert share.unsent == MissingFiles()


@pytest.mark.parametrize(
    "message",
    [
        {"op": "unsent"},
        {"op": "unsent", "files": [["x", "a"]], "sent": [], "more": 0},
        {"op": "unsent", "files": [[1, "\ud800"]], "sent": [], "more": 0},
        {"op": "unsent", "files": [1], "sent": [], "more": 0},
        {"op": "unsent", "files": [[1, "a"]], "sent": None, "more": 0},
    ],
)
async def test_files_that_make_no_sense_end_the_connection(sharing, message):
    async with sharing() as (share, pod):
        control = await connect(pod)
        await share.ready()
        control.say(message)
        await pod.ssh.wait_closed()
        await connect(pod)
        await settled(lambda: share.connected)
        assert share.unsent == MissingFiles() and not pod.lost


async def test_a_server_of_another_version_is_refused(sharing):
    async with sharing() as (share, pod):
        await pod.accept()
        await Control(pod).open(version=1)
        with pytest.raises(ShareError, match="version 1"):
            await share.ready()
        assert len(pod.lost) == 1


@pytest.mark.parametrize(
    "garbage", [b"hello\n", b"[]\n", b'{"op":"hello"}\n', b"\xff\xfe\n", b"[" * 100_000 + b"\n"]
)
async def test_garbage_on_the_control_channel_ends_the_connection(sharing, garbage):
    async with sharing() as (share, pod):
        await pod.accept()
        control = Control(pod)
        await control.open(hello=False)
        control.writer.write(garbage)
        await pod.ssh.wait_closed()
        await connect(pod)
        await share.ready()
        assert not pod.lost


async def test_closing_ends_who_waits(sharing):
    async with sharing() as (share, _):
        ready = asyncio.ensure_future(share.ready())
        waiting = [asyncio.ensure_future(call()) for call in (share.flush, share.stats, share.flush)]
        await asyncio.sleep(0.01)
        await share.close()
        for task in (ready, *waiting):
            with pytest.raises(ShareError, match="closed"):
                await task


async def test_closing_at_once_waits_for_the_watch(folder):
    for number in range(200):
        (folder / f"{number}").mkdir()

    before = len(os.listdir("/proc/self/fd"))
    for delay_s in (None, 0, 0.001, 0.005):
        share = LazyConnection(folder, on_lost=print, say=print)

        async def dial(factory):
            raise ConnectionRefusedError("nobody")

        if delay_s is not None:
            share.start(dial)
            await asyncio.sleep(delay_s)
        await share.close()
        with pytest.raises(ShareError):
            await share.barrier()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        LazyConnection(tmp_path / "none", on_lost=print, say=print)


async def test_a_share_through_the_bridge_of_the_pods(sharing, folder):
    """As an exec has it: perl copies between its pipes and the file server's socket."""
    data = os.urandom(3_000_000)
    (folder / "f").write_bytes(data)

    bridges = []
    async with sharing(dials=False) as (share, pod):
        pod.greeting = b""

        async def dial(factory):
            ours, theirs = socket.socketpair()
            with theirs:
                command = ["perl", str(worker.BRIDGE), pod.path]
                pipe = theirs.fileno()
                bridges.append(subprocess.Popen(command, stdin=pipe, stdout=pipe))
            return await asyncio.get_running_loop().create_connection(factory, sock=ours)

        share.start(dial)
        await connect(pod)
        await share.ready()
        sftp = await pod.open_sftp()
        assert await sftp.read_all(b"f") == data
        await sftp.write_all(b"g", data)
        bridges[0].kill()
        await settled(lambda: not share.connected)
        await connect(pod)
        await settled(lambda: share.connected)
        sftp = await pod.open_sftp()
        assert await sftp.read_all(b"g") == data
    for bridge in bridges:
        bridge.wait(10)
    assert len(bridges) == 2


async def test_nothing_is_left_behind(sharing):
    before = set(os.listdir("/proc/self/fd"))

    async with sharing() as (share, pod):
        await connect(pod)
        await share.ready()
        await pod.open_sftp()
    assert len(os.listdir("/proc/self/fd")) <= len(before) + 1

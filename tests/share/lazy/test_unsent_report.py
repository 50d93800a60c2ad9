"""A task's end with a real file server: what of the jobs' files is not in the folder is told by name."""

import asyncio
import os
import subprocess
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fileserver.client import make
from tests.fileserver.lazy import Lazy as Server
from tests.fileserver.lazy import UserSide, fresh_folder, remove
from womm.cluster.base import ShareSpec
from womm.link.frames import RunRequest
from womm.nfs.constants import SHARE_BOTH
from womm.share.base import ShareEvents
from womm.share.lazy.task import LazyTaskShare
from womm.share.lazy.unsent import MissingFiles
from womm.share.lazy.unsent_report import KEPT, UnsentReport
from womm.share.learned import LearnedFile

NO_SPACE = os.strerror(28)


class Cluster:
    """As much of a Cluster as a lazy share asks for: a way to a socket, which can be closed."""

    def __init__(self, socket):
        self.socket = socket
        self.reachable = True

    def share_dial(self):
        async def dial(factory):
            if not self.reachable:
                raise OSError("the file server is not there")
            return await asyncio.get_running_loop().create_unix_connection(factory, str(self.socket))

        return dial

    def before_share_ends(self, work):
        self.end = work


class Served(Server):
    """The file server of a task whose coordinator has a `LazyTaskShare`."""

    def __init__(self, *args, lazy, cluster, **options):
        super().__init__(*args, **options)
        self.lazy, self.cluster = lazy, cluster

    async def connect(self):
        if self.lazy._watch is None:
            await self.lazy.begin(self.cluster)
        await self.link.wait()

    async def lose(self):
        """Cut the link for good."""
        self.cluster.reachable = False
        self.lazy._share._redial.hang_up()
        while self.link.up or self.lazy._share.connected:
            await asyncio.sleep(0.01)


@dataclass
class Heard:
    said: list[str] = field(default_factory=list)
    noted: list[Any] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    repeats: bool = True


@asynccontextmanager
async def sharing(top, place, *, end_s=60.0, learned=None):
    """Share `top`; give the file server, the coordinator's side and what it has said."""
    heard = Heard()
    voice = ShareEvents(
        heard.said.append,
        heard.lost.append,
        lambda: not heard.repeats,
        None,
        lambda *count_bytes: None,
        heard.noted.append,
    )
    lazy = LazyTaskShare(ShareSpec("lazy", top, {}), voice, end_s=end_s, learned=learned)
    cluster = Cluster(place / "share")
    try:
        user = UserSide(top)  # it only has to be closed
        server = Served(top, place, keys=lazy._share.keys, user=user, lazy=lazy, cluster=cluster)
        try:
            async with asyncio.timeout(120), server:
                yield server, lazy, heard
        finally:
            user.close()
    finally:
        await lazy.close()


def events(heard):
    return [(event.names, event.count, event.reason) for event in heard.noted]


async def opened(server, name):
    return await server.fs.open(await server.fs.lookup(server.fs.root(), name), SHARE_BOTH)


async def test_task_whose_files_are_all_in_the_folder_says_nothing(top, place):
    async with sharing(top, place) as (server, lazy, heard):
        await make(server.fs, b"f", b"data")
        await server.cluster.end()
        lazy.report()
        assert (top / "f").read_bytes() == b"data"
        assert (lazy.failed, heard.said, heard.noted, heard.lost) == ("", [], [], [])
        assert "4 B written back" in lazy.words


async def test_end_does_not_fail_by_an_answer_that_breaks_the_channel(top, place, tmp_path):
    async with sharing(top, place, learned=LearnedFile(tmp_path / "learned")) as (server, lazy, _):
        server.contents.uses.learned = lambda: [SimpleNamespace(row=lambda: "garbage")]
        await make(server.fs, b"f", b"data")
        await server.cluster.end()
        lazy.report()
        assert (lazy.failed, (top / "f").read_bytes()) == ("", b"data")


async def test_link_that_is_lost_for_good_names_what_was_not_sent(top, place):
    names = [b"a\n", *(b"f%02d" % number for number in range(KEPT + 20))]
    for name in names:
        (top / os.fsdecode(name)).write_bytes(b"old")

    async with sharing(top, place, end_s=1.0) as (server, lazy, heard):
        files = [await opened(server, name) for name in names]
        await server.lose()
        for file in files:
            await server.fs.write(file, 0, memoryview(b"new"), True)
        # Back for as long as it takes to tell of them, but not to send: the server is held.
        server.link.hold()
        server.cluster.reachable = True
        while not lazy._share.unsent:
            await asyncio.sleep(0.01)
        await server.lose()
        await server.cluster.end()
        lazy.report()
        (line,) = heard.said
        before, _, after = line.partition("): ")
        assert before.startswith("what jobs wrote is not in the folder (the file server was last heard of ")
        assert before.endswith("s ago; what was written after that is not known")
        assert after == r"a\n, f00, f01, f02, f03, f04, f05, f06, f07, f08 and 111 more"
        assert lazy.failed == "the file server did not end within 1 s"
        (event,) = heard.noted
        assert event.names == tuple(map(os.fsdecode, names[:KEPT])) and event.count == len(names)
        assert event.reason in before
        for name in names:
            assert (top / os.fsdecode(name)).read_bytes() == b"old"


async def test_link_that_is_lost_with_all_sent_says_up_to_when_that_is_known(top, place):
    async with sharing(top, place, end_s=0.5) as (server, lazy, heard):
        await make(server.fs, b"f", b"data")
        await server.contents.flusher.flush()
        while lazy._share.unsent:
            await asyncio.sleep(0.01)
        await server.lose()
        await server.cluster.end()
        lazy.report()
        (line,) = heard.said
        assert line.startswith(
            "what jobs wrote is in the folder, as far as is known: the file server was last"
        )
        assert lazy.failed and not heard.noted


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a tmpfs")
async def test_full_disk_of_the_user_is_named_with_its_files(top, place):

    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", top], check=True)
    try:
        async with sharing(top, place) as (server, lazy, heard):
            for name in (b"a", b"b"):
                await make(server.fs, name)
            files = [await opened(server, name) for name in (b"a", b"b")]
            await server.contents.disk.space(now=True)
            (top / "hog").write_bytes(bytes(3_500_000))
            for file in files:
                with suppress(OSError):  # the program hears of it, too, if it is known by then
                    await server.fs.write(file, 0, memoryview(bytes(1 << 20)), True)
                await server.fs.close(file)
            await server.cluster.end()
            lazy.report()
            assert heard.said == [f"what jobs wrote is not in the folder ({NO_SPACE}): a, b"]
            assert events(heard) == [(("a", "b"), 2, NO_SPACE)]
            assert lazy.failed == "2 files are not in the folder as jobs wrote them"
    finally:
        subprocess.run(["umount", top], check=True)


async def test_task_whose_cluster_could_not_be_stopped_in_order_tells_what_is_known(top, place):
    """The API server is away, or a second Ctrl-C: the end of the share is never asked for."""
    (top / "f").write_bytes(b"old")

    async with sharing(top, place) as (server, lazy, heard):
        file = await opened(server, b"f")
        await server.lose()
        await server.fs.write(file, 0, memoryview(b"new"), True)
        server.link.hold()
        server.cluster.reachable = True
        while not lazy._share.unsent:
            await asyncio.sleep(0.01)
        lazy.report()
        assert heard.said == ["what jobs wrote is not in the folder (not sent before the end): f"]
        assert events(heard) == [(("f",), 1, "not sent before the end")]
        assert lazy.failed == "1 file is not in the folder as jobs wrote them"


async def test_loss_is_told_to_every_job_that_may_have_written_it(top, place):
    """The user removes a file while the link is cut; nobody knows whose bytes were for it."""
    (top / "f").write_bytes(b"old")

    async with sharing(top, place) as (server, lazy, _):
        file = await opened(server, b"f")
        for job in (1, 2):
            lazy.jobs.revalidate(RunRequest(b"true"), job, "pod")
        await server.lose()
        await server.fs.write(file, 0, memoryview(b"new"), True)
        (top / "f").unlink()
        server.cluster.reachable = True
        told = await lazy.jobs.wait_written(1, "pod")
        assert told.startswith("what jobs wrote is not in the folder: f: ")
        lazy.jobs.revalidate(RunRequest(b"true"), 3, "pod")
        assert await lazy.jobs.wait_written(3, "pod") == ""
        assert await lazy.jobs.wait_written(2, "pod") == told
        await server.fs.close(file)
        await server.cluster.end()


@pytest.mark.parametrize("repeats", [True, False])
async def test_lost_disk_names_what_nobody_writes_again(top, place, repeats):
    (top / "f").write_bytes(b"old")

    async with sharing(top, place) as (server, lazy, heard):
        heard.repeats = repeats
        file = await opened(server, b"f")
        await server.lose()
        await server.fs.write(file, 0, memoryview(b"new"), True)
        server.link.hold()
        server.cluster.reachable = True
        while not lazy._share.unsent:
            await asyncio.sleep(0.01)
        await server.lose()
        # Another one, whose disk is empty.
        other = fresh_folder()
        try:
            server.cluster.socket = other / "share"
            server.cluster.reachable = True
            async with Served(
                top, other, keys=server.keys, user=server.user, lazy=lazy, cluster=server.cluster
            ) as second:
                await second.link.wait()
                await server.cluster.end()
                lazy.report()
        finally:
            remove(other)
        if repeats:
            assert (heard.said, heard.noted, lazy.failed) == ([], [], "")
            return
        why = "the file server's disk was lost"
        assert heard.said == [f"what jobs wrote is not in the folder ({why}): f"]
        assert events(heard) == [(("f",), 1, why)]
        assert lazy.failed


def test_what_is_on_its_way_is_noted_when_it_has_changed():
    heard = Heard()
    report = UnsentReport(heard.said.append, heard.noted.append)
    report.look(MissingFiles())
    assert heard.noted == []
    some = MissingFiles(tuple(str(number) for number in range(KEPT + 1)), 2000)
    for now in (some, some, MissingFiles(("a",), 1), MissingFiles()):
        report.look(now)
    assert events(heard) == [(some.names[:KEPT], 2000, ""), (("a",), 1, ""), ((), 0, "")]
    assert report.end(MissingFiles(), {}, "the file server is away") == 0
    assert len(heard.noted) == 3 and not heard.said


def test_each_reason_has_a_line_and_what_was_lost_before_is_not_said_twice():
    heard = Heard()
    report = UnsentReport(heard.said.append, heard.noted.append)
    report.lost(MissingFiles(), "nothing was")
    report.lost(MissingFiles(("a",), 1), "lost")
    report.look(MissingFiles(("b",), 1))
    refused = {"b": "full", "c": "full", "d": "forbidden"}
    assert report.end(MissingFiles(("b", "e"), 4), refused, "away") == 7
    assert [line.removeprefix("what jobs wrote is not in the folder ") for line in heard.said] == [
        "(lost): a",
        "(full): b, c",
        "(forbidden): d",
        "(away): e and 2 more",
    ]
    assert events(heard) == [
        (("a",), 1, "lost"),
        (("a", "b"), 2, "lost"),
        (("a", "b", "c", "d", "e"), 7, "full; forbidden; away; lost"),
    ]


# ---- files that the user changes meanwhile
async def test_file_that_is_changed_here_while_jobs_write_to_it_is_named_and_fails_the_task(top, place):
    (top / "f").write_bytes(b"one\n")
    async with sharing(top, place) as (server, lazy, heard):
        file = await opened(server, b"f")
        (top / "f").write_bytes(b"one\ntwo\n")
        await server.fs.write(file, 4, memoryview(b"job\n"), True)
        await server.fs.close(file)
        await server.cluster.end()
        lazy.report()
        assert (top / "f.womm-share").read_bytes() == b"one\ntwo\n"
        assert (top / "f").read_bytes() == b"one\njob\n"
        assert lazy.failed == "1 file changed on both sides"
        line = "changed here while jobs wrote to it, both are kept: f (yours is f.womm-share)"
        assert heard.said == [line]
        assert [(event.names, event.copies, event.count) for event in heard.noted] == [
            (("f",), ("f.womm-share",), 1)
        ]

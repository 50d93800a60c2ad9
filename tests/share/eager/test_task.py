"""An eager share and the task's jobs: none starts and none is done while its store may be another one."""

import asyncio
import os
import shutil
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from womm.cluster.base import SharePaths, ShareSpec
from womm.errors import ShareError
from womm.link.frames import RunRequest
from womm.share.base import ShareEvents
from womm.share.eager import task as eager
from womm.share.eager.connection import LOSSES
from womm.share.eager.stream import LocalStore
from womm.share.eager.task import EagerTaskShare

POD = "pod-0"
PATHS = SharePaths("/far/store", "/far/state", ("fill",))


class Cluster:
    """As much of a Cluster as an eager share asks for: a store in a folder of this machine."""

    copies_into_pods = False

    def __init__(self, base: Path, store: LocalStore) -> None:
        self.base, self.store = base, store
        self.dials = 0
        self.gone = ""
        self.leaving = False
        self.hold = asyncio.Event()
        self.hold.set()
        self.lose_disk()

    def share_dial(self, command, *, last=False):
        """The file server's command, with its paths in `base` and this Python."""
        here = {"python3": sys.executable, PATHS.store: str(self.base / "store")}
        here[f"{PATHS.state}/{eager.DISK}"] = str(self.base / "disk")

        async def dial(factory):
            self.dials += 1
            await self.hold.wait()
            if self.leaving and not last:
                self.leaving = False
                self.lose_disk()
            if self.gone:
                raise ShareError(self.gone)
            return await self.store.exec_dial([here.get(word, word) for word in command])(factory)

        return dial

    def lose_disk(self):
        shutil.rmtree(self.base / "store", ignore_errors=True)
        (self.base / "store").mkdir(parents=True)
        (self.base / "disk").unlink(missing_ok=True)

    def when_share_moves(self, tell):
        self.moves = tell

    def before_share_ends(self, work):
        self.end = work


@dataclass
class Heard:
    said: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    traffic: list[tuple[int, ...]] = field(default_factory=list)
    disks: int = 0

    def disk_lost(self):
        self.disks += 1
        return False

    def voice(self):
        def traffic(*count_bytes):
            self.traffic.append(count_bytes)

        return ShareEvents(
            self.said.append, self.lost.append, self.disk_lost, None, traffic, lambda event: None
        )


@pytest.fixture
def go(womm_home, tmp_path):
    """Open a share of a folder with the file `given`."""

    @asynccontextmanager
    async def opened(kind="eager-syncback"):
        folder = tmp_path / "folder"
        (folder / "sub").mkdir(parents=True)
        (folder / "given").write_text("given")

        async with LocalStore() as store:
            cluster, heard = Cluster(tmp_path, store), Heard()
            spec = ShareSpec(kind, folder, {})
            share = EagerTaskShare(
                spec, PATHS, folder / "sub", "t1", heard.voice(), keep=False, patience_s=10
            )
            try:
                await share.begin(cluster)  # type: ignore[arg-type]
                yield share, cluster, heard
            finally:
                await share.close()

    return opened


async def test_store_that_is_still_the_same_holds_jobs_up_for_a_moment_only(go):
    async with go() as (share, cluster, heard):
        assert share.jobs.is_current
        cluster.hold.clear()
        share.jobs.reconnected()
        assert not share.jobs.is_current
        settling = asyncio.ensure_future(share.jobs.wait_written(1, POD))
        await asyncio.sleep(0.1)
        assert not settling.done()
        cluster.hold.set()
        assert await settling == ""
        assert share.jobs.is_current and cluster.dials == 2
        request = RunRequest(b"true")
        assert share.jobs.revalidate(request, 2, POD) is request
        assert (heard.disks, heard.lost) == (0, [])


async def test_lost_disk_is_filled_again_before_any_job_and_what_was_lost_is_told(go):
    async with go() as (share, cluster, heard):
        store = cluster.base / "store"
        (store / "made").write_text("made")
        for job in (1, 2):
            assert await share.jobs.wait_written(job, POD) == ""
        cluster.lose_disk()
        cluster.moves(False)
        await share.jobs.refresh()
        assert (store / "given").read_text() == "given"
        assert heard.disks == 1
        first = share.jobs.revalidate(RunRequest(b"true"), 3, POD)
        folder = os.fsencode(cluster.base / "folder")
        assert (first.fresh_tree, first.folder) == (folder, folder + b"/sub")
        (store / "later").write_text("later")
        await share.jobs.wait_written(3, POD)
        second = share.jobs.revalidate(RunRequest(b"true"), 4, POD)
        assert (second.fresh_tree, second.folder) == (None, folder + b"/sub")
        assert share.jobs.revalidate(RunRequest(b"true"), 5, "another").fresh_tree == folder
        await cluster.end()
        assert "with it what 2 jobs wrote that had ended by" in share.failed
        assert share.words == "2 files (10 B) copied, 1 file (5 B) brought back"
        assert heard.traffic == [(5, 0, 0, 0), (10, 0, 0, 0), (10, 0, 5, 0)]
    folder = cluster.base / "folder"
    assert sorted(path.name for path in folder.iterdir()) == ["given", "later", "sub"]


async def test_what_jobs_wrote_is_brought_back_before_the_file_server_goes(go):
    async with go() as (share, cluster, heard):
        store = cluster.base / "store"
        (store / "made").write_text("made")
        await share.jobs.wait_written(1, POD)
        cluster.leaving = True
        cluster.moves(True)
        await share.jobs.refresh()
        assert heard.disks == 1
        assert (cluster.base / "folder/made").read_text() == "made"
        assert (store / "made").read_text() == "made"
        (store / "later").write_text("later")
        await share.jobs.wait_written(2, POD)
        await cluster.end()
        assert (share.failed, heard.lost) == ("", [])
        assert share.words == "3 files (14 B) copied, 2 files (9 B) brought back"
    folder = cluster.base / "folder"
    assert sorted(path.name for path in folder.iterdir()) == ["given", "later", "made", "sub"]


async def test_disk_that_nobody_missed_until_the_end_is_no_success(go):
    async with go() as (share, cluster, _):
        await share.jobs.wait_written(1, POD)
        cluster.lose_disk()
        await cluster.end()
        assert "not brought back: the disk of the file server is lost" in share.failed
    folder = cluster.base / "folder"

    assert sorted(path.name for path in folder.iterdir()) == ["given", "sub"]


async def test_disk_lost_again_while_it_is_filled_is_filled_again(go):
    async with go() as (share, cluster, heard):
        for _ in range(2):
            cluster.lose_disk()
            cluster.moves(False)
            while heard.disks == 0:
                await asyncio.sleep(0.01)
        await share.jobs.refresh()
        assert (cluster.base / "store/given").read_text() == "given"
        await share.jobs.wait_written(1, POD)
        await cluster.end()
        assert share.failed == ""


async def test_what_is_doubted_in_the_very_moment_in_which_it_becomes_certain_is_looked_at(go):
    async with go() as (share, cluster, _):
        cluster.hold.clear()
        share.jobs.reconnected()

        async def doubting():
            await share.jobs.refresh()
            share.jobs.reconnected()

        first = asyncio.ensure_future(doubting())
        second = asyncio.ensure_future(share.jobs.refresh())
        await asyncio.sleep(0.1)
        cluster.hold.set()
        await first
        await second  # woken with the first, but it is in doubt again
        assert share.jobs.is_current and cluster.dials == 3


async def test_jobs_that_are_to_run_again_are_not_counted_as_lost_results(go):
    async with go() as (share, cluster, heard):
        for _ in range(2):
            cluster.hold.clear()
            cluster.lose_disk()
            cluster.moves(False)
            settling = asyncio.ensure_future(share.jobs.wait_written(1, POD))
            await asyncio.sleep(0.1)
            cluster.hold.set()
            await settling
        await cluster.end()
        assert (heard.disks, share.failed) == (2, "")


async def test_disk_that_is_lost_again_and_again_before_any_job_has_ended_ends_the_task(go):
    async with go() as (share, cluster, heard):
        for _ in range(LOSSES):
            assert heard.lost == []
            cluster.lose_disk()
            cluster.moves(False)
            with suppress(ShareError):
                await share.jobs.refresh()
        (reason,) = heard.lost
        assert f"lost {LOSSES} times, and no job ended in between" in reason


async def test_end_that_was_never_reached_is_no_success(go):
    """The API server is away for too long: the cluster is not stopped in order."""

    async with go() as (share, _, _):
        await share.jobs.wait_written(1, POD)
        share.report()
        assert share.failed.startswith("what jobs wrote is not brought back")


async def test_rescue_that_could_not_fetch_a_file_is_told_when_the_disk_is_lost(go):
    async with go() as (share, cluster, _):
        store = cluster.base / "store"
        (store / "made").write_text("made")
        log = store / "log"
        log.write_bytes(b"x" * 3_000_000)
        code = f"f = open({str(log)!r}, 'ab', 0)\nwhile True: f.write(b'y' * 1000)"
        writer = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
        try:
            await share.jobs.wait_written(1, POD)
            while log.stat().st_size == 3_000_000:
                await asyncio.sleep(0.01)
            cluster.leaving = True
            cluster.moves(True)
            await share.jobs.refresh()
        finally:
            writer.kill()
            await writer.wait()
        assert (cluster.base / "folder/made").read_text() == "made"
        assert not (cluster.base / "folder/log").exists()
        await cluster.end()
        assert "with it what 1 job wrote that had ended by" in share.failed


async def test_file_server_that_does_not_come_back_ends_the_task(go):
    async with go() as (share, cluster, heard):
        cluster.gone = "the file server is removed"
        cluster.moves(False)
        with pytest.raises(ShareError):
            await share.jobs.wait_written(1, POD)
        cluster.moves(False)
        with pytest.raises(ShareError):
            await share.jobs.refresh()
        assert heard.lost == ["the file server is removed"]

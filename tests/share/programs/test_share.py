"""This machine's programs in a task: pinned before workers come, kept over cuts, never mixed in one file."""

import asyncio
import os
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from tests.fileserver.client import again, content
from tests.fileserver.lazy import Lazy
from tests.loop import until
from tests.share.programs.machines import PROGRAMS, make_machine
from tests.soak import count
from womm.cluster.base import ProgramsSpec
from womm.errors import ShareError
from womm.nfs.constants import SHARE_READ
from womm.share.learned import LearnedFile
from womm.share.programs.pins import Pins
from womm.share.programs.share import ProgramsEvents, ProgramsOptions, ProgramsShare
from womm.share.programs.upgrades import Upgrades
from womm.wire.ahead import Pinned


class Host:
    """As much of a ShareHost as the programs call."""

    def __init__(self):
        self.socket = None
        self.gone = ""
        self.released = asyncio.Event()
        self.at_end = []

    def programs_dial(self):
        async def dial(factory):
            if self.gone:
                raise ShareError(self.gone)
            if self.socket is None:
                raise OSError("it is not there yet")
            return await asyncio.get_running_loop().create_unix_connection(factory, str(self.socket))

        return dial

    def release_workers(self):
        self.released.set()

    def before_share_ends(self, work):
        self.at_end.append(work)


@pytest.fixture
def machine(tmp_path):
    return make_machine(tmp_path / "machine")


PINNED = (b"usr/bin/tool", b"usr/lib/lib.so.1", b"usr/lib/none")
"""The perl of this machine is not in the small one."""


@asynccontextmanager
async def serving(machine, learned=None, pinned=PINNED):
    heard = SimpleNamespace(said=[], lost=[], traffic=[], host=Host())
    events = ProgramsEvents(heard.said.append, heard.lost.append, lambda *found: heard.traffic.append(found))
    database = machine / "packages"
    options = ProgramsOptions(
        learned=learned,
        top=str(machine),
        find_pins=lambda programs, shells: Pins(pinned, pinned[:1]),
        upgrades=lambda programs: Upgrades(programs, (str(database),), every_s=0.0),
    )
    heard.share = ProgramsShare(PROGRAMS, ProgramsSpec((), {}), events, options)
    heard.keys = SimpleNamespace(secret=lambda: heard.share.spec.secret)
    await heard.share.begin(heard.host)
    try:
        yield heard
    finally:
        await heard.share.close()
        await heard.share.close()


@asynccontextmanager
async def file_server(heard, machine, place):
    """A file server, which the programs find from now on."""
    async with Lazy(machine, place, keys=heard.keys, connects=False, static=True) as lazy:
        heard.host.socket = lazy.socket
        try:
            yield lazy
        finally:
            heard.host.socket = None


async def walk(fs, path):
    node = fs.root()
    for name in path.split(b"/"):

        async def look(node=node, name=name):
            return await fs.lookup(node, name)

        node = await again(look)
    return node


async def read(fs, node):
    return await again(lambda: content(fs, node))


async def test_workers_come_when_the_pins_are_there_and_find_them_while_the_link_is_cut(machine, place):
    async with serving(machine) as heard:
        assert not heard.host.released.is_set()
        async with file_server(heard, machine, place) as lazy:
            await asyncio.wait_for(heard.host.released.wait(), 10)
            heard.host.socket = None
            heard.share._redial.hang_up()
            await until(lambda: not lazy.link.up)
            tool = await walk(lazy.fs, b"usr/bin/tool")
            assert await content(lazy.fs, tool) == b"#!/bin/sh\n"
            # The link comes back, and what was not pinned is read then.
            waiting = asyncio.ensure_future(walk(lazy.fs, b"home/u/conda/bin/python"))
            heard.host.socket = lazy.socket
            assert await read(lazy.fs, await waiting) == b"python\n"
        assert not heard.lost


async def test_a_file_server_with_an_empty_disk_gets_the_pins_again(machine, place):
    async with serving(machine) as heard:
        async with file_server(heard, machine, place / "one"):
            await asyncio.wait_for(heard.host.released.wait(), 10)
        async with file_server(heard, machine, place / "two") as lazy:
            await until(lambda: lazy.blocks.pinned_bytes > 0)
        assert not heard.lost


async def test_a_link_that_flaps_has_one_request_for_the_pins(machine, place):
    async with serving(machine) as heard, file_server(heard, machine, place) as lazy:
        await asyncio.wait_for(heard.host.released.wait(), 10)
        heard.host.socket = None
        heard.share._redial.hang_up()
        await until(lambda: not lazy.link.up)
        for _ in range(5):
            heard.share._greeted()
            await asyncio.sleep(0)
        asked = [asked for asked in heard.share._conversation._asked.values() if asked.reply is Pinned]
        assert len(asked) == 1


async def test_programs_without_which_no_worker_starts_end_the_task(machine, place):
    async with serving(machine, pinned=(b"usr/lib/mine",)) as heard, file_server(heard, machine, place):
        await until(lambda: heard.lost)
        assert heard.lost == ["pods do not see /usr/lib/mine, and no worker starts without it"]
        assert not heard.host.released.is_set()


async def test_a_file_server_that_will_not_come_back_ends_the_task(machine):
    async with serving(machine) as heard:
        heard.host.gone = "it is gone for good"
        await until(lambda: heard.lost)
        assert heard.lost == ["it is gone for good"]


async def test_an_upgrade_under_running_jobs_never_gives_a_mix_of_two_versions(machine, place):
    """By a new file under the old name, as package managers do it, and in place."""
    tool = machine / "usr/bin/big"
    size = 3 << 18

    def version(number):
        return b"\x7fELF\0" + bytes([number]) * size

    def install(number, in_place):
        new = tool if in_place else tool.with_name("big.new")
        new.write_bytes(version(number))
        new.chmod(0o755)
        os.replace(new, tool)

    install(0, False)
    async with serving(machine) as heard, file_server(heard, machine, place) as lazy:
        await asyncio.wait_for(heard.host.released.wait(), 10)
        seen = set()
        for number in range(1, count(20, 500)):
            node = await walk(lazy.fs, b"usr/bin/big")
            file = await lazy.fs.open(node, SHARE_READ)
            first, _ = await lazy.fs.read(file, 0, 10)
            install(number % 256, number % 2 == 0)
            rest = b""
            try:
                rest, _ = await lazy.fs.read(file, 0, size)
            except Exception as exc:  # stale: its client opens it again
                assert "STALE" in repr(exc) or "DELAY" in repr(exc), exc
            await lazy.fs.close(file)
            assert len(set(rest[5:])) <= 1, "a mix of two versions"
            seen |= set(first)
            (machine / "packages").write_text(str(number))
            assert not heard.share.is_current
            await heard.share.refresh()
            fresh = await content(lazy.fs, await walk(lazy.fs, b"usr/bin/big"))
            assert fresh == version(number % 256)
        assert len(seen) > 5
        told = [line for line in heard.said if line.startswith("programs of this machine have changed")]
        assert len(told) == 1


async def test_all_jobs_wait_until_an_upgrade_is_known_also_when_one_of_them_is_ended(machine, place):
    async with serving(machine) as heard, file_server(heard, machine, place) as lazy:
        await asyncio.wait_for(heard.host.released.wait(), 10)
        heard.host.socket = None
        heard.share._redial.hang_up()
        await until(lambda: not lazy.link.up)
        (machine / "packages").write_text("new")
        one, other = (asyncio.ensure_future(heard.share.refresh()) for _ in range(2))
        await until(lambda: heard.said)
        one.cancel()
        late = asyncio.ensure_future(heard.share.refresh())
        await asyncio.sleep(0.05)
        assert not (other.done() or late.done() or heard.share.is_current)
        heard.host.socket = lazy.socket
        await asyncio.wait_for(asyncio.gather(other, late), 10)
        await until(heard.share._pinning.done)


async def test_an_upgraded_program_is_pinned_and_found_while_the_link_is_cut(machine, place):
    async with serving(machine) as heard, file_server(heard, machine, place) as lazy:
        await asyncio.wait_for(heard.host.released.wait(), 10)
        tool = machine / "usr/bin/tool"
        tool.with_name("new").write_text("#!/bin/sh\n# the new one\n")
        tool.with_name("new").chmod(0o755)
        os.replace(tool.with_name("new"), tool)
        (machine / "packages").write_text("new")
        await heard.share.refresh()
        await until(heard.share._pinning.done)
        heard.host.socket = None
        heard.share._redial.hang_up()
        await until(lambda: not lazy.link.up)
        async with asyncio.timeout(10):
            assert b"new one" in await content(lazy.fs, await walk(lazy.fs, b"usr/bin/tool"))


async def test_a_task_that_ends_before_its_file_server_is_there_waits_for_nothing(machine):
    async with serving(machine) as heard, asyncio.timeout(10):
        await asyncio.sleep(0)  # all has begun
        for work in heard.host.at_end:
            await work()
    assert heard.lost == []


async def test_what_was_read_is_learned_and_told_at_the_end(machine, place, tmp_path):
    async with serving(machine, LearnedFile(tmp_path / "learned")) as heard:
        async with file_server(heard, machine, place / "one") as lazy:
            await asyncio.wait_for(heard.host.released.wait(), 10)
            await content(lazy.fs, await walk(lazy.fs, b"home/u/conda/bin/python"))
            for work in heard.host.at_end:
                await work()
        assert heard.share.words.startswith("programs: ") and heard.traffic
    async with serving(machine, LearnedFile(tmp_path / "learned")) as heard:
        async with file_server(heard, machine, place / "two") as lazy:
            await asyncio.wait_for(heard.host.released.wait(), 10)
            await until(lambda: lazy.contents.fetcher.guesses.guessed >= len("python\n"))
            await content(lazy.fs, await walk(lazy.fs, b"home/u/conda/bin/python"))
            for work in heard.host.at_end:
                await work()
        assert "guessed" in heard.share.words and heard.traffic[-1][3] >= len("python\n")

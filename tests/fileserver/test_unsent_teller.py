"""What is not sent is told by name over a real SSH connection: when it begins, when it ends, and anew."""

import asyncio
import contextlib
import itertools
import os
import socket

from tests.fileserver.client import make
from tests.fileserver.lazy import Lazy, write_secret
from tests.fileserver.process import FileServer
from tests.loop import until
from tests.nfs import builder as nfs
from womm.fileserver.unsent_teller import NAMES
from womm.nfs import rpc
from womm.nfs.constants import SHARE_BOTH, Op
from womm.nfs.status import Status
from womm.nfs.xdr import pack_opaque, pack_u32
from womm.share.lazy.connection import LazyConnection
from womm.share.lazy.unsent import MissingFiles


def hears_of(lazy, *names):
    return lambda: set(lazy.user.control.unsent.now.names) == set(names)


async def refused(lazy, name, directory=None):
    """Write a file that the full disk has no room for."""
    node = await make(lazy.fs, name, directory=directory)
    file = await lazy.fs.open(node, SHARE_BOTH)
    await lazy.contents.disk.space(now=True)
    (lazy.top / "hog").write_bytes(bytes(3_500_000))
    with contextlib.suppress(OSError):
        await lazy.fs.write(file, 0, memoryview(bytes(1 << 20)), True)
    await lazy.fs.close(file)


async def test_file_that_cannot_be_sent_is_told_until_it_is(full, place):
    async with Lazy(full, place) as lazy:
        control = lazy.user.control
        assert control.told == [{"op": "unsent", "files": [], "sent": [], "more": 0, "whole": True}]
        await refused(lazy, b"a\xff\n")
        await until(hears_of(lazy, "a\udcff\n"))
        assert control.unsent.now == MissingFiles(("a\udcff\n",), 1)
        # A flush that fails leaves it told, and by the name that it has by now.
        failed = (await control.ask("flush"))["failed"]
        assert list(failed) == ["a\udcff\n"] == list(control.unsent.now.names)
        (full / "hog").unlink()
        assert (await control.ask("flush"))["ok"]
        # Told before the reply.
        assert control.unsent.now == MissingFiles()
        assert (full / os.fsdecode(b"a\xff\n")).stat().st_size == 1 << 20


async def test_file_whose_directory_was_renamed_is_told_by_its_new_name(full, place):
    (full / "d").mkdir()
    async with Lazy(full, place) as lazy:
        fs = lazy.fs
        await refused(lazy, b"f", await fs.lookup(fs.root(), b"d"))
        await until(hears_of(lazy, "d/f"))
        await fs.rename(fs.root(), b"d", fs.root(), b"e")
        await until(hears_of(lazy, "e/f"))
        assert list((await lazy.user.control.ask("flush"))["failed"]) == ["e/f"]


async def test_file_that_a_client_removes_is_nobodys_loss(full, place):
    async with Lazy(full, place) as lazy:
        await refused(lazy, b"f")
        await until(hears_of(lazy, "f"))
        await lazy.fs.remove(lazy.fs.root(), b"f")
        await until(hears_of(lazy))


async def test_what_was_sent_meanwhile_is_never_told(top, place):
    async with Lazy(top, place) as lazy:
        file = await lazy.fs.open(await make(lazy.fs, b"f"), SHARE_BOTH)
        before = len(lazy.user.control.told)
        for number in range(200):
            await lazy.fs.write(file, number, memoryview(b"x"), True)
            await lazy.contents.flusher.flush()
        await lazy.fs.close(file)
        await lazy.user.control.ask("flush")
        # What one line begins another ends: not a line for each of 200 writes. None says nothing.
        told = lazy.user.control.told[before:]
        assert all(line["files"] or line["sent"] for line in told)
        assert sum(len(line["files"]) for line in told) == sum(len(line["sent"]) for line in told)
        assert lazy.user.control.unsent.now == MissingFiles()


async def test_what_was_written_under_a_cut_is_told_to_the_next_connection_first(top, place):
    (top / "f").write_bytes(b"old")
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        file = await fs.open(node, SHARE_BOTH)
        await lazy.cut()
        before = lazy.user.control
        await fs.write(file, 0, memoryview(b"new"), True)
        assert before.unsent.now == MissingFiles()
        await lazy.connect()
        control = lazy.user.control
        assert control is not before
        assert control.told[0]["files"] == [[node.fileid, "f"]] and control.told[0]["whole"]
        await control.ask("flush")
        assert control.unsent.now == MissingFiles()
        assert (top / "f").read_bytes() == b"new"
        await fs.close(file)


async def test_what_an_earlier_process_has_left_is_told(top, place):
    (top / "f").write_bytes(b"old")
    async with Lazy(top, place) as lazy:
        file = await lazy.fs.open(await lazy.fs.lookup(lazy.fs.root(), b"f"), SHARE_BOTH)
        await lazy.cut()
        await lazy.fs.write(file, 0, memoryview(b"new"), True)
    async with Lazy(top, place) as lazy:
        assert [name for _, name in lazy.user.control.told[0]["files"]] == ["f"]
        await lazy.user.control.ask("flush")
        assert lazy.user.control.unsent.now == MissingFiles()
        assert (top / "f").read_bytes() == b"new"


async def test_of_many_files_the_oldest_are_named_and_the_others_counted(top, place):
    number = NAMES + 5
    for one in range(number):
        (top / f"{one}").touch()
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        files = [await fs.open(await fs.lookup(fs.root(), b"%d" % one), SHARE_BOTH) for one in range(number)]
        await lazy.cut()
        for file in files:
            await fs.write(file, 0, memoryview(b"x"), False)
        await lazy.connect()
        control = lazy.user.control
        assert [name for _, name in control.told[0]["files"]] == [str(one) for one in range(NAMES)]
        assert control.told[0]["more"] == 5
        await control.ask("flush")
        assert control.unsent.now == MissingFiles()
        for file in files:
            await fs.close(file)
        assert (top / f"{number - 1}").read_bytes() == b"x"


class Client:
    """An NFS client of version 4.0 on a socket."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), 60)
        self._file = self._socket.makefile("rb")
        self._numbers = itertools.count(1)
        self.id, confirm = self(nfs.setclientid(b"verifier", b"client")).value(Op.SETCLIENTID)
        self(nfs.setclientid_confirm(self.id, confirm))

    def __call__(self, *operations):
        args = pack_opaque(b"") + pack_u32(0) + pack_u32(len(operations)) + b"".join(operations)
        call = rpc.pack_call(next(self._numbers), 100003, 4, 1, credential=nfs.ROOT_USER, args=args)
        self._socket.sendall(call)
        head = self._file.read(4)
        reply = nfs.read_reply(head + self._file.read(int.from_bytes(head, "big") & 0x7FFFFFFF))
        # The write is on the server's disk, also when it is known already that the user's has no room.
        assert reply.status in (Status.OK, Status.NOSPC), reply
        return reply

    def write(self, export, name, data):
        """Open a file that is there, write its beginning to the server's disk, and leave it open."""
        there = [nfs.putrootfh(), *(nfs.lookup(part) for part in export.strip("/").encode().split(b"/"))]
        opened = self(*there, nfs.open_(name, access=2, clientid=self.id, seqid=1), nfs.getfh())
        handle, stateid = opened.value(Op.GETFH), opened.value(Op.OPEN)["stateid"]
        stateid = self(nfs.putfh(handle), nfs.open_confirm(stateid, 2)).value(Op.OPEN_CONFIRM)
        self(nfs.putfh(handle), nfs.write(data, stateid))

    def close(self):
        self._file.close()
        self._socket.close()


async def test_server_process_that_is_killed_was_heard_of_by_name(full, place):
    with open(full / "f", "wb") as file:
        file.truncate(1 << 20)  # a hole: what is written into it needs room
    with contextlib.suppress(OSError):
        (full / "hog").write_bytes(bytes(8 << 20))

    said: list[str] = []
    share = LazyConnection(full, on_lost=said.append, say=said.append)
    server = FileServer(place / "s", "--grace", "0")
    write_secret(server.secret, share.keys)
    export = "/womm-" + (server.secret / "export").read_text()
    loop = asyncio.get_running_loop()
    try:
        server.start()
        share.start(lambda factory: loop.create_unix_connection(factory, str(server.socket)))
        await share.ready()
        client = await asyncio.to_thread(Client, server.port)
        await asyncio.to_thread(client.write, export, b"f", b"x" * 100_000)
        client.close()
        await until(lambda: share.unsent == MissingFiles(("f",), 1))
        assert list((await share.flush()).failed) == ["f"]
        server.kill()
        await until(lambda: not share.connected)
        assert share.unsent == MissingFiles(("f",), 1)
        await asyncio.to_thread(server.start)
        await until(lambda: share.connected)
        assert list((await share.flush()).failed) == ["f"]
        assert share.unsent == MissingFiles(("f",), 1)
        (full / "hog").unlink()
        assert (await share.flush()).failed == {}
        assert share.unsent == MissingFiles()
        assert (full / "f").read_bytes()[:100_001] == b"x" * 100_000 + b"\0"
        assert not said
    finally:
        server.kill()
        await share.close()

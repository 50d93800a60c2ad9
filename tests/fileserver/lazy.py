"""The user's side and the lazy file server in one event loop, for tests of what is between them."""

import asyncio
import fcntl
import json
import os
import shutil
import tempfile
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.soak import SOAK
from womm.fileserver.cached import CachedFilesystem
from womm.fileserver.connection import UserLink
from womm.fileserver.contents.blocks import Blocks
from womm.fileserver.contents.contents import Contents
from womm.fileserver.control import Control
from womm.fileserver.listener import Keys, Listener
from womm.fileserver.owner import Owner
from womm.fileserver.tree.lookup import Lookup
from womm.fileserver.tree.table import Table
from womm.fileserver.tree.tree import Tree
from womm.share.fence import Fence
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.names import NamesLog
from womm.share.lazy.ssh import TaskKeys, connect
from womm.share.lazy.unsent import UnsentFiles
from womm.wire.control import decode_from_server, encode

KEYS = TaskKeys.make()
WAIT_S = 10.0


def write_secret(folder, keys=KEYS):
    folder.mkdir(exist_ok=True)
    for name, value in keys.secret().items():
        (folder / name).write_bytes(value)
    return folder


class ControlEnd:
    """The user's end of the control channel: `ask` sends a request and waits for its reply.

    A server that has no names is given those of `names`, which takes what it tells; with `gives` at once.
    """

    def __init__(self, channel, names, gives):
        self._channel = channel
        self.names = names
        self._gives = gives
        self._unread = b""
        self._waiting = {}
        self.hello = asyncio.get_running_loop().create_future()
        self._number = 0
        self.unsent = UnsentFiles()
        self.told: list[dict[str, Any]] = []
        """What it was told of them."""

    def received(self, data):
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            value = json.loads(line)
            if value.get("op") == "hello":
                self.names.greeted(value["generation"], value["change"])
                if self._gives and not value["whole"]:
                    self.hand_over()
                self.hello.set_result(value)
            elif value.get("op") == "names":
                self.names.add(line, reset="reset" in value)
                self.send("seen", number=value["number"])
            elif value.get("op") == "unsent":
                self.told.append(value)
                unsent: Any = decode_from_server(line)
                self.unsent.take(unsent)
            else:
                self._waiting.pop(value["id"]).set_result(value)

    def pause(self): ...

    def resume(self): ...

    def closed(self):
        for waiter in self._waiting.values():
            waiter.cancel()

    def hand_over(self):
        for piece in self.names.lines():
            self._channel.write(piece)
        self._channel.write(encode(self.names.hand_over()))

    def send(self, op, **fields):
        self._channel.write(json.dumps({"op": op, **fields}).encode() + b"\n")

    async def ask(self, op, **fields):
        self._number += 1
        waiter = self._waiting[self._number] = asyncio.get_running_loop().create_future()
        self._channel.write(json.dumps({"id": self._number, "op": op, **fields}).encode() + b"\n")
        return await asyncio.wait_for(waiter, 60)


class UserSide:
    """Serves `folder`, and dials a socket, or a port of this machine.

    export: an ExportedFolder, perhaps one with a fault.
    """

    def __init__(self, folder, keys=KEYS, export=ExportedFolder):
        self.keys = keys
        self.export = export(Fence(folder))
        self.names = NamesLog(os.stat(folder).st_dev)
        self.gives = True
        self.connection: Any = None
        self.control: Any = None

    async def dial(self, path, delay=None):
        loop = asyncio.get_running_loop()
        made = loop.create_future()

        def control(channel):
            end = ControlEnd(channel, self.names, self.gives)
            made.set_result(end)
            return end

        self.connection = await connect(
            lambda factory: (
                loop.create_connection(factory, "127.0.0.1", path)
                if isinstance(path, int)
                else loop.create_unix_connection(factory, str(path))
            ),
            self.keys,
            self.export,
            control,
        )
        self.control = await asyncio.wait_for(made, WAIT_S)
        await asyncio.wait_for(self.control.hello, WAIT_S)
        return self.control

    def close(self):
        self.export.close()
        self.names.close()

    async def cut(self):
        if self.connection is not None:
            self.connection.abort()
            await self.connection.wait_closed()
            self.connection = None


class Lazy:
    """The parts of a lazy file server, and a user's side that is connected. Use it in `async with`.

    `user`: an earlier one's, which the caller closes.
    """

    def __init__(
        self,
        top,
        folder,
        *,
        keys=KEYS,
        cache_bytes=1 << 30,
        memory_bytes=64 << 20,
        log_bytes=1 << 30,
        user=None,
        connects=True,
        export=ExportedFolder,
        static=False,
    ):
        self._static = static
        self.log_bytes = log_bytes
        self.user: Any = user
        self._export = export
        self._connects = connects
        self.keys = keys
        self.top, self.folder = Path(top), Path(folder)
        self.socket = self.folder / "share"
        self.options = cache_bytes, memory_bytes

    async def __aenter__(self):
        self.folder.mkdir(exist_ok=True)
        async with AsyncExitStack() as stack:
            self.table = Table(self.folder / "state")
            stack.callback(self.table.close)
            self.blocks = Blocks(self.folder / "cache", *self.options)
            stack.callback(self.blocks.close)
            self.link = UserLink()
            self.tree = Tree(self.table, lambda node: self.blocks.drop(node.fileid), static=self._static)
            self.lookup = Lookup(self.tree, self.link)
            self.contents = Contents(
                self.lookup,
                self.blocks,
                self.folder / "state" / "spool",
                log_bytes=self.log_bytes,
            )

            async def gone(timeout_s):
                return True

            self.fs = CachedFilesystem(self.lookup, self.contents, 0, 0)
            self.owner = Owner(self.folder / "state", 0, 0, self.fs.own)
            self.server = Control(self.table, self.tree, self.contents, self.link, self.owner, gone=gone)
            listener = Listener(
                self.socket,
                Keys(write_secret(self.folder / "secret", self.keys)),
                self.link,
                connected=self.server.connected,
                received=self.server.received,
                lost=self.contents.flusher.advance,
            )
            await listener.start()
            stack.push_async_callback(listener.stop)
            stack.push_async_callback(self.server.stop)
            if self.user is None:
                self.user = UserSide(self.top, self.keys, self._export)
                stack.callback(self.user.close)
            await self.fs.start()
            stack.push_async_callback(self.fs.stop)
            stack.push_async_callback(self.user.cut)
            if self._connects:
                await self.connect()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc):
        await self._stack.aclose()

    async def connect(self):
        await self.user.dial(self.socket)
        await self.link.wait()

    async def cut(self):
        await self.user.cut()
        while self.link.up:
            await asyncio.sleep(0.01)


@contextmanager
def failing_close(monkeypatch, path, number):
    """Meanwhile the disk says at close(2) what it should have said at write(2): NFS does, over quota."""
    real = os.close

    def close(fd):
        writes = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        mine = writes and os.readlink(f"/proc/self/fd/{fd}") == str(path)
        real(fd)
        if mine:
            raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", close)
        yield


def descriptors(path):
    """How many descriptors of this process lead to what has a path that begins so."""
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    return sum(os.readlink(link).startswith(str(path)) for link in links if os.path.lexists(link))


def fresh_folder():
    """A short path: Unix sockets have 108 bytes."""
    return Path(tempfile.mkdtemp(prefix="womm-fs-"))


def remove(folder):
    shutil.rmtree(folder, ignore_errors=True)


def run(work):
    async def limited():
        async with asyncio.timeout(900 if SOAK else 120):
            await work()

    asyncio.run(limited())

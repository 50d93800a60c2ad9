"""The pod's side of a lazy share, as far as its tests need one: asyncssh's client behind a Unix socket."""

import asyncio
import json
import os
import socket
import stat
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import asyncssh
import pytest
from asyncssh.constants import FXP_EXTENDED_REPLY, FXP_NAME
from asyncssh.packet import Byte, String, UInt32, UInt64
from asyncssh.sftp import SFTPAttrs, SFTPClientHandler

READ, WRITE = 1, 2
NONE = SFTPAttrs()
CREATE_NEW, CREATE_TRUNCATE, OPEN_EXISTING, OPEN_OR_CREATE, TRUNCATE_EXISTING = range(5)


class Handler(SFTPClientHandler):
    """SFTP with womm's own requests."""

    _return_types = {  # noqa: RUF012
        **SFTPClientHandler._return_types,
        b"tree@womm": FXP_NAME,
        b"stats@womm": FXP_NAME,
        b"get@womm": FXP_EXTENDED_REPLY,
        b"put@womm": FXP_EXTENDED_REPLY,
        b"seek@womm": FXP_EXTENDED_REPLY,
    }

    async def tree(self, path, most):
        reply: Any = await self._make_request(b"tree@womm", String(path), UInt32(most))
        names, at_end = reply
        return [(name.filename, name.attrs) for name in names], at_end

    async def stats(self, paths):
        strings = b"".join(map(String, paths))
        reply: Any = await self._make_request(b"stats@womm", UInt32(len(paths)), strings)
        return {name.filename: name.attrs for name in reply[0]}

    async def get(self, path, offset=0, most=1 << 20):
        packet: Any = await self._make_request(b"get@womm", String(path), UInt64(offset), UInt32(most))
        attrs = SFTPAttrs.decode(packet, 6)
        return attrs, packet.get_string(), packet.get_boolean()

    async def put(self, path, data, flags=1, offset=0, attrs=None):
        packet: Any = await self._make_request(
            b"put@womm",
            String(path),
            UInt32(flags),
            UInt64(offset),
            String(data),
            (attrs or SFTPAttrs()).encode(6),
        )
        return SFTPAttrs.decode(packet, 6)

    async def mknod(self, path, mode):
        await self._make_request(b"mknod@womm", String(path), UInt32(mode))

    async def seek(self, path, offset, data):
        packet: Any = await self._make_request(b"seek@womm", String(path), UInt64(offset), UInt32(data))
        return packet.get_uint64()

    async def access(self, path, mode):
        await self._make_request(b"access@womm", String(path), UInt32(mode))

    async def make_link(self, target, path, symbolic):
        await self._make_request(21, String(path), String(target), Byte(symbolic))

    async def names(self, path):
        handle = await self.opendir(path)
        found: list[Any] = []
        with suppress(asyncssh.SFTPEOFError):
            at_end = False
            while not at_end:
                names, at_end = await self.readdir(handle)
                found += names
        await self.close(handle)
        return {name.filename: name.attrs for name in found if name.filename not in (b".", b"..")}

    async def read_all(self, path):
        handle = await self.open56(path, READ, OPEN_EXISTING, SFTPAttrs())
        parts: list[bytes] = []
        try:
            while True:
                data, at_end = await self.read(handle, sum(map(len, parts)), 1 << 18)
                parts.append(data)
                if at_end:
                    break
        except asyncssh.SFTPEOFError:
            pass
        finally:
            await self.close(handle)
        return b"".join(parts)

    async def write_all(self, path, data, how=CREATE_TRUNCATE):
        handle = await self.open56(path, WRITE, how, SFTPAttrs())
        try:
            await self.write(handle, 0, data)
        finally:
            await self.close(handle)


def pairs(attrs):
    """The extended pairs as a dictionary of numbers."""
    return {name: int(value) for name, value in attrs.extended}


def mode_of(attrs):
    """st_mode: asyncssh gives the type apart from the permissions."""
    kinds = {1: stat.S_IFREG, 2: stat.S_IFDIR, 3: stat.S_IFLNK, 9: stat.S_IFIFO}
    return kinds[attrs.type] | attrs.permissions


def number_of(error):
    """The errno in a status message."""
    word = error.reason.split()[0]
    assert word.startswith("errno=")
    return int(word[6:])


class Pod:
    """Listens, and is the SSH client of whoever dials. `dial` is for the user's side."""

    def __init__(self, path, keys, *, greeting=b"womm bridge\n"):
        self.path = str(path)
        self.keys = keys
        self.greeting = greeting
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen()
        self.listener.setblocking(False)
        self.ssh: Any = None
        self.sftp: Any = None
        self.connection: Any = None
        self.export: Any = None
        self.said: list[str] = []
        self.lost: list[str] = []
        self.dials = 0
        self.refuses = False

    async def dial(self, factory):
        self.dials += 1
        if self.refuses:
            raise ConnectionRefusedError("the pod is away")
        return await asyncio.get_running_loop().create_unix_connection(factory, self.path)

    async def accept(self, **options):
        """Take the next connection and log in."""
        sock, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        sock.send(self.greeting)
        options = {
            "username": "womm",
            "client_keys": [asyncssh.import_private_key(self.keys.client_private)],
            "known_hosts": ([asyncssh.import_public_key(self.keys.host_public)], [], []),
            "encryption_algs": ["aes128-gcm@openssh.com"],
            "compression_algs": None,
            "agent_path": None,
            "config": None,
            **options,
        }
        try:
            self.ssh = await asyncssh.connect("share", 22, sock=sock, **options)
        except BaseException:
            sock.close()
            raise
        return self.ssh

    async def open_sftp(self, version=6):
        writer, reader, _ = await self.ssh.open_session(
            subsystem="sftp", encoding=None, window=16 << 20, max_pktsize=512 << 10
        )
        self.sftp = Handler(asyncio.get_running_loop(), "strict", reader, writer, version)
        await self.sftp.start()
        self.ssh.create_task(self.sftp.recv_packets())
        return self.sftp

    async def close(self):
        self.listener.close()
        os.unlink(self.path)
        await self.hang_up()

    async def hang_up(self):
        """As a cut: nothing is said."""
        if self.ssh is not None:
            self.ssh.abort()
            await self.ssh.wait_closed()
            self.ssh = None


class Control:
    """The file server's end of the control channel."""

    def __init__(self, pod, epoch="e1"):
        self.pod = pod
        self.epoch = epoch
        self.heard: list[dict[str, Any]] = []

    async def open(self, version=2, hello=True, **facts):
        self.writer, self.reader, _ = await self.pod.ssh.open_session(subsystem="womm-control", encoding=None)
        if hello:
            facts = {"whole": True, "generation": 1, "change": 1, **facts}
            self.say({"op": "hello", "epoch": self.epoch, "version": version, **facts})

    def say(self, message):
        self.writer.write(json.dumps(message).encode() + b"\n")

    async def hear(self, op=None):
        message = json.loads(await self.reader.readuntil(b"\n"))
        self.heard.append(message)
        assert op is None or message["op"] == op
        return message

    async def answer(self, op, **fields):
        message = await self.hear(op)
        self.say({"id": message["id"], "ok": True, **fields})
        return message


@contextmanager
def fails(*numbers):
    with pytest.raises(asyncssh.SFTPError) as caught:
        yield caught
    assert number_of(caught.value) in numbers, caught.value


@asynccontextmanager
async def with_sftp(serving, **options):
    """Give the client's handler and the pod."""

    async with serving(**options) as pod:
        yield pod.sftp, pod

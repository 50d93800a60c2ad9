"""Where the user's side comes in: the socket, the newest connection, strangers, keys that do not fit."""

import asyncio
import json
import os
import resource
import socket
import stat
from contextlib import asynccontextmanager

import asyncssh
import pytest

from tests.fileserver.lazy import KEYS, UserSide, write_secret
from tests.loop import until
from womm.errors import WommError
from womm.fileserver.connection import UserLink
from womm.fileserver.listener import Keys, Listener
from womm.share.lazy.ssh import TaskKeys

HELLO = {"op": "hello", "version": 2, "generation": 0, "change": 0, "whole": True}


class Served:
    """A listener, its link, and what it has called."""

    def __init__(self, place):
        self.path = place / "deep" / "share"
        self.link = UserLink()
        self.events: list[bytes | str] = []
        self.listener = Listener(
            self.path,
            Keys(write_secret(place / "secret")),
            self.link,
            connected=self._connected,
            received=lambda lines, line: self.events.append(line),
            lost=lambda: self.events.append("lost"),
        )

    def _connected(self, lines):
        self.events.append("connected")
        lines.send(json.dumps(HELLO).encode() + b"\n")


@asynccontextmanager
async def _listening(place):
    served = Served(place)
    await served.listener.start()
    try:
        yield served
    finally:
        await served.listener.stop()
    assert not served.path.exists() and not served.link.up


@asynccontextmanager
async def _user(top, keys=KEYS):
    user = UserSide(top, keys)
    try:
        yield user
    finally:
        await user.cut()
        user.close()


async def test_socket_is_the_servers_users_only_and_takes_the_place_of_an_old_one(place):
    (place / "deep").mkdir()
    (place / "deep" / "share").write_text("what an earlier server has left")
    before = os.umask(0o022)
    os.umask(before)
    async with _listening(place) as served:
        found = served.path.stat()
        assert stat.S_ISSOCK(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o600
        assert os.umask(before) == before


async def test_connection_is_greeted_and_its_lines_are_received(place, top):
    async with _listening(place) as served, _user(top) as user:
        await user.dial(served.path)
        assert await served.link.wait() is served.link.session()
        user.control.send("words", number=1)
        await until(lambda: len(served.events) > 1)
        assert served.events == ["connected", b'{"op": "words", "number": 1}']


async def test_newest_connection_replaces_the_one_before(place, top):
    async with _listening(place) as served, _user(top) as one, _user(top) as two:
        await one.dial(served.path)
        first = await served.link.wait()
        await two.dial(served.path)
        assert await served.link.wait() is not first
        await asyncio.wait_for(one.connection.wait_closed(), 60)
        assert served.link.connections == 2
        # Its end is not the end of the link.
        assert served.events == ["connected", "connected"] and served.link.up


async def test_end_of_the_connection_is_told_once_and_the_next_one_is_taken(place, top):
    async with _listening(place) as served, _user(top) as user:
        await user.dial(served.path)
        await served.link.wait()
        await user.cut()
        await until(lambda: not served.link.up)
        assert served.events == ["connected", "lost"]
        await user.dial(served.path)
        await served.link.wait()
        assert served.events == ["connected", "lost", "connected"]


@pytest.mark.parametrize("words", [b"", b"GET / HTTP/1.0\r\n\r\n", b"SSH-2.0-x\r\n" + bytes(range(256)) * 8])
async def test_stranger_does_not_disturb_the_link(place, top, words):
    async with _listening(place) as served, _user(top) as user:
        await user.dial(served.path)
        session = await served.link.wait()
        reader, writer = await asyncio.open_unix_connection(str(served.path))
        writer.write(words)
        writer.write_eof()
        await reader.read()  # until the server ends it
        writer.close()
        assert served.link.session() is session
        assert served.events == ["connected"]


async def test_stranger_that_says_nothing_keeps_nobody_out(place, top):
    async with _listening(place) as served, _user(top) as user:
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(str(served.path))
            await user.dial(served.path)
            await served.link.wait()


async def test_user_with_the_keys_of_another_task_is_refused(place, top):
    async with _listening(place) as served, _user(top) as user, _user(top, TaskKeys.make()) as other:
        await user.dial(served.path)
        session = await served.link.wait()
        with pytest.raises((asyncssh.Error, OSError, TimeoutError)):
            await asyncio.wait_for(other.dial(served.path), 10)
        assert served.link.session() is session and served.events == ["connected"]


async def test_connection_that_comes_when_no_descriptor_is_free_waits_for_one(place, top, caplog):
    async with _listening(place) as served, _user(top) as user:
        with socket.socket(socket.AF_UNIX) as early:
            early.setblocking(False)
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            with open(os.devnull) as free:
                lowest = free.fileno()
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
            try:
                early.connect(str(served.path))
                await until(lambda: "has to wait" in caplog.text)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await user.dial(served.path)
        await served.link.wait()
        assert served.events == ["connected"]


async def test_listener_that_never_started_stops(place):
    await Served(place).listener.stop()


# -- keys ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["host_key.pub", "client_key"])
@pytest.mark.parametrize(
    "content", [None, b"", b"?", b"\xff" * 100, b"-----BEGIN OPENSSH PRIVATE KEY-----\n"]
)
def test_key_that_is_missing_or_none_is_named(tmp_path, name, content):
    secret = write_secret(tmp_path / "secret")
    if content is None:
        (secret / name).unlink()
    else:
        (secret / name).write_bytes(content)
    with pytest.raises(WommError) as caught:
        Keys(secret)
    assert str(secret) in str(caught.value)
    assert content is not None or name in str(caught.value)

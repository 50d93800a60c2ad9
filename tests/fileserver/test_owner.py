"""All files belong to the user that the workers run as, from when that is known; over restarts, too."""

import asyncio
import logging
import os
import select
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.fileserver.client import make
from tests.fileserver.lazy import Lazy, write_secret
from tests.fileserver.process import FileServer
from tests.fileserver.test_unsent_teller import Client
from tests.loop import until
from tests.nfs import builder as nfs
from womm.link.frames import User
from womm.nfs.constants import Attr, Op
from womm.nfs.xdr import Reader
from womm.share.eager.owner import tell_owner
from womm.share.eager.stream import LocalStore
from womm.share.lazy.connection import LazyConnection

WANT_ALL = 0x3FF


async def _owner(fs, node=None):
    found = await fs.getattr(node or fs.root(), WANT_ALL)
    return found.uid, found.gid


async def test_owner_that_is_told_is_everybodys_and_kept_over_a_restart(top, place):
    async with Lazy(top, place) as lazy:
        node = await make(lazy.fs, b"f", b"x")
        assert await _owner(lazy.fs, node) == (0, 0)
        answers = [await lazy.user.control.ask("owner", uid=1000, gid=100) for _ in range(2)]
        assert [answer["changed"] for answer in answers] == [True, False]
        assert await _owner(lazy.fs, node) == await _owner(lazy.fs) == (1000, 100)
        assert (await lazy.user.control.ask("flush"))["ok"]
    # On the user's disk they are the user's.
    assert (top / "f").stat().st_uid == os.getuid()
    async with Lazy(top, place) as lazy:
        assert await _owner(lazy.fs) == (1000, 100)


@pytest.mark.parametrize("uid", [-1, 0xFFFFFFFF, "root", None])
async def test_owner_that_is_none_is_not_taken(top, place, uid, caplog):
    caplog.set_level(logging.WARNING)

    async with Lazy(top, place) as lazy:
        lazy.user.control.send("owner", uid=uid, gid=0)
        assert (await lazy.user.control.ask("flush"))["ok"]
        assert await _owner(lazy.fs) == (0, 0)
        assert "no request of the control channel" in caplog.text


def _seen(client, export):
    """The owner of an export's root, by GETATTR."""
    there = [nfs.lookup(part) for part in export.strip("/").encode().split(b"/")]
    reply = client(nfs.putrootfh(), *there, nfs.getattr_(Attr.OWNER, Attr.OWNER_GROUP))
    reader = Reader(reply.value(Op.GETATTR)[1])
    return reader.text(20), reader.text(20)


async def test_share_tells_the_owner_again_to_a_server_that_has_lost_its_disk(top, place):
    share = LazyConnection(top, on_lost=print, on_disk_lost=lambda: None, say=print)
    server = FileServer(place / "s", "--grace", "0")
    write_secret(server.secret, share.keys)
    export = "/womm-" + (server.secret / "export").read_text()
    loop = asyncio.get_running_loop()

    async def seen():
        client = await asyncio.to_thread(Client, server.port)
        try:
            return await asyncio.to_thread(_seen, client, export)
        finally:
            client.close()

    try:
        server.start()
        share.start(lambda factory: loop.create_unix_connection(factory, str(server.socket)))
        await share.ready()
        assert await seen() == (b"0", b"0")
        assert await share.own(1000, 100)
        assert await seen() == (b"1000", b"100")
        server.kill()
        await until(lambda: not share.connected)
        for path in sorted((server.folder / "state").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        await asyncio.to_thread(server.start)
        await until(lambda: share.connected)
        await share.flush()  # what was sent before it is done
        assert await seen() == (b"1000", b"100")
    finally:
        server.kill()
        await share.close()


@contextmanager
def _local(place, port=0):
    """A file server of a directory of its own."""
    words = ["--local", place / "files", "--secret", place / "secret", "--state", place / "state"]
    argv = [sys.executable, "-m", "womm.fileserver", *words, "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen([*map(str, argv), "--grace", "0"], stdout=subprocess.PIPE) as process:
        out = process.stdout
        assert out is not None
        try:
            line = out.readline() if select.select([out], [], [], 60)[0] else b""
            yield int(line.split(b"=")[-1])
        finally:
            process.send_signal(signal.SIGKILL)


async def test_program_in_its_pod_tells_the_server_of_a_directory(place):
    secret = write_secret(place / "secret")
    export = "/womm-" + (secret / "export").read_text()

    def seen(port):
        client = Client(port)
        try:
            return _seen(client, export)
        finally:
            client.close()

    with _local(place) as port:
        assert seen(port) == (b"0", b"0")
        async with LocalStore() as store:

            def dial(command):
                return store.exec_dial([sys.executable if word == "python3" else word for word in command])

            await tell_owner(dial, str(place / "state"), User(1000, 100))
        assert seen(port) == (b"1000", b"100")
    with _local(place) as port:
        assert seen(port) == (b"1000", b"100")

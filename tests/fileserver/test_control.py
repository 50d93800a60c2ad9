"""The file server's end of the control channel: bad lines, and requests that nobody knows."""

import json

from tests.fileserver.client import make
from tests.fileserver.lazy import Lazy


async def raw(lazy, line):
    """Send a line as it is, and wait until a later request is answered."""
    lazy.user.control._channel.write(line + b"\n")
    assert (await lazy.user.control.ask("stats"))["ok"]


async def test_bad_lines_are_of_no_matter(top, place, caplog):
    async with Lazy(top, place) as lazy:
        for line in (
            b"x",
            b"[]",
            b'{"op":"stats"}',
            b'{"op":"later"}',
            b'{"id":1,"op":"owner","uid":-1,"gid":0}',
            b'{"op":"names","number":1,"rows":[[1]]}',
            b'{"id":1,"op":"changed","paths":["\\ud800"]}',
            b"[" * 100_000,
        ):
            await raw(lazy, line)
        assert lazy.link.up and lazy.link.connections == 1
        assert lazy.owner.now == (0, 0)
    assert caplog.text.count("no request of the control channel") == 8


async def test_a_request_that_nobody_knows_is_refused(top, place):
    async with Lazy(top, place) as lazy:
        found = await lazy.user.control.ask("later")
        assert found == {"id": found["id"], "ok": False, "error": "unknown"}


async def test_an_owner_without_a_number_is_set_and_not_answered(top, place):
    async with Lazy(top, place) as lazy:
        await raw(lazy, json.dumps({"op": "owner", "uid": 5, "gid": 6}).encode())
        assert lazy.owner.now == (5, 6)
        assert (await lazy.user.control.ask("owner", uid=5, gid=6))["changed"] is False
        assert (await lazy.user.control.ask("owner", uid=5, gid=7))["changed"] is True


async def test_what_a_flush_told_is_told_again_until_it_is_seen(top, place):
    async with Lazy(top, place) as lazy:
        await make(lazy.fs, b"a", b"data")
        first = await lazy.user.control.ask("flush", seen=0)
        assert first["changed"] == ["a"] and first["bytes"] == 4
        second = await lazy.user.control.ask("flush", seen=0)
        assert second["changed"] == ["a"]
        third = await lazy.user.control.ask("flush", seen=second["id"])
        assert third == {"id": third["id"], "ok": True, "bytes": 0, "changed": [], "lost": []}

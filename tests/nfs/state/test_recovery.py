"""What survives a restart: identity, secrets, and who may reclaim."""

import pytest

from tests.nfs.builder import (
    Bench,
    Clock,
    lock,
    open_,
    putfh,
    putrootfh,
    write,
)
from womm.nfs.backends.memory import MemoryFilesystem
from womm.nfs.constants import Op
from womm.nfs.status import Status
from womm.nfs.xdr import pack_u32


def test_restarted_server_gives_back_what_was_held(tmp_path):
    filesystem, state, clock = MemoryFilesystem(), tmp_path / "state.json", Clock()
    with Bench(filesystem, state_file=state, clock=clock) as bench:
        instance = bench.server.state.stable.instance
        one, two = bench.session(b"one"), bench.session(b"two")
        stateid, handle = one.open(b"f", deny=2)
        held = one.ok(putfh(handle), lock(2, 0, 10, of=stateid, owner=b"l")).value(Op.LOCK)
        assert held
        _, other_handle = two.open(b"g")
        verifier = one.ok(putfh(handle), write(b"x", stateid, stable=0)).value(Op.WRITE)[2]
    with Bench(filesystem, state_file=state, clock=clock, seed=2) as bench:
        assert bench.server.state.stable.instance == instance
        newcomer = bench.session(b"three")
        assert newcomer.call(putrootfh(), open_(b"f")).status is Status.GRACE
        assert newcomer.call(putfh(handle), write(b"x")).status is Status.GRACE
        assert newcomer.call(putfh(handle), open_(None, claim=1)).status is Status.NO_GRACE
        again = bench.session(b"one", reclaim_complete=False)
        assert again.call(putrootfh(), open_(b"f")).status is Status.GRACE
        stateid = again.ok(putfh(handle), open_(None, claim=1, deny=2)).value(Op.OPEN)["stateid"]
        again.ok(putfh(handle), lock(2, 0, 10, of=stateid, owner=b"l", reclaim=True))
        assert again.ok(putfh(handle), write(b"x", stateid, stable=0)).value(Op.WRITE)[2] != verifier
        again.ok(pack_u32(Op.RECLAIM_COMPLETE) + pack_u32(0))
        assert again.call(pack_u32(Op.RECLAIM_COMPLETE) + pack_u32(0)).status is Status.COMPLETE_ALREADY
        assert again.call(putfh(handle), open_(None, claim=1)).status is Status.NO_GRACE
        assert newcomer.call(putrootfh(), open_(b"f")).status is Status.GRACE
        last = bench.session(b"two", reclaim_complete=False)
        opened = last.ok(putfh(other_handle), open_(None, claim=1)).value(Op.OPEN)["stateid"]
        last.ok(pack_u32(Op.RECLAIM_COMPLETE) + pack_u32(0))
        # Everyone is back: the grace period is over.
        assert newcomer.call(putrootfh(), open_(b"f")).status is Status.SHARE_DENIED
        assert opened
    assert filesystem.open_files == 0


def test_server_whose_state_file_is_lost_keeps_its_handles_and_no_clients(tmp_path):
    filesystem, clock, identity = MemoryFilesystem(), Clock(), bytes(range(48))
    with Bench(filesystem, state_file=tmp_path / "one", clock=clock, identity=identity) as bench:
        one = bench.session(b"one")
        stateid, handle = one.open(b"f")
        one.ok(putfh(handle), write(b"x", stateid))
        id_ = bench.server.state.stable.instance
    with Bench(filesystem, state_file=tmp_path / "two", clock=clock, seed=2, identity=identity) as bench:
        assert bench.server.state.stable.instance == id_
        one = bench.session(b"one", reclaim_complete=False)
        assert one.call(putfh(handle), write(b"y", stateid)).status is Status.BAD_STATEID
        assert one.call(putfh(handle), open_(None, claim=1)).status is Status.NO_GRACE
        one.ok(pack_u32(Op.RECLAIM_COMPLETE) + pack_u32(0))
        again = one.ok(putfh(handle), open_(None, claim=4)).value(Op.OPEN)["stateid"]
        one.ok(putfh(handle), write(b"y", again))


def test_grace_ends_with_time_and_who_did_not_reclaim_never_may(tmp_path):
    filesystem, state, clock = MemoryFilesystem(), tmp_path / "state.json", Clock()
    with Bench(filesystem, state_file=state, clock=clock) as bench:
        _, handle = bench.session(b"one").open(b"f")
    with Bench(filesystem, state_file=state, clock=clock, seed=2) as bench:
        two = bench.session(b"two")
        assert two.call(putrootfh(), open_(b"g", create=0)).status is Status.GRACE
        clock.now += 91
        two = bench.session(b"two", b"second..")
        two.open(b"g")
    with Bench(filesystem, state_file=state, clock=clock, seed=3) as bench:
        one = bench.session(b"one", reclaim_complete=False)
        assert one.call(putfh(handle), open_(None, claim=1)).status is Status.NO_GRACE


def test_second_restart_within_the_grace_period_loses_nobody(tmp_path):
    filesystem, state, clock = MemoryFilesystem(), tmp_path / "state.json", Clock()
    with Bench(filesystem, state_file=state, clock=clock) as bench:
        _, handle = bench.session(b"one").open(b"f")
    for seed in (2, 3):
        with Bench(filesystem, state_file=state, clock=clock, seed=seed):
            clock.now += 10
    with Bench(filesystem, state_file=state, clock=clock, seed=4) as bench:
        one = bench.session(b"one", reclaim_complete=False)
        one.ok(putfh(handle), open_(None, claim=1))


def test_state_file_that_is_none_is_named(tmp_path):
    from womm.nfs.state.recovery import StateError

    path = tmp_path / "state.json"
    for text in (b"", b"{}", b'{"version": 2}', b"\xff", b'{"version": 1, "boot": "x"}'):
        path.write_bytes(text)
        with pytest.raises(StateError, match=r"state\.json"):
            Bench(state_file=path).__enter__()


def test_state_file_is_private_and_whole_at_any_time(tmp_path):
    path = tmp_path / "state.json"
    with Bench(state_file=path) as bench:
        bench.session(b"one").open(b"f")
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"one".hex() in path.read_text()
        assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]

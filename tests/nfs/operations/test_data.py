"""READ, WRITE, COMMIT, and SEEK, ALLOCATE, DEALLOCATE, COPY, IO_ADVISE of 4.2."""

from struct import pack

import pytest

from tests.nfs.builder import (
    CURRENT,
    close,
    commit,
    getfh,
    lookup,
    open_,
    plain,
    putfh,
    putrootfh,
    read,
    write,
)
from womm.nfs.constants import Op
from womm.nfs.state.records import Stateid
from womm.nfs.status import Status
from womm.nfs.xdr import pack_u32


@pytest.mark.parametrize("minor", [1, 2])
def test_write_and_read_back_with_the_current_stateid(bench, minor):
    session = bench.session(minor=minor)
    reply = session.ok(putrootfh(), open_(b"f", create=0), write(b"hello", CURRENT, 3), getfh())
    assert reply.value(Op.WRITE)[:2] == (5, 2)
    handle, stateid = reply.value(Op.GETFH), reply.value(Op.OPEN)["stateid"]
    assert session.ok(putfh(handle), read(stateid)).value(Op.READ) == (True, b"\0\0\0hello")
    assert session.ok(putfh(handle), read(stateid, 0, 4)).value(Op.READ) == (False, b"\0\0\0h")
    assert session.ok(putfh(handle), read(stateid, 100, 4)).value(Op.READ) == (True, b"")
    assert session.ok(putfh(handle), commit()).value(Op.COMMIT) == reply.value(Op.WRITE)[2]
    session.ok(putfh(handle), close(stateid))
    assert session.call(putfh(handle), read(stateid)).status is Status.BAD_STATEID


def test_read_and_write_with_special_stateids(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    session.ok(putfh(handle), close(stateid))
    session.ok(putfh(handle), write(b"x"))
    assert session.ok(putfh(handle), read(Stateid(0xFFFFFFFF, b"\xff" * 12))).value(Op.READ) == (True, b"x")
    assert session.call(putrootfh(), read()).status is Status.ISDIR


@pytest.mark.parametrize(
    ("offset", "size", "status"),
    [
        (2**63 - 1, 0, Status.OK),
        (2**63 - 2, 1, Status.OK),
        (2**63 - 1, 1, Status.FBIG),
        (2**63, 1, Status.FBIG),
        (2**64 - 1, 1, Status.INVAL),
    ],
)
def test_write_at_the_end_of_all_offsets(bench, offset, size, status):
    session = bench.session()
    stateid, handle = session.open(b"f")
    assert session.call(putfh(handle), write(b"x" * size, stateid, offset)).status is status
    session.ok(putfh(handle), close(stateid))


def test_write_with_an_open_for_reading_is_openmode(bench):
    session = bench.session()
    stateid, handle = session.open(b"f", access=1)
    assert session.call(putfh(handle), write(b"x", stateid)).status is Status.OPENMODE
    other, _ = session.open(b"g")
    assert session.call(putfh(handle), write(b"x", other)).status is Status.BAD_STATEID
    for each, of in ((stateid, b"f"), (other, b"g")):
        session.ok(putrootfh(), lookup(of), close(each))


def test_seek_copy_allocate_of_4_2(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    session.ok(putfh(handle), write(b"data", stateid, 1 << 20))
    seek = pack_u32(Op.SEEK) + stateid.pack()
    assert session.ok(putfh(handle), seek + pack(">QI", 0, 0)).value(Op.SEEK) == (False, 1 << 20)
    assert session.ok(putfh(handle), seek + pack(">QI", 0, 1)).value(Op.SEEK) == (False, 0)
    assert session.call(putfh(handle), seek + pack(">QI", 1 << 30, 0)).status is Status.NXIO
    target, other = session.open(b"g")
    copy = pack_u32(Op.COPY) + stateid.pack() + target.pack() + pack(">QQQIII", 1 << 20, 0, 4, 1, 1, 0)
    assert session.ok(putfh(handle), plain(Op.SAVEFH), putfh(other), copy).value(Op.COPY)[1] == 4
    assert session.ok(putfh(other), read(target)).value(Op.READ) == (True, b"data")
    session.ok(putfh(other), pack_u32(Op.ALLOCATE) + target.pack() + pack(">QQ", 0, 10))
    session.ok(putfh(other), pack_u32(Op.DEALLOCATE) + target.pack() + pack(">QQ", 0, 2))
    assert session.ok(putfh(other), read(target)).value(Op.READ) == (True, b"\0\0ta" + bytes(6))
    session.ok(putfh(handle), close(stateid), putfh(other), close(target))


def test_read_beyond_the_largest_offset_is_the_end(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    assert session.ok(putfh(handle), read(stateid, 2**64 - 1, 10)).value(Op.READ) == (True, b"")
    session.ok(putfh(handle), close(stateid))

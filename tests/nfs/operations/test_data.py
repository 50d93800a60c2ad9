"""READ, WRITE, COMMIT, and SEEK, ALLOCATE, DEALLOCATE, COPY, IO_ADVISE of 4.2."""

from struct import pack

import pytest

from tests.nfs.builder import (
    CURRENT,
    close,
    commit,
    fattr,
    getfh,
    lookup,
    mkdir,
    open_,
    plain,
    putfh,
    putrootfh,
    read,
    symlink,
    write,
)
from womm.nfs.constants import Op
from womm.nfs.state.records import Stateid
from womm.nfs.status import Status
from womm.nfs.xdr import pack_opaque, pack_u32


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


def _copy(source, target, *numbers):
    """`numbers`: offset in the source, in the target, count."""
    return pack_u32(Op.COPY) + source.pack() + target.pack() + pack(">QQQIII", *numbers, 1, 1, 0)


@pytest.mark.parametrize(
    ("offset", "target_offset", "count", "status"),
    [
        (0, 4, 4, Status.OK),
        (4, 0, 4, Status.OK),
        (0, 3, 4, Status.INVAL),  # RFC 7862 15.2.3: ranges of one file must not overlap
        (3, 0, 4, Status.INVAL),
        (0, 0, 0, Status.INVAL),
        (0, 2**63, 1, Status.INVAL),
        (2**64 - 1, 0, 1, Status.INVAL),
        (0, 2**64 - 1, 2**64 - 1, Status.INVAL),
    ],
)
def test_copy_within_one_file_must_not_overlap(bench, offset, target_offset, count, status):
    session = bench.session()
    stateid, handle = session.open(b"f")
    session.ok(putfh(handle), write(b"01234567", stateid))
    request = _copy(stateid, stateid, offset, target_offset, count)
    assert session.call(putfh(handle), plain(Op.SAVEFH), request).status is status
    expected = {4: b"01230123", 0: b"45674567"}[target_offset] if status is Status.OK else b"01234567"
    assert session.ok(putfh(handle), read(stateid)).value(Op.READ) == (True, expected)
    session.ok(putfh(handle), close(stateid))


def test_copy_needs_two_regular_files_here_and_copies_to_the_end_with_0(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    session.ok(putfh(handle), write(b"content", stateid))
    target, other = session.open(b"g")
    whole = _copy(stateid, target, 3, 1, 0)
    assert session.call(putfh(other), whole).status is Status.NOFILEHANDLE
    assert session.call(putrootfh(), plain(Op.SAVEFH), putfh(other), whole).status is Status.ISDIR
    elsewhere = whole[:-4] + pack(">II", 1, 1) + pack_opaque(b"another server")
    assert session.call(putfh(handle), plain(Op.SAVEFH), putfh(other), elsewhere).status is Status.NOTSUPP
    done = session.ok(putfh(handle), plain(Op.SAVEFH), putfh(other), whole).value(Op.COPY)
    assert done[1] == 4
    assert session.ok(putfh(other), read(target)).value(Op.READ) == (True, b"\0tent")
    # The stateids belong to their files.
    swapped = _copy(target, stateid, 0, 0, 1)
    asked = (putfh(handle), plain(Op.SAVEFH), putfh(other), swapped)
    assert session.call(*asked).status is Status.BAD_STATEID
    session.ok(putfh(handle), close(stateid), putfh(other), close(target))


def test_arguments_of_data_operations_are_checked(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    at, state = putfh(handle), stateid.pack()
    for request, status in (
        (write(b"x", stateid, stable=3), Status.BADXDR),
        (pack_u32(Op.COMMIT) + pack(">QI", 2**64 - 1, 1), Status.INVAL),
        (pack_u32(Op.COMMIT) + pack(">QI", 2**64 - 1, 0), Status.OK),
        (pack_u32(Op.SEEK) + state + pack(">QI", 0, 2), Status.UNION_NOTSUPP),
        (pack_u32(Op.SEEK) + state + pack(">QI", 2**64 - 1, 0), Status.NXIO),
        (pack_u32(Op.ALLOCATE) + state + pack(">QQ", 0, 0), Status.INVAL),
        (pack_u32(Op.ALLOCATE) + state + pack(">QQ", 2**63, 1), Status.FBIG),
        (pack_u32(Op.ALLOCATE) + state + pack(">QQ", 1, 2**64 - 1), Status.FBIG),
        (pack_u32(Op.DEALLOCATE) + state + pack(">QQ", 1, 2**64 - 1), Status.INVAL),
        (pack_u32(Op.IO_ADVISE) + state + pack(">QQI", 0, 0, 0), Status.OK),
        (pack_u32(Op.IO_ADVISE) + b"\1" * 16 + pack(">QQI", 0, 0, 0), Status.BAD_STATEID),
        (pack_u32(Op.IO_ADVISE) + state + pack(">QQI", 0, 0, 1), Status.BADXDR),
    ):
        assert session.call(at, request).status is status, request
    session.ok(at, close(stateid))


@pytest.mark.parametrize(
    ("minor", "name", "status"),
    [
        (0, b"d", Status.ISDIR),
        (0, b"l", Status.INVAL),
        (0, b"p", Status.INVAL),
        (2, b"d", Status.ISDIR),
        (2, b"l", Status.SYMLINK),
        (2, b"p", Status.WRONG_TYPE),
    ],
)
def test_data_of_what_is_no_regular_file_is_refused(bench, minor, name, status):
    bench.ok(putrootfh(), mkdir(b"d"), putrootfh(), symlink(b"l", b"d"))
    bench.ok(putrootfh(), pack(">II", Op.CREATE, 7) + pack_opaque(b"p") + fattr())
    call = bench.session().call if minor else bench.call
    for request in (read(), write(b"x"), commit()):
        assert call(putrootfh(), lookup(name), request).status is status

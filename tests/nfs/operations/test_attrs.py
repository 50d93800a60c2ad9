"""GETATTR, SETATTR, VERIFY, NVERIFY, and extended attributes."""

from struct import pack

import pytest

from tests.nfs.builder import (
    ZERO,
    fattr,
    getattr_,
    lookup,
    mkdir,
    putrootfh,
    setattr_,
    symlink,
    values_of,
)
from womm.nfs.constants import Attr, Op
from womm.nfs.rpc import Credential
from womm.nfs.status import Status
from womm.nfs.xdr import Reader, pack_opaque, pack_u32


def test_getattr_returns_what_is_supported_in_order(bench):
    reply = bench.ok(putrootfh(), getattr_(Attr.TYPE, Attr.LEASE_TIME, Attr.MODE, Attr.MAXREAD))
    assert values_of(reply.value(Op.GETATTR), "IIQI") == (2, 90, 1 << 20, 0o755)
    # 12 is the ACL, which is not supported: it is left out.
    found = bench.ok(putrootfh(), pack(">III", Op.GETATTR, 1, 1 << 12 | 1 << 1)).value(Op.GETATTR)
    assert found == (1 << 1, pack(">I", 2))


def test_supported_attributes_can_all_be_read(bench):
    for minor, call in ((0, bench.ok), (2, bench.session(minor=2).ok)):
        _, data = call(putrootfh(), getattr_(Attr.SUPPORTED_ATTRS)).value(Op.GETATTR)
        supported = Reader(data).bitmap()
        write_only = 1 << Attr.TIME_ACCESS_SET | 1 << Attr.TIME_MODIFY_SET | 1 << Attr.MODE_UMASK
        wanted = [attribute for attribute in Attr if (supported & ~write_only) >> attribute & 1]
        found, _ = call(putrootfh(), getattr_(*wanted)).value(Op.GETATTR)
        assert found == supported & ~write_only
        assert bool(supported >> Attr.XATTR_SUPPORT & 1) == (minor == 2)


@pytest.mark.parametrize("attribute", [Attr.TIME_ACCESS_SET, Attr.TIME_MODIFY_SET])
def test_attributes_that_can_only_be_set_cannot_be_read(bench, attribute):
    assert bench.call(putrootfh(), getattr_(attribute)).status is Status.INVAL


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({Attr.MODE: pack(">I", 0o640)}, Status.OK),
        ({Attr.MODE: pack(">I", 0o100000)}, Status.INVAL),
        ({Attr.TYPE: pack(">I", 1)}, Status.INVAL),
        ({Attr.OWNER: pack_opaque(b"12")}, Status.OK),
        ({Attr.OWNER: pack_opaque(b"someone@example.org")}, Status.BADOWNER),
        ({Attr.OWNER: pack_opaque(b"4294967295")}, Status.BADOWNER),
        ({Attr.TIME_MODIFY_SET: pack(">I", 0)}, Status.OK),
        ({Attr.TIME_MODIFY_SET: pack(">IqI", 1, -5, 999_999_999)}, Status.OK),
        ({Attr.TIME_MODIFY_SET: pack(">IqI", 1, 5, 1_000_000_000)}, Status.INVAL),
        ({Attr.SIZE: pack(">Q", 1)}, Status.ISDIR),
    ],
)
def test_setattr_checks_what_it_is_given(bench, values, status):
    reply = bench.call(putrootfh(), setattr_(values))
    assert reply.status is status
    assert reply.value(Op.SETATTR) == (
        sum(1 << attribute for attribute in values) if status is Status.OK else 0
    )


def test_setattr_of_an_unknown_attribute_is_attrnotsupp(bench):
    reply = bench.call(putrootfh(), pack_u32(Op.SETATTR) + ZERO.pack() + pack(">III", 1, 1 << 12, 0))
    assert reply.status is Status.ATTRNOTSUPP


def test_verify_and_nverify_compare(bench):
    same = fattr({Attr.TYPE: pack(">I", 2)})
    other = fattr({Attr.TYPE: pack(">I", 1)})
    assert bench.call(putrootfh(), pack_u32(Op.VERIFY) + same).status is Status.OK
    assert bench.call(putrootfh(), pack_u32(Op.VERIFY) + other).status is Status.NOT_SAME
    assert bench.call(putrootfh(), pack_u32(Op.NVERIFY) + same).status is Status.SAME
    assert bench.call(putrootfh(), pack_u32(Op.NVERIFY) + other).status is Status.OK


def test_xattrs_of_4_2(bench):
    session = bench.session()
    name = pack_opaque(b"color")
    at = (putrootfh(), mkdir(b"d"))
    session.ok(*at, pack(">II", Op.SETXATTR, 1) + name + pack_opaque(b"red"))
    at = (putrootfh(), lookup(b"d"))
    assert session.call(*at, pack(">II", Op.SETXATTR, 1) + name + pack_opaque(b"x")).status is Status.EXIST
    assert session.ok(*at, pack_u32(Op.GETXATTR) + name).value(Op.GETXATTR) == b"red"
    listed = session.ok(*at, pack(">IQI", Op.LISTXATTRS, 0, 4096)).value(Op.LISTXATTRS)
    assert listed == (1, [b"color"], True)
    session.ok(*at, pack_u32(Op.REMOVEXATTR) + name)
    assert session.call(*at, pack_u32(Op.GETXATTR) + name).status is Status.NOXATTR
    assert session.call(*at, pack(">II", Op.SETXATTR, 2) + name + pack_opaque(b"x")).status is Status.NOXATTR


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        (b"x" * 248, b"", Status.OK),
        (b"x" * 249, b"", Status.NAMETOOLONG),
        (b"", b"", Status.INVAL),
        (b"a\0b", b"", Status.INVAL),
        (b"\xff\n.", b"\0\xff", Status.OK),
        (b"n", b"x" * 65536, Status.OK),
        (b"n", b"x" * 65537, Status.XATTR2BIG),
    ],
)
def test_names_and_values_of_extended_attributes_have_their_limits(bench, name, value, status):
    session = bench.session()
    asked = pack(">II", Op.SETXATTR, 0) + pack_opaque(name) + pack_opaque(value)
    assert session.call(putrootfh(), asked).status is status
    if status is Status.OK:
        found = session.ok(putrootfh(), pack_u32(Op.GETXATTR) + pack_opaque(name))
        assert found.value(Op.GETXATTR) == value
    else:
        listed = session.ok(putrootfh(), pack(">IQI", Op.LISTXATTRS, 0, 4096))
        assert listed.value(Op.LISTXATTRS) == (0, [], True)


def test_extended_attributes_are_of_files_and_directories_only(bench):
    bench.ok(putrootfh(), symlink(b"l", b"t"))
    session = bench.session()
    asked = pack(">II", Op.SETXATTR, 0) + pack_opaque(b"n") + pack_opaque(b"v")
    assert session.call(putrootfh(), lookup(b"l"), asked).status is Status.PERM
    how = pack(">II", Op.SETXATTR, 3) + pack_opaque(b"n") + pack_opaque(b"v")
    assert session.call(putrootfh(), how).status is Status.BADXDR


@pytest.mark.parametrize("limit", [32, 40, 60, 4096])
def test_list_of_extended_attributes_is_whole_however_it_is_cut(bench, limit):
    session = bench.session()
    names = [b"n%d" % number + b"x" * number for number in range(8)]
    for name in names:
        session.ok(putrootfh(), pack(">II", Op.SETXATTR, 0) + pack_opaque(name) + pack_opaque(b""))
    seen, cookie, eof = [], 0, False
    while not eof:
        found = session.ok(putrootfh(), pack(">IQI", Op.LISTXATTRS, cookie, limit)).value(Op.LISTXATTRS)
        cookie, part, eof = found
        # The reply's cookie, number of names, names and eof: what the client has said that it takes.
        assert 16 + sum(len(pack_opaque(name)) for name in part) <= limit
        seen += part
    assert seen == sorted(names)
    assert session.call(putrootfh(), pack(">IQI", Op.LISTXATTRS, 9, limit)).status is Status.BAD_COOKIE
    assert session.call(putrootfh(), pack(">IQI", Op.LISTXATTRS, 0, 20)).status is Status.TOOSMALL


def test_set_and_compare_refuse_what_only_others_may_ask(bench):
    umask = {Attr.MODE_UMASK: pack(">II", 0o777, 0o22)}
    assert bench.session().call(putrootfh(), setattr_(umask)).status is Status.INVAL  # RFC 8275 6
    error = fattr({Attr.RDATTR_ERROR: pack_u32(0)})
    assert bench.call(putrootfh(), pack_u32(Op.VERIFY) + error).status is Status.INVAL
    once = fattr({Attr.TIME_MODIFY_SET: pack_u32(0)})
    assert bench.call(putrootfh(), pack_u32(Op.NVERIFY) + once).status is Status.INVAL
    # A value that is longer, or shorter, is another one.
    for data in (b"", pack(">II", 2, 0)):
        other = pack(">II", 1, 1 << Attr.TYPE) + pack_opaque(data)
        assert bench.call(putrootfh(), pack_u32(Op.VERIFY) + other).status is Status.NOT_SAME


@pytest.mark.parametrize(
    ("uid", "values", "status"),
    [
        (7, {Attr.MODE: pack_u32(0o600)}, Status.OK),
        (8, {Attr.MODE: pack_u32(0o600)}, Status.PERM),
        (7, {Attr.OWNER: pack_opaque(b"7")}, Status.OK),  # as it is
        (7, {Attr.OWNER: pack_opaque(b"8")}, Status.PERM),
        (7, {Attr.OWNER_GROUP: pack_opaque(b"70")}, Status.OK),
        (7, {Attr.OWNER_GROUP: pack_opaque(b"71")}, Status.OK),
        (7, {Attr.OWNER_GROUP: pack_opaque(b"0")}, Status.PERM),
        (8, {Attr.OWNER_GROUP: pack_opaque(b"71")}, Status.PERM),
        (7, {Attr.TIME_MODIFY_SET: pack(">IqI", 1, 5, 0)}, Status.OK),
        (8, {Attr.TIME_MODIFY_SET: pack(">IqI", 1, 5, 0)}, Status.PERM),
        (8, {Attr.TIME_MODIFY_SET: pack_u32(0)}, Status.OK),  # who may write it may touch it
        (9, {Attr.TIME_MODIFY_SET: pack_u32(0)}, Status.ACCESS),
    ],
)
def test_attributes_are_set_by_whom_posix_lets(bench, uid, values, status):
    bench.ok(putrootfh(), mkdir(b"d", {Attr.MODE: pack_u32(0o720)}))
    owned = {Attr.OWNER: pack_opaque(b"7"), Attr.OWNER_GROUP: pack_opaque(b"5")}
    bench.ok(putrootfh(), lookup(b"d"), setattr_(owned))
    caller = Credential(uid, 70, (71, 5) if uid != 9 else (71,))
    assert bench.call(putrootfh(), lookup(b"d"), setattr_(values), credential=caller).status is status

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
    values_of,
)
from womm.nfs.constants import Attr, Op
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

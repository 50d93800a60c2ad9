"""fattr4: what is read of a file, byte by byte, and what a client may set."""

import itertools
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.nfs.attributes import (
    SETTABLE,
    SUPPORTED,
    WRITE_ONLY,
    Describe,
    Subject,
    check_readable,
    decode_settings,
    mask_of,
    pack_id,
    plan,
)
from womm.nfs.constants import Attr, FileType
from womm.nfs.filesystem import NOW, WANT_MODE, WANT_SIZE, WANT_TIMES, Attributes, Limits, Settings, Space
from womm.nfs.status import NFSError, Status
from womm.nfs.xdr import BadXDR, Reader, pack_bitmap, pack_opaque, pack_u32, pack_u64

FILE = Attributes(
    FileType.REGULAR,
    fileid=2**64 - 1,
    change=7,
    size=2**63 - 1,
    mode=0o7777,
    nlink=3,
    uid=4294967294,
    gid=0,
    used=4096,
    major=8,
    minor=1,
    atime_ns=-1,
    mtime_ns=1_999_999_999,
    ctime_ns=0,
)
DESCRIBE = Describe((5, 6), 90, Limits(xattrs=True), pack_id, pack_id)


def _subject(**fields):
    return Subject(FILE, DESCRIBE, handle=b"handle", **fields)


def _encode(*wanted, minor=2, **fields):
    """Return the values of these attributes."""
    encoded = plan(mask_of(wanted), minor).encode(_subject(**fields))
    reader = Reader(encoded)
    assert reader.bitmap() == mask_of(wanted)
    values = reader.text(1 << 16)
    assert reader.left == 0
    return values


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (Attr.TYPE, pack_u32(1)),
        (Attr.SIZE, pack_u64(2**63 - 1)),
        (Attr.FILEID, pack_u64(2**64 - 1)),
        (Attr.MODE, pack_u32(0o7777)),
        (Attr.OWNER, pack_opaque(b"4294967294")),
        (Attr.OWNER_GROUP, pack_opaque(b"0")),
        (Attr.RAWDEV, pack(">II", 8, 1)),
        # Nanoseconds are never negative: the second before the epoch has 999,999,999 of them.
        (Attr.TIME_ACCESS, pack(">qI", -1, 999_999_999)),
        (Attr.TIME_MODIFY, pack(">qI", 1, 999_999_999)),
        (Attr.TIME_METADATA, pack(">qI", 0, 0)),
        (Attr.FSID, pack(">QQ", 5, 6)),
        (Attr.FILEHANDLE, pack_opaque(b"handle")),
        (Attr.MOUNTED_ON_FILEID, pack_u64(2**64 - 1)),
        (Attr.XATTR_SUPPORT, pack_u32(1)),
    ],
)
def test_attribute_is_encoded_as_its_rfc_has_it(attribute, value):
    assert _encode(attribute) == value


def test_values_come_in_the_order_of_their_numbers():
    wanted = [Attr.TIME_MODIFY, Attr.MODE, Attr.TYPE, Attr.SIZE, Attr.OWNER, Attr.NUMLINKS]
    assert _encode(*wanted) == b"".join(_encode(attribute) for attribute in sorted(wanted))


@given(st.sets(st.sampled_from([a for a in Attr if SUPPORTED[2] & ~WRITE_ONLY & mask_of([a])])))
def test_any_set_of_attributes_is_its_attributes_in_a_row(wanted):
    space = Space(1, 2, 3, 4, 5, 6)
    each = [_encode(attribute, space=space) for attribute in sorted(wanted)]
    assert _encode(*wanted, space=space) == b"".join(each)


@pytest.mark.parametrize("minor", [0, 1, 2])
def test_attributes_that_a_minor_version_lacks_are_left_out(minor):
    found = plan((2**100 - 1) & ~WRITE_ONLY, minor)
    assert found.mask == SUPPORTED[minor] & ~WRITE_ONLY
    assert bool(found.mask >> Attr.XATTR_SUPPORT & 1) == (minor == 2)
    assert bool(found.mask >> Attr.SUPPATTR_EXCLCREAT & 1) == (minor > 0)
    assert plan(1 << 200, minor).encode(_subject()) == pack_u32(0) + pack_u32(0)


@pytest.mark.parametrize("attribute", [Attr.TIME_ACCESS_SET, Attr.TIME_MODIFY_SET, Attr.MODE_UMASK])
def test_attribute_that_can_only_be_set_is_not_readable(attribute):
    check_readable((2**100 - 1) & ~WRITE_ONLY)
    with pytest.raises(NFSError) as caught:
        check_readable(mask_of([Attr.SIZE, attribute]))
    assert caught.value.status is Status.INVAL


def test_backend_is_asked_only_for_what_is_wanted():
    assert plan(mask_of([Attr.SIZE, Attr.MODE]), 0).want == WANT_SIZE | WANT_MODE
    assert plan(mask_of([Attr.LEASE_TIME, Attr.FSID, Attr.MAXNAME]), 0).want == 0
    assert plan(mask_of([Attr.TIME_MODIFY]), 0).want == WANT_TIMES
    assert not plan(mask_of([Attr.SIZE]), 0).needs_space and not plan(mask_of([Attr.SIZE]), 0).needs_handle
    assert plan(mask_of([Attr.SPACE_FREE]), 0).needs_space
    assert plan(mask_of([Attr.FILEHANDLE]), 0).needs_handle


def test_space_is_that_of_the_filesystem_and_0_where_there_is_none():
    wanted = [Attr.FILES_AVAIL, Attr.FILES_FREE, Attr.FILES_TOTAL]
    wanted += [Attr.SPACE_AVAIL, Attr.SPACE_FREE, Attr.SPACE_TOTAL]
    assert _encode(*wanted, space=Space(1, 2, 3, 4, 5, 6)) == pack(">6Q", 6, 5, 4, 3, 2, 1)
    assert _encode(*wanted) == bytes(48)


# -- what a client sets ----------------------------------------------------------------------------------
def _decode(values, minor=2, mask=None):
    mask = mask_of(values) if mask is None else mask
    data = b"".join(values[attribute] for attribute in sorted(values))
    return decode_settings(Reader(pack_bitmap(mask) + pack_opaque(data)), minor)


def _refusal(values, minor=2, mask=None):
    with pytest.raises(NFSError) as caught:
        _decode(values, minor, mask)
    return caught.value.status


def test_all_that_can_be_set_is_read():
    found = _decode(
        {
            Attr.SIZE: pack_u64(2**64 - 1),
            Attr.MODE: pack_u32(0o7777),
            Attr.OWNER: pack_opaque(b"0"),
            Attr.OWNER_GROUP: pack_opaque(b"4294967294"),
            Attr.TIME_ACCESS_SET: pack_u32(0),
            Attr.TIME_MODIFY_SET: pack(">IqI", 1, -1, 999_999_999),
        }
    )
    assert found.settings == Settings(0o7777, 0, 4294967294, 2**64 - 1, NOW, -1)
    assert found.umask is None


def test_nothing_is_set_by_an_empty_fattr():
    assert _decode({}).settings == Settings()


def test_mode_umask_gives_the_mode_without_the_bits_of_the_umask():
    found = _decode({Attr.MODE_UMASK: pack_u32(0o2777) + pack_u32(0o7027)})
    assert (found.settings.mode, found.umask) == (0o2750, 0o027)
    assert _refusal({Attr.MODE: pack_u32(0o600), Attr.MODE_UMASK: pack(">II", 0o600, 0)}) is Status.INVAL
    assert _refusal({Attr.MODE_UMASK: pack(">II", 0o600, 0)}, minor=1) is Status.ATTRNOTSUPP


@pytest.mark.parametrize(
    "name",
    [b"-1", b"+1", b" 1", b"1 ", b"01", b"00", b"1.0", b"root", b"root@x", b"\xb2", b"4294967295", b"9" * 11],
)
def test_owner_that_is_no_number_of_a_user_is_a_bad_owner(name):
    assert _refusal({Attr.OWNER: pack_opaque(name)}) is Status.BADOWNER
    assert _refusal({Attr.OWNER_GROUP: pack_opaque(name)}) is Status.BADOWNER


@pytest.mark.parametrize("attribute", sorted(Attr))
def test_attribute_that_cannot_be_set_is_invalid(attribute):
    if SETTABLE >> attribute & 1:
        return
    supported = SUPPORTED[2] >> attribute & 1
    assert _refusal({}, mask=1 << attribute) is (Status.INVAL if supported else Status.ATTRNOTSUPP)


@pytest.mark.parametrize(
    ("values", "mask"),
    [
        ({Attr.SIZE: pack_u32(1)}, None),
        ({Attr.SIZE: pack_u64(1) + b"\0\0\0\0"}, None),
        ({Attr.SIZE: pack_u64(1)}, 0),
        ({Attr.TIME_MODIFY_SET: pack_u32(2)}, None),
        ({Attr.OWNER: pack_u32(1 << 30)}, None),
    ],
)
def test_values_that_do_not_fit_their_bitmap_are_bad_xdr(values, mask):
    with pytest.raises(BadXDR):
        _decode(values, mask=mask)


def test_every_cut_of_a_fattr_is_bad_xdr():
    values = {Attr.MODE: pack_u32(0o600), Attr.OWNER: pack_opaque(b"12345")}
    whole = pack_bitmap(mask_of(list(values))) + pack_opaque(b"".join(values[a] for a in sorted(values)))
    for size in range(len(whole)):
        with pytest.raises(BadXDR):
            decode_settings(Reader(whole[:size]), 2)


@given(st.integers(0, 2**90 - 1), st.binary(max_size=64), st.sampled_from([0, 1, 2]))
def test_random_fattr_is_read_or_refused(mask, data, minor):
    try:
        found = decode_settings(Reader(pack_bitmap(mask) + pack_opaque(data)), minor)
    except (NFSError, BadXDR):
        return
    assert found.mask == mask and not mask & ~SETTABLE


def test_plans_of_all_pairs_give_what_their_attributes_give_alone():
    readable = [a for a in Attr if SUPPORTED[0] & ~WRITE_ONLY & mask_of([a])]
    alone = {attribute: _encode(attribute, minor=0) for attribute in readable}
    for one, two in itertools.combinations(readable, 2):
        assert _encode(one, two, minor=0) == alone[one] + alone[two]

"""COMPOUNDs: legality by minor version, file handles, attributes, names, data, errors."""

from struct import pack

import pytest

from tests.nfs.builder import (
    CURRENT,
    ROOT_USER,
    ZERO,
    Bench,
    access,
    close,
    commit,
    exchange_id,
    fattr,
    getattr_,
    getfh,
    lookup,
    mkdir,
    named,
    open_,
    plain,
    putfh,
    putrootfh,
    read,
    readdir,
    rename,
    sequence,
    setattr_,
    symlink,
    write,
)
from womm.nfs import Export, Limits
from womm.nfs.backends.memory import MemoryFilesystem
from womm.nfs.constants import Attr, Op
from womm.nfs.rpc import Credential
from womm.nfs.state.records import Stateid
from womm.nfs.status import Status
from womm.nfs.xdr import Reader, pack_opaque, pack_u32


@pytest.fixture
def bench():
    with Bench() as found:
        yield found


# -- which operations are legal ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("minor", "op", "status"),
    [
        (0, 2, Status.OP_ILLEGAL),
        (0, 40, Status.OP_ILLEGAL),
        (0, Op.SEQUENCE, Status.OP_ILLEGAL),
        (0, Op.OPENATTR, Status.NOTSUPP),
        (0, Op.DELEGRETURN, Status.NOTSUPP),
        (1, 0, Status.OP_ILLEGAL),
        (1, Op.ALLOCATE, Status.OP_ILLEGAL),
        (1, Op.PUTROOTFH, Status.OP_NOT_IN_SESSION),
        (2, 76, Status.OP_ILLEGAL),
        (2, 0xFFFFFFFF, Status.OP_ILLEGAL),
    ],
)
def test_first_operation_that_is_not_legal_says_why(bench, minor, op, status):
    reply = bench.call(pack_u32(op), minor=minor)
    assert reply.status is status
    assert reply.results == [(Op.ILLEGAL if status is Status.OP_ILLEGAL else op, status, None)]


@pytest.mark.parametrize(
    ("minor", "op", "status"),
    [
        (1, Op.SETCLIENTID, Status.NOTSUPP),
        (1, Op.RENEW, Status.NOTSUPP),
        (1, Op.OPEN_CONFIRM, Status.NOTSUPP),
        (1, Op.RELEASE_LOCKOWNER, Status.NOTSUPP),
        (1, Op.SEEK, Status.OP_ILLEGAL),
        (1, Op.SEQUENCE, Status.SEQUENCE_POS),
        (1, Op.LAYOUTGET, Status.NOTSUPP),
        (2, Op.CLONE, Status.NOTSUPP),
        (2, Op.READ_PLUS, Status.NOTSUPP),
        (2, Op.OFFLOAD_STATUS, Status.NOTSUPP),
        (2, 99, Status.OP_ILLEGAL),
    ],
)
def test_operation_in_a_session_that_is_not_legal_says_why(bench, minor, op, status):
    session = bench.session(minor=minor)
    assert session.call(pack_u32(op)).status is status


def test_minor_version_3_is_a_mismatch_without_results(bench):
    reply = bench.call(putrootfh(), minor=3)
    assert (reply.status, reply.results) == (Status.MINOR_VERS_MISMATCH, [])


def test_exchange_id_beside_another_operation_is_refused(bench):
    reply = bench.call(exchange_id(b"verifier", b"x"), putrootfh(), minor=1)
    assert reply.status is Status.NOT_ONLY_OP


def test_empty_compound_is_ok(bench):
    assert bench.call().results == []
    assert bench.call(minor=1).results == []


def test_more_operations_than_granted_is_refused(bench):
    session = bench.session()
    assert session.call(*[putrootfh()] * 16).status is Status.TOO_MANY_OPS
    session.seqids[0] -= 1  # an error of SEQUENCE leaves the slot as it was (RFC 8881 18.46.3)
    assert session.call(*[putrootfh()] * 15).status is Status.OK
    assert bench.call(*[putrootfh()] * 257).status is Status.RESOURCE


def test_nothing_runs_after_the_first_error(bench):
    reply = bench.call(putrootfh(), lookup(b"none"), mkdir(b"never"))
    assert [status for _, status, _ in reply.results] == [Status.OK, Status.NOENT]
    assert not bench.ok(putrootfh(), readdir()).value(Op.READDIR)["entries"]


def test_truncated_arguments_are_badxdr(bench):
    assert bench.call(putrootfh(), lookup(b"name")[:-4]).status is Status.BADXDR


# -- file handles --------------------------------------------------------------------------------------
@pytest.mark.parametrize("op", [Op.GETFH, Op.READLINK, Op.LOOKUPP, Op.GETATTR])
def test_operation_without_a_file_handle_says_so(bench, op):
    assert bench.call(pack_u32(op)).status is Status.NOFILEHANDLE


def test_file_handles_that_the_server_did_not_make_are_refused(bench):
    handle = bench.ok(putrootfh(), mkdir(b"d"), getfh()).value(Op.GETFH)
    assert bench.ok(putfh(handle), getfh()).value(Op.GETFH) == handle
    for index in range(len(handle)):
        forged = handle[:index] + bytes([handle[index] ^ 1]) + handle[index + 1 :]
        assert bench.call(putfh(forged)).status is Status.BADHANDLE
        assert bench.call(putfh(handle[:index])).status is Status.BADHANDLE
    assert bench.call(putfh(handle + b"\0" * 100)).status is Status.BADXDR
    with Bench(seed=2) as another:
        assert another.call(putfh(handle)).status is Status.BADHANDLE


def test_handle_of_a_removed_file_is_stale(bench):
    handle = bench.ok(putrootfh(), mkdir(b"d"), getfh()).value(Op.GETFH)
    bench.ok(putrootfh(), named(Op.REMOVE, b"d"))
    assert bench.call(putfh(handle), getattr_(Attr.TYPE)).status is Status.STALE


def test_saved_file_handle_is_restored(bench):
    one = bench.ok(putrootfh(), mkdir(b"one"), plain(Op.SAVEFH), putrootfh(), plain(Op.RESTOREFH), getfh())
    assert one.value(Op.GETFH) == bench.ok(putrootfh(), lookup(b"one"), getfh()).value(Op.GETFH)
    assert bench.call(putrootfh(), plain(Op.RESTOREFH)).status is Status.RESTOREFH
    assert bench.session().call(putrootfh(), plain(Op.RESTOREFH)).status is Status.NOFILEHANDLE


def test_lookupp_goes_up_and_ends_at_the_root(bench):
    bench.ok(putrootfh(), mkdir(b"d"), mkdir(b"e"))
    up = bench.ok(putrootfh(), lookup(b"d"), lookup(b"e"), plain(Op.LOOKUPP), getfh()).value(Op.GETFH)
    assert up == bench.ok(putrootfh(), lookup(b"d"), getfh()).value(Op.GETFH)
    assert bench.call(putrootfh(), plain(Op.LOOKUPP)).status is Status.NOENT


# -- names ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "status"),
    [
        (b"", Status.INVAL),
        (b".", Status.BADNAME),
        (b"..", Status.BADNAME),
        (b"a/b", Status.BADCHAR),
        (b"a\0b", Status.BADCHAR),
        (b"x" * 256, Status.NAMETOOLONG),
        (b"x" * 255, Status.OK),
        (b"\xff\xfe \n\\\"'*", Status.OK),
    ],
)
def test_names_are_any_bytes_but_slash_and_nul(bench, name, status):
    assert bench.call(putrootfh(), mkdir(name)).status is status
    if status is Status.OK:
        [(_, found, _)] = bench.ok(putrootfh(), readdir()).value(Op.READDIR)["entries"]
        assert found == name
        assert bench.call(putrootfh(), mkdir(name)).status is Status.EXIST


def test_lookup_in_what_is_no_directory(bench):
    bench.ok(putrootfh(), symlink(b"l", b"t"))
    assert bench.call(putrootfh(), lookup(b"l"), lookup(b"x")).status is Status.SYMLINK
    bench.ok(putrootfh(), pack(">II", Op.CREATE, 7) + pack_opaque(b"fifo") + fattr())
    assert bench.call(putrootfh(), lookup(b"fifo"), lookup(b"x")).status is Status.NOTDIR
    session = bench.session()
    assert session.call(putrootfh(), open_(b"fifo")).status is Status.WRONG_TYPE
    assert session.call(putrootfh(), lookup(b"l"), lookup(b"x")).status is Status.SYMLINK


def test_symlink_is_never_followed(bench):
    bench.ok(putrootfh(), mkdir(b"d"), putrootfh(), symlink(b"l", b"d"))
    assert bench.ok(putrootfh(), lookup(b"l"), plain(Op.READLINK)).value(Op.READLINK) == b"d"
    assert bench.call(putrootfh(), lookup(b"d"), plain(Op.READLINK)).status is Status.INVAL
    assert bench.session().call(putrootfh(), open_(b"l")).status is Status.SYMLINK


def test_rename_over_an_empty_directory_and_not_over_a_full_one(bench):
    bench.ok(putrootfh(), mkdir(b"a"), putrootfh(), mkdir(b"b"), mkdir(b"inside"))
    both = (putrootfh(), plain(Op.SAVEFH))
    assert bench.call(*both, rename(b"a", b"b")).status is Status.EXIST
    bench.ok(putrootfh(), lookup(b"b"), named(Op.REMOVE, b"inside"))
    bench.ok(*both, rename(b"a", b"b"))
    assert bench.call(putrootfh(), lookup(b"a")).status is Status.NOENT
    assert bench.call(putrootfh(), named(Op.REMOVE, b"a")).status is Status.NOENT


def test_change_info_of_a_directory_matches_its_change_attribute(bench):
    before = _values(bench.ok(putrootfh(), getattr_(Attr.CHANGE)).value(Op.GETATTR), "Q")[0]
    change, _ = bench.ok(putrootfh(), mkdir(b"d")).value(Op.CREATE)
    after = _values(bench.ok(putrootfh(), getattr_(Attr.CHANGE)).value(Op.GETATTR), "Q")[0]
    assert change == (True, before, after)
    assert after > before


def test_hard_links_share_one_file(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    session.ok(putfh(handle), plain(Op.SAVEFH), putrootfh(), named(Op.LINK, b"g"))
    assert session.ok(putrootfh(), lookup(b"g"), getfh()).value(Op.GETFH) == handle
    nlink = _values(session.ok(putfh(handle), getattr_(Attr.NUMLINKS)).value(Op.GETATTR), "I")[0]
    assert nlink == 2
    session.ok(putfh(handle), close(stateid))
    assert session.call(putrootfh(), plain(Op.SAVEFH), named(Op.LINK, b"h")).status is Status.ISDIR


# -- attributes ----------------------------------------------------------------------------------------
def _values(found, formats):
    import struct

    return struct.unpack(">" + formats, found[1])


def test_getattr_returns_what_is_supported_in_order(bench):
    reply = bench.ok(putrootfh(), getattr_(Attr.TYPE, Attr.LEASE_TIME, Attr.MODE, Attr.MAXREAD))
    assert _values(reply.value(Op.GETATTR), "IIQI") == (2, 90, 1 << 20, 0o755)
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


def test_access_follows_the_mode(bench):
    bench.ok(
        putrootfh(), mkdir(b"d", {Attr.MODE: pack(">I", 0o750)}), setattr_({Attr.OWNER: pack_opaque(b"7")})
    )
    asked = (putrootfh(), lookup(b"d"), access(0x3F))
    assert bench.ok(*asked).value(Op.ACCESS) == (0x1F, 0x1F)
    assert bench.ok(*asked, credential=Credential(7, 7)).value(Op.ACCESS) == (0x1F, 0x1F)
    assert bench.ok(*asked, credential=Credential(8, 0)).value(Op.ACCESS) == (0x1F, 0x03)
    assert bench.ok(*asked, credential=Credential(8, 8)).value(Op.ACCESS) == (0x1F, 0)
    assert (
        bench.call(putrootfh(), lookup(b"d"), lookup(b"x"), credential=Credential(8, 8)).status
        is Status.ACCESS
    )


# -- data ----------------------------------------------------------------------------------------------
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


# -- directories ---------------------------------------------------------------------------------------
def test_readdir_goes_on_from_any_cookie_while_the_directory_changes(bench):
    names = [b"n%03d" % number for number in range(200)]
    for name in names:
        bench.ok(putrootfh(), mkdir(name))
    seen, cookie, turn = [], 0, 0
    while True:
        found = bench.ok(putrootfh(), readdir(Attr.FILEID, cookie=cookie, limit=600)).value(Op.READDIR)
        seen += [name for _, name, _ in found["entries"]]
        if found["eof"]:
            break
        cookie = found["entries"][-1][0]
        bench.ok(putrootfh(), mkdir(b"new%d" % turn), putrootfh(), named(Op.REMOVE, seen[0]))
        seen, turn = seen[1:], turn + 1
        names = names[1:]
    assert [name for name in seen if not name.startswith(b"new")] == names
    assert turn > 10


def test_readdir_that_has_no_room_for_an_entry_is_toosmall(bench):
    bench.ok(putrootfh(), mkdir(b"x" * 200))
    assert bench.call(putrootfh(), readdir(limit=100)).status is Status.TOOSMALL
    assert bench.call(putrootfh(), readdir(cookie=1)).status is Status.BAD_COOKIE


def test_handles_of_more_files_than_are_kept_in_mind_are_found_again():
    with Bench(limits=Limits(handles=6)) as bench:
        handles = []
        for number in range(40):
            made = bench.ok(putrootfh(), mkdir(b"%d" % number), getfh())
            handles.append(made.value(Op.GETFH))
        for number in (*range(40), 39, 0, 0, 38, 0, 37, 0, 36, 0, 35, 0):
            again = (plain(Op.LOOKUPP), lookup(b"%d" % number), getfh())
            reply = bench.ok(putfh(handles[number]), getfh(), *again)
            assert [reply.value(Op.GETFH, nth) for nth in (0, 1)] == [handles[number]] * 2
        bench.ok(putrootfh(), named(Op.REMOVE, b"0"), putrootfh(), named(Op.REMOVE, b"7"))
        assert bench.call(putfh(handles[0])).status is Status.STALE
        assert bench.call(putfh(handles[7])).status is Status.STALE


# -- exports -------------------------------------------------------------------------------------------
def _exports():
    one, two, three = MemoryFilesystem(), MemoryFilesystem(), MemoryFilesystem()
    return [
        Export("/secret-0123456789", one),
        Export("/public/two", two, listed=True),
        Export("/public/ro", three, read_only=True, owner=(5, 6)),
    ]


def test_pseudo_root_lists_only_what_is_listed():
    with Bench(exports=_exports()) as bench:
        root = bench.ok(putrootfh(), readdir(Attr.TYPE)).value(Op.READDIR)["entries"]
        assert [name for _, name, _ in root] == [b"public"]
        inside = bench.ok(putrootfh(), lookup(b"public"), readdir(Attr.FILEHANDLE)).value(Op.READDIR)[
            "entries"
        ]
        assert [name for _, name, _ in inside] == [b"two"]
        assert bench.call(putrootfh(), lookup(b"secret-012345678")).status is Status.NOENT
        assert bench.call(putrootfh(), mkdir(b"x")).status is Status.ROFS
        bench.ok(putrootfh(), lookup(b"secret-0123456789"), mkdir(b"x"))
        up = bench.ok(putrootfh(), lookup(b"secret-0123456789"), plain(Op.LOOKUPP), getfh()).value(Op.GETFH)
        assert up == bench.ok(putrootfh(), getfh()).value(Op.GETFH)


def test_exports_have_filesystems_of_their_own():
    with Bench(exports=_exports()) as bench:
        fsids = {
            bench.ok(putrootfh(), *path, getattr_(Attr.FSID)).value(Op.GETATTR)[1]
            for path in ([], [lookup(b"secret-0123456789")], [lookup(b"public"), lookup(b"two")])
        }
        assert len(fsids) == 3
        moved = bench.call(
            putrootfh(), lookup(b"public"), lookup(b"two"), mkdir(b"d"), plain(Op.SAVEFH), putrootfh(),
            lookup(b"secret-0123456789"), rename(b"d", b"d"),
        )  # fmt: skip
        assert moved.status is Status.XDEV


def test_owner_of_an_export_is_everyones_and_chown_is_forgotten():
    filesystem = MemoryFilesystem()
    with Bench(exports=[Export("/", filesystem, owner=(5, 6))]) as bench:
        set_owner = {
            Attr.MODE: pack(">I", 0o700),
            Attr.OWNER: pack_opaque(b"1"),
            Attr.OWNER_GROUP: pack_opaque(b"2"),
        }
        bench.ok(putrootfh(), mkdir(b"d", set_owner), setattr_(set_owner))
        shown = bench.ok(putrootfh(), lookup(b"d"), getattr_(Attr.OWNER, Attr.OWNER_GROUP)).value(Op.GETATTR)[
            1
        ]
        assert shown == pack_opaque(b"5") + pack_opaque(b"6")
        # Any uid is the owner.
        bench.ok(putrootfh(), lookup(b"d"), mkdir(b"e"), credential=Credential(77, 77))


@pytest.mark.parametrize("paths", [["/", "/x"], ["/x", "/x"], ["/x", "/x/y"], ["x"], ["/a/../b"]])
def test_exports_that_do_not_fit_together_are_refused(paths):
    with (
        pytest.raises(ValueError, match="export"),
        Bench(exports=[Export(p, MemoryFilesystem()) for p in paths]),
    ):
        pass


def test_backend_that_is_away_is_delay_and_sessions_live_on(bench):
    session = bench.session()
    bench.memory.away = True
    assert session.call(putrootfh(), getattr_(Attr.SIZE)).status is Status.DELAY
    assert session.call(putrootfh(), mkdir(b"d")).status is Status.DELAY
    assert session.ok().status is Status.OK
    bench.memory.away = False
    session.ok(putrootfh(), mkdir(b"d"))


# -- sizes ---------------------------------------------------------------------------------------------
def test_reply_that_is_too_big_is_refused(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    session.ok(putfh(handle), write(b"x" * 20000, stateid))
    assert session.call(putfh(handle), read(stateid, 0, 20000), cache=True).results[-1][2][1] == b"x" * 3988
    reads = [read(stateid, 0, 3700)] * 3  # the second is cut short
    assert session.call(putfh(handle), *reads, cache=True).status is Status.REP_TOO_BIG_TO_CACHE
    session.ok(putfh(handle), close(stateid))


def test_request_that_is_too_big_is_refused(bench):
    session = bench.session()
    assert session.call(putrootfh(), write(b"x" * (1 << 20))).status is Status.REQ_TOO_BIG


def test_unknown_session_and_slot(bench):
    session = bench.session()
    assert bench.call(sequence(bytes(16), 1), minor=1).status is Status.BADSESSION
    assert bench.call(sequence(session.sessionid, 1, slot=16), minor=1).status is Status.BADSLOT
    assert bench.call(sequence(session.sessionid, 1, highest=16), minor=1).status is Status.BAD_HIGH_SLOT


def test_secinfo_names_auth_sys_and_uses_the_handle_up(bench):
    bench.ok(putrootfh(), mkdir(b"d"))
    assert bench.ok(putrootfh(), named(Op.SECINFO, b"d")).value(Op.SECINFO) == [1]
    session = bench.session()
    assert session.call(putrootfh(), named(Op.SECINFO, b"d"), getfh()).status is Status.NOFILEHANDLE
    assert session.ok(putrootfh(), pack(">II", Op.SECINFO_NO_NAME, 0)).value(Op.SECINFO_NO_NAME) == [1]


def test_credential_of_a_user_is_checked_on_disk_owners(bench):
    user = Credential(1000, 1000, (5,), b"m")
    assert bench.call(putrootfh(), mkdir(b"d"), credential=user).status is Status.ACCESS
    bench.ok(putrootfh(), setattr_({Attr.MODE: pack(">I", 0o1777)}))
    bench.ok(putrootfh(), mkdir(b"d"), credential=user)
    owner = bench.ok(putrootfh(), lookup(b"d"), getattr_(Attr.OWNER)).value(Op.GETATTR)[1]
    assert owner == pack_opaque(b"1000")
    other = Credential(1001, 1001)
    assert bench.call(putrootfh(), named(Op.REMOVE, b"d"), credential=other).status is Status.ACCESS
    chmod = (putrootfh(), lookup(b"d"), setattr_({Attr.MODE: pack(">I", 0o777)}))
    assert bench.call(*chmod, credential=other).status is Status.PERM
    bench.ok(*chmod, credential=user)
    bench.ok(putrootfh(), named(Op.REMOVE, b"d"), credential=ROOT_USER)


def test_read_beyond_the_largest_offset_is_the_end(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    assert session.ok(putfh(handle), read(stateid, 2**64 - 1, 10)).value(Op.READ) == (True, b"")
    session.ok(putfh(handle), close(stateid))

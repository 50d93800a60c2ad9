"""Operations on the current file handle: PUTFH to RESTOREFH, LOOKUP, SECINFO, ACCESS."""

from struct import pack

import pytest

from tests.nfs.builder import (
    Bench,
    access,
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
    setattr_,
    symlink,
)
from womm.nfs import Limits
from womm.nfs.constants import Attr, Op
from womm.nfs.rpc import Credential
from womm.nfs.status import Status
from womm.nfs.xdr import pack_opaque, pack_u32


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


def test_lookup_in_what_is_no_directory(bench):
    bench.ok(putrootfh(), symlink(b"l", b"t"))
    assert bench.call(putrootfh(), lookup(b"l"), lookup(b"x")).status is Status.SYMLINK
    bench.ok(putrootfh(), pack(">II", Op.CREATE, 7) + pack_opaque(b"fifo") + fattr())
    assert bench.call(putrootfh(), lookup(b"fifo"), lookup(b"x")).status is Status.NOTDIR
    session = bench.session()
    assert session.call(putrootfh(), open_(b"fifo")).status is Status.WRONG_TYPE
    assert session.call(putrootfh(), lookup(b"l"), lookup(b"x")).status is Status.SYMLINK


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


def test_secinfo_names_auth_sys_and_uses_the_handle_up(bench):
    bench.ok(putrootfh(), mkdir(b"d"))
    assert bench.ok(putrootfh(), named(Op.SECINFO, b"d")).value(Op.SECINFO) == [1]
    session = bench.session()
    assert session.call(putrootfh(), named(Op.SECINFO, b"d"), getfh()).status is Status.NOFILEHANDLE
    assert session.ok(putrootfh(), pack(">II", Op.SECINFO_NO_NAME, 0)).value(Op.SECINFO_NO_NAME) == [1]

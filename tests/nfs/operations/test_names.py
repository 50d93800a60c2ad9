"""Directories: CREATE, LINK, REMOVE, RENAME, READDIR, READLINK."""

import os
from struct import pack

import pytest

from tests.nfs.builder import (
    ROOT_USER,
    Bench,
    close,
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
    readdir,
    rename,
    setattr_,
    symlink,
    values_of,
)
from womm.nfs.backends.local import LocalFilesystem
from womm.nfs.constants import Attr, Op
from womm.nfs.rpc import Credential
from womm.nfs.status import Status
from womm.nfs.xdr import pack_opaque


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
    before = values_of(bench.ok(putrootfh(), getattr_(Attr.CHANGE)).value(Op.GETATTR), "Q")[0]
    change, _ = bench.ok(putrootfh(), mkdir(b"d")).value(Op.CREATE)
    after = values_of(bench.ok(putrootfh(), getattr_(Attr.CHANGE)).value(Op.GETATTR), "Q")[0]
    assert change == (True, before, after)
    assert after > before


def test_hard_links_share_one_file(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    session.ok(putfh(handle), plain(Op.SAVEFH), putrootfh(), named(Op.LINK, b"g"))
    assert session.ok(putrootfh(), lookup(b"g"), getfh()).value(Op.GETFH) == handle
    nlink = values_of(session.ok(putfh(handle), getattr_(Attr.NUMLINKS)).value(Op.GETATTR), "I")[0]
    assert nlink == 2
    session.ok(putfh(handle), close(stateid))
    assert session.call(putrootfh(), plain(Op.SAVEFH), named(Op.LINK, b"h")).status is Status.ISDIR


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


@pytest.mark.parametrize("backend", ["memory", "local"])
def test_in_a_sticky_directory_only_owners_rename_and_replace(tmp_path, backend):
    one, two = Credential(1001, 1001), Credential(1002, 1002)
    if backend == "local" and os.getuid() != 0:
        return  # all files would be the server's
    with Bench(LocalFilesystem(tmp_path) if backend == "local" else None) as bench:
        bench.ok(putrootfh(), setattr_({Attr.MODE: pack(">I", 0o1777)}))
        bench.ok(putrootfh(), mkdir(b"one"), credential=one)
        bench.ok(putrootfh(), mkdir(b"two"), credential=two)
        at = (putrootfh(), plain(Op.SAVEFH))
        assert bench.call(*at, rename(b"one", b"free"), credential=two).status is Status.ACCESS
        assert bench.call(*at, rename(b"one", b"two"), credential=one).status is Status.ACCESS
        assert bench.call(*at, rename(b"none", b"free"), credential=one).status is Status.NOENT
        bench.ok(*at, rename(b"one", b"free"), credential=one)
        bench.ok(*at, rename(b"two", b"free"))


@pytest.mark.parametrize("kind", [0, 1, 8, 9, 0xFFFFFFFF])
def test_kind_that_create_does_not_make_is_a_bad_type(bench, kind):
    request = pack(">II", Op.CREATE, kind) + pack_opaque(b"n") + fattr()
    assert bench.call(putrootfh(), request).status is Status.BADTYPE
    assert not bench.ok(putrootfh(), readdir()).value(Op.READDIR)["entries"]


@pytest.mark.parametrize("target", [b"", b"a\0b"])
def test_link_without_a_target_is_invalid(bench, target):
    assert bench.call(putrootfh(), symlink(b"l", target)).status is Status.INVAL


def test_target_of_a_link_is_any_bytes_and_has_a_limit(bench):
    target = b"\xff/../ \n" * 500
    bench.ok(putrootfh(), symlink(b"l", target))
    assert bench.ok(putrootfh(), lookup(b"l"), plain(Op.READLINK)).value(Op.READLINK) == target
    assert bench.call(putrootfh(), symlink(b"m", b"x" * 65537)).status is Status.BADXDR


def test_size_of_what_is_no_file_cannot_be_set_when_it_is_made(bench):
    assert bench.call(putrootfh(), mkdir(b"d", {Attr.SIZE: bytes(8)})).status is Status.INVAL


def test_names_go_into_directories_only_and_from_them(bench):
    session = bench.session()
    stateid, handle = session.open(b"f")
    at, save = putfh(handle), plain(Op.SAVEFH)
    for operations in (
        [at, mkdir(b"d")],
        [at, named(Op.REMOVE, b"x")],
        [at, readdir()],
        [at, lookup(b"x")],
        [at, save, putrootfh(), rename(b"f", b"g")],
        [putrootfh(), save, at, rename(b"f", b"g")],
        [at, save, named(Op.LINK, b"g")],
    ):
        assert session.call(*operations).status is Status.NOTDIR
    assert session.call(putrootfh(), rename(b"f", b"g")).status is Status.NOFILEHANDLE
    assert session.call(putrootfh(), named(Op.LINK, b"g")).status is Status.NOFILEHANDLE
    session.ok(at, close(stateid))


@pytest.mark.parametrize("op", [Op.REMOVE, Op.LINK, Op.SECINFO, Op.LOOKUP])
@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0", b"x" * 256])
def test_no_operation_takes_a_name_that_is_none(bench, op, name):
    bench.ok(putrootfh(), mkdir(b"d"))
    wanted = {b"": Status.INVAL, b"x" * 256: Status.NAMETOOLONG}
    wanted |= dict.fromkeys((b"a/b", b"a\0"), Status.BADCHAR)
    asked = (putrootfh(), symlink(b"l", b"t"), plain(Op.SAVEFH), putrootfh(), named(op, name))
    assert bench.call(*asked).status is wanted.get(name, Status.BADNAME)
    for request in (rename(b"d", name), rename(name, b"d")):
        reply = bench.call(putrootfh(), plain(Op.SAVEFH), request)
        assert reply.status is wanted.get(name, Status.BADNAME)


def test_cookie_with_the_verifier_of_another_server_is_not_the_same(bench):
    bench.ok(putrootfh(), mkdir(b"d"))
    request = pack(">IQ", Op.READDIR, 5) + b"verifier" + pack(">III", 4096, 4096, 0)
    assert bench.call(putrootfh(), request).status is Status.NOT_SAME
    first = pack(">IQ", Op.READDIR, 0) + b"verifier" + pack(">III", 4096, 4096, 0)
    assert bench.ok(putrootfh(), first).value(Op.READDIR)["eof"]

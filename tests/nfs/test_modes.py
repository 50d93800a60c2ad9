"""Mode bits and groups where owners are as on disk: as open(2), mkdir(2), chmod(2), write(2) do it."""

import os

import pytest

from tests.nfs.builder import (
    Bench,
    Session41,
    fattr,
    getfh,
    lookup,
    mkdir,
    open_,
    putfh,
    putrootfh,
    setattr_,
    write,
)
from womm.nfs.backends.local import LocalFilesystem
from womm.nfs.constants import Attr, Op
from womm.nfs.rpc import Credential
from womm.nfs.status import Status
from womm.nfs.xdr import pack_opaque, pack_u32, pack_u64

GROUP = 4242
STRANGER, MEMBER = Credential(1001, 1001), Credential(1002, 1002, (7, GROUP))

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="gives files to others")


@pytest.fixture
def setgid(tmp_path):
    path = tmp_path / "top" / "d"
    path.mkdir(parents=True)
    os.chown(path, 0, GROUP)
    path.chmod(0o2777)
    return path


@pytest.fixture(params=[STRANGER, MEMBER], ids=["stranger", "member"])
def session(request, setgid):
    with Bench(LocalFilesystem(setgid.parent)) as bench:
        yield Session41(bench, credential=request.param)


def _mode(mode):
    return {Attr.MODE: pack_u32(mode)}


def _look(path):
    found = path.lstat()
    return found.st_uid, found.st_gid, found.st_mode & 0o7777


def _open(session, name, mode):
    reply = session.ok(putrootfh(), lookup(b"d"), open_(name, create=0, values=_mode(mode)), getfh())
    return reply.value(Op.OPEN)["stateid"], reply.value(Op.GETFH)


def test_what_is_made_in_a_setgid_directory_belongs_to_its_group(session, setgid):
    uid = session.credential.uid
    _open(session, b"f", 0o644)
    session.ok(putrootfh(), lookup(b"d"), mkdir(b"x", _mode(0o755)), mkdir(b"y", _mode(0o700)))
    assert _look(setgid / "f") == (uid, GROUP, 0o644)
    assert _look(setgid / "x") == (uid, GROUP, 0o2755)
    assert _look(setgid / "x/y") == (uid, GROUP, 0o2700)
    # Elsewhere it is the caller's.
    setgid.parent.chmod(0o777)
    session.ok(putrootfh(), mkdir(b"plain", _mode(0o755)))
    assert _look(setgid.parent / "plain") == (uid, session.credential.gid, 0o755)


def test_who_is_not_of_a_files_group_makes_it_not_setgid(session, setgid):
    member = session.credential is MEMBER
    _, handle = _open(session, b"f", 0o6755)
    assert _look(setgid / "f")[2] == (0o6755 if member else 0o4755)
    session.ok(putfh(handle), setattr_(_mode(0o644)))
    session.ok(putfh(handle), setattr_(_mode(0o2755)))
    assert _look(setgid / "f")[2] == (0o2755 if member else 0o755)
    # One's own group is another matter.
    own = {**_mode(0o2755), Attr.OWNER_GROUP: pack_opaque(b"%d" % session.credential.gid)}
    session.ok(putfh(handle), setattr_(own))
    assert _look(setgid / "f")[1:] == (session.credential.gid, 0o2755)


@pytest.mark.parametrize("how", ["write", "truncate"])
@pytest.mark.parametrize(
    ("mode", "after"), [(0o6777, 0o777), (0o4666, 0o666), (0o2666, 0o2666), (0o1777, 0o1777)]
)
def test_write_of_another_user_ends_setuid_and_setgid(session, setgid, how, mode, after):
    (setgid / "f").write_bytes(b"program")
    (setgid / "f").chmod(mode)
    reply = session.ok(putrootfh(), lookup(b"d"), open_(b"f"), getfh())
    stateid, handle = reply.value(Op.OPEN)["stateid"], reply.value(Op.GETFH)
    work = write(b"x", stateid) if how == "write" else setattr_({Attr.SIZE: pack_u64(1)}, stateid)
    session.ok(putfh(handle), work)
    assert _look(setgid / "f")[2] == after
    # Root's writes leave them.
    (setgid / "f").chmod(mode)
    session.credential = Credential(0, 0)
    session.ok(putfh(handle), work)
    assert _look(setgid / "f")[2] == mode


def test_owner_that_is_empty_is_invalid(session):
    for attribute in (Attr.OWNER, Attr.OWNER_GROUP):
        request = pack_u32(Op.SETATTR) + bytes(16) + fattr({attribute: pack_opaque(b"")})
        assert session.call(putrootfh(), lookup(b"d"), request).status is Status.INVAL

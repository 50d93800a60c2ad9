"""Exports, and the tree of names above them."""

from struct import pack

import pytest

from tests.nfs.builder import (
    Bench,
    getattr_,
    getfh,
    lookup,
    mkdir,
    plain,
    putrootfh,
    readdir,
    rename,
    setattr_,
)
from womm.nfs import Export
from womm.nfs.backends.memory import MemoryFilesystem
from womm.nfs.constants import Attr, Op
from womm.nfs.rpc import Credential
from womm.nfs.status import Status
from womm.nfs.xdr import pack_opaque


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

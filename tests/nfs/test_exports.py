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
from womm.nfs.constants import Attr, FileType, Op
from womm.nfs.exports import PseudoFilesystem, Served, permitted
from womm.nfs.filesystem import Attributes
from womm.nfs.rpc import Credential
from womm.nfs.status import NFSError, Status
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


@pytest.mark.parametrize(
    ("caller", "mode", "may"),
    [
        (Credential(7, 9), 0o700, 7),
        (Credential(7, 8), 0o077, 0),  # the owner's bits count, though the group's would give more
        (Credential(9, 8), 0o750, 5),
        (Credential(9, 9, (1, 8)), 0o750, 5),
        (Credential(9, 8), 0o707, 0),
        (Credential(9, 9), 0o752, 2),
        (Credential(9, 9, (7,)), 0o770, 0),  # a group with the number of the owner
        (Credential(0, 0), 0o000, 6),
        (Credential(0, 0), 0o001, 7),
    ],
)
def test_mode_bits_permit_what_they_say(caller, mode, may):
    attributes = Attributes(FileType.REGULAR, 1, 1, 0, mode, 1, 7, 8, 0, 0, 0, 0, 0, 0)
    for want in range(1, 8):
        assert permitted(caller, attributes, want) == (want & may == want)


def test_root_may_enter_any_directory():
    attributes = Attributes(FileType.DIRECTORY, 1, 1, 0, 0, 1, 7, 8, 0, 0, 0, 0, 0, 0)
    assert permitted(Credential(0, 0), attributes, 7)


def _served(path, instance=b"instance", **options):
    return Served(Export(path, MemoryFilesystem(), **options), instance, 90)


def test_export_has_the_same_ids_after_a_restart_and_others_elsewhere():
    one, again = _served("/x"), _served("/x")
    assert (one.id, one.describe.fsid) == (again.id, again.describe.fsid)
    others = [_served("/y"), _served("/x", b"another")]
    assert len({served.id for served in (one, *others)}) == 3
    assert len({served.describe.fsid for served in (one, *others)}) == 3


def test_secret_of_an_export_is_in_no_repr_and_no_handle():
    secret = "0123456789abcdef"
    served = _served(f"/{secret}")
    pseudo = PseudoFilesystem([(f"/{secret}", served)])
    node = pseudo.root().children[secret.encode()]
    assert secret not in repr(served) + repr(pseudo)
    assert secret.encode() not in node.key


def test_callers_are_the_owner_where_everything_has_one():
    attributes = Attributes(FileType.REGULAR, 1, 1, 0, 0o600, 1, 7, 8, 0, 0, 0, 0, 0, 0)
    served = _served("/x", owner=(5, 6))
    assert served.caller(Credential(99, 99), attributes) == Credential(7, 8)
    assert served.caller(Credential(0, 0), attributes) == Credential(0, 0)
    assert served.describe.owner(7) == pack_opaque(b"5")
    served.own((1, 2))
    assert (served.describe.owner(7), served.describe.group(8)) == (pack_opaque(b"1"), pack_opaque(b"2"))
    assert _served("/x").caller(Credential(99, 99), attributes) == Credential(99, 99)


async def test_names_above_exports_are_looked_up_whole_and_listed_in_parts():
    paths = [("/a/one", True), ("/a/two", False), ("/b/three", False)]
    exports = [(path, _served(path, listed=listed)) for path, listed in paths]
    pseudo = PseudoFilesystem(exports)
    a = await pseudo.lookup(pseudo.root(), b"a")
    for name in (b"", b"A", b"a\0", b"aa", b"one"):
        with pytest.raises(NFSError) as caught:
            await pseudo.lookup(pseudo.root(), name)
        assert caught.value.status is Status.NOENT
    assert (await pseudo.lookup(a, b"two")).served is exports[1][1]
    root = await pseudo.readdir(pseudo.root(), 0, 0, 100)
    assert ([entry.name for entry in root.entries], root.eof) == ([b"a"], True)
    rest = await pseudo.readdir(pseudo.root(), root.entries[0].cookie, 0, 100)
    assert not rest.entries
    assert await pseudo.parent(a) is pseudo.root() is await pseudo.resolve(b"/")
    assert pseudo.find(a.key) is a and await pseudo.resolve(a.key) is a
    with pytest.raises(NFSError) as caught:
        await pseudo.resolve(b"/a")
    assert caught.value.status is Status.STALE


@pytest.mark.parametrize("path", ["", "x", "//../x", "/x/.", "/x/\0y"])
def test_path_that_is_none_is_refused(path):
    with pytest.raises(ValueError, match="export"):
        PseudoFilesystem([(path, _served("/x"))])

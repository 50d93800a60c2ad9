"""The table of operations: which minor version has what, and what no read-only export lets through."""

from struct import pack

import pytest

from tests.nfs import builder as b
from womm.nfs import Export
from womm.nfs.backends.memory import MemoryFilesystem
from womm.nfs.constants import LAST_OP, Attr, FileType, Op
from womm.nfs.filesystem import NOTHING
from womm.nfs.operations import TABLE
from womm.nfs.status import Status
from womm.nfs.xdr import pack_opaque, pack_u32

# RFC 7530 16, RFC 8881 18, RFC 7862 15, RFC 8276 8.4: those that docs/nfs.md says are not supported.
LEFT_OUT = {
    0: {Op.DELEGPURGE, Op.DELEGRETURN, Op.OPENATTR},
    1: {
        *(Op.DELEGPURGE, Op.OPENATTR, Op.BACKCHANNEL_CTL, Op.GET_DIR_DELEGATION),
        *(Op.GETDEVICEINFO, Op.GETDEVICELIST, Op.LAYOUTCOMMIT, Op.LAYOUTGET, Op.LAYOUTRETURN),
        *(Op.SET_SSV, Op.WANT_DELEGATION),
    },
    2: {
        *(Op.COPY_NOTIFY, Op.LAYOUTERROR, Op.LAYOUTSTATS, Op.OFFLOAD_CANCEL, Op.OFFLOAD_STATUS),
        *(Op.READ_PLUS, Op.WRITE_SAME, Op.CLONE),
    },
}
GONE_IN_4_1 = {
    *(Op.OPEN_CONFIRM, Op.RELEASE_LOCKOWNER, Op.RENEW, Op.SETCLIENTID, Op.SETCLIENTID_CONFIRM),
}


@pytest.mark.parametrize("minor", [0, 1, 2])
def test_minor_version_has_what_its_rfc_has_but_what_is_left_out(minor):
    known = {op for op in Op if op <= LAST_OP[minor]}
    # COMPOUND itself does SEQUENCE; see compound.py.
    expected = known - LEFT_OUT[minor] - {Op.SEQUENCE}
    if minor:
        expected -= GONE_IN_4_1 | LEFT_OUT[1]
    found = {op for op, row in TABLE.items() if row.first_minor <= minor <= row.last_minor}
    assert found == expected


def test_rows_are_those_of_their_operations():
    for op, row in TABLE.items():
        assert row.op is op and row.ok == pack(">II", op, 0)
        assert row.first_minor <= row.last_minor


@pytest.fixture
def read_only():
    """A server of a read-only export with a file, a directory and a link."""
    memory = MemoryFilesystem()
    with b.Bench(exports=[Export("/", memory, read_only=True)]) as bench:

        async def fill():
            root = memory.root()
            node, file, _, _ = await memory.create(
                root, b"f", NOTHING, verifier=None, exclusive=True, access=3
            )
            await memory.write(file, 0, memoryview(b"content"), False)
            await memory.close(file)
            await memory.setxattr(node, b"name", b"value", 0)
            await memory.mkdir(root, b"d", NOTHING)
            await memory.symlink(root, b"l", b"f", NOTHING)

        async def seen():
            root = memory.root()
            nodes = [root] + [await memory.lookup(root, name) for name in (b"f", b"d", b"l")]
            return [(await memory.getattr(node, 0x3FF), await memory.listxattr(node)) for node in nodes]

        bench.run(fill())
        before = bench.run(seen())
        yield bench
        assert bench.run(seen()) == before
        assert memory.open_files == 0


def test_nothing_changes_a_read_only_export(read_only):
    session = read_only.session()
    handle = session.ok(b.putrootfh(), b.lookup(b"f"), b.getfh()).value(Op.GETFH)
    at, root = b.putfh(handle), b.putrootfh()
    save, mode = b.plain(Op.SAVEFH), {Attr.MODE: pack_u32(0o777)}
    any_, name = b.ZERO.pack(), pack_opaque(b"name")
    changes = {
        "mkdir": [root, b.mkdir(b"new")],
        "symlink": [root, b.symlink(b"new", b"target")],
        "fifo": [root, pack(">II", Op.CREATE, FileType.FIFO) + pack_opaque(b"new") + b.fattr()],
        "create": [root, b.open_(b"new", create=0)],
        "create to read": [root, b.open_(b"new", create=0, access=1)],
        "create exclusively": [root, b.open_(b"new", create=3, verifier=b"verifier")],
        "open to write": [root, b.open_(b"f", access=2)],
        "truncate": [root, b.open_(b"f", access=1, create=0, values={Attr.SIZE: bytes(8)})],
        "write": [at, b.write(b"x")],
        "write nothing": [at, b.write(b"")],
        "commit": [at, b.commit()],
        "setattr": [at, b.setattr_(mode)],
        "set the size": [at, b.setattr_({Attr.SIZE: bytes(8)})],
        "set times": [root, b.setattr_({Attr.TIME_MODIFY_SET: pack_u32(0)})],
        "remove": [root, b.named(Op.REMOVE, b"f")],
        "remove a directory": [root, b.named(Op.REMOVE, b"d")],
        "rename": [root, save, b.rename(b"f", b"g")],
        "link": [at, save, root, b.named(Op.LINK, b"g")],
        "allocate": [at, pack_u32(Op.ALLOCATE) + any_ + pack(">QQ", 0, 100)],
        "deallocate": [at, pack_u32(Op.DEALLOCATE) + any_ + pack(">QQ", 0, 3)],
        "copy": [at, save, pack_u32(Op.COPY) + any_ + any_ + pack(">QQQIII", 0, 100, 3, 1, 1, 0)],
        "set an attribute": [at, pack(">II", Op.SETXATTR, 0) + name + pack_opaque(b"x")],
        "remove an attribute": [at, pack_u32(Op.REMOVEXATTR) + name],
    }
    for what, operations in changes.items():
        assert session.call(*operations).status is Status.ROFS, what
    # It is read all the same, and who asks is told that it cannot be written.
    assert session.ok(at, b.read()).value(Op.READ) == (True, b"content")
    assert session.ok(at, b.access(0x1FF)).value(Op.ACCESS)[1] & 0x8C == 0
    stateid, _ = session.open(b"f", access=1, create=None)
    session.ok(at, b.close(stateid))

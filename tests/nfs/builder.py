"""COMPOUNDs built and their results read, against a server that does not listen.

`Bench` has a server on a memory filesystem, a clock that only tests move and random bytes that are always the
same. `bench.call(putrootfh(), lookup(b"x"), getattr(...))` runs a COMPOUND; sessions are kept by `Session41`,
the seqids of an open owner of 4.0 by `Owner40`.
"""

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from struct import pack, unpack
from types import TracebackType
from typing import Any, Self

from womm.nfs import Export, Server, ServerOptions, rpc
from womm.nfs.backends.memory import MemoryFilesystem
from womm.nfs.constants import Attr, Op
from womm.nfs.filesystem import Filesystem
from womm.nfs.rpc import Credential
from womm.nfs.state.records import Stateid
from womm.nfs.status import Status
from womm.nfs.xdr import Reader, pack_bitmap, pack_opaque, pack_u32, pack_u64

ROOT_USER = Credential(0, 0, (), b"test")
ZERO = Stateid(0, bytes(12))
CURRENT = Stateid(1, bytes(12))


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# -- arguments ---------------------------------------------------------------------------------------
def putrootfh() -> bytes:
    return pack_u32(Op.PUTROOTFH)


def putfh(handle: bytes) -> bytes:
    return pack_u32(Op.PUTFH) + pack_opaque(handle)


def plain(op: Op) -> bytes:
    """An operation without arguments."""
    return pack_u32(op)


def getfh() -> bytes:
    return pack_u32(Op.GETFH)


def named(op: Op, name: bytes) -> bytes:
    """LOOKUP, REMOVE, LINK, SECINFO."""
    return pack_u32(op) + pack_opaque(name)


def lookup(name: bytes) -> bytes:
    return named(Op.LOOKUP, name)


def rename(old: bytes, new: bytes) -> bytes:
    return pack_u32(Op.RENAME) + pack_opaque(old) + pack_opaque(new)


def getattr_(*attributes: Attr) -> bytes:
    return pack_u32(Op.GETATTR) + pack_bitmap(sum(1 << attribute for attribute in attributes))


def fattr(values: dict[Attr, bytes] | None = None) -> bytes:
    values = values or {}
    data = b"".join(values[attribute] for attribute in sorted(values))
    return pack_bitmap(sum(1 << attribute for attribute in values)) + pack_opaque(data)


def setattr_(values: dict[Attr, bytes], stateid: Stateid = ZERO) -> bytes:
    return pack_u32(Op.SETATTR) + stateid.pack() + fattr(values)


def mkdir(name: bytes, values: dict[Attr, bytes] | None = None) -> bytes:
    return pack_u32(Op.CREATE) + pack_u32(2) + pack_opaque(name) + fattr(values)


def symlink(name: bytes, target: bytes) -> bytes:
    return pack_u32(Op.CREATE) + pack_u32(5) + pack_opaque(target) + pack_opaque(name) + fattr()


def open_(
    name: bytes | None,
    *,
    access: int = 3,
    deny: int = 0,
    create: int | None = None,
    values: dict[Attr, bytes] | None = None,
    verifier: bytes = b"",
    claim: int = 0,
    owner: bytes = b"owner",
    clientid: int = 0,
    seqid: int = 0,
    delegated: Stateid = ZERO,
) -> bytes:
    """OPEN; `create`: a createmode4; `delegated`: of claim 5."""
    out = pack_u32(Op.OPEN) + pack(">III", seqid, access, deny) + pack_u64(clientid) + pack_opaque(owner)
    if create is None:
        out += pack_u32(0)
    else:
        out += pack_u32(1) + pack_u32(create) + verifier
        if create != 2:
            out += fattr(values)
    out += pack_u32(claim)
    if claim == 0:
        assert name is not None
        out += pack_opaque(name)
    elif claim == 1:
        out += pack_u32(0)
    elif claim == 5:
        out += delegated.pack()
    return out


def delegreturn(stateid: Stateid) -> bytes:
    return pack_u32(Op.DELEGRETURN) + stateid.pack()


def close(stateid: Stateid, seqid: int = 0) -> bytes:
    return pack_u32(Op.CLOSE) + pack_u32(seqid) + stateid.pack()


def open_confirm(stateid: Stateid, seqid: int) -> bytes:
    return pack_u32(Op.OPEN_CONFIRM) + stateid.pack() + pack_u32(seqid)


def open_downgrade(stateid: Stateid, access: int, deny: int = 0, seqid: int = 0) -> bytes:
    return pack_u32(Op.OPEN_DOWNGRADE) + stateid.pack() + pack(">III", seqid, access, deny)


def read(stateid: Stateid = ZERO, offset: int = 0, count: int = 4096) -> bytes:
    return pack_u32(Op.READ) + stateid.pack() + pack(">QI", offset, count)


def write(data: bytes, stateid: Stateid = ZERO, offset: int = 0, stable: int = 2) -> bytes:
    return pack_u32(Op.WRITE) + stateid.pack() + pack(">QI", offset, stable) + pack_opaque(data)


def commit() -> bytes:
    return pack_u32(Op.COMMIT) + pack(">QI", 0, 0)


def readdir(*attributes: Attr, cookie: int = 0, limit: int = 65536) -> bytes:
    mask = pack_bitmap(sum(1 << attribute for attribute in attributes))
    return pack_u32(Op.READDIR) + pack_u64(cookie) + bytes(8) + pack_u32(limit) + pack_u32(limit) + mask


def access(bits: int) -> bytes:
    return pack_u32(Op.ACCESS) + pack_u32(bits)


def lock(
    kind: int,
    offset: int,
    length: int,
    *,
    of: Stateid,
    owner: bytes | None = None,
    clientid: int = 0,
    seqid: int = 0,
    open_seqid: int = 0,
    reclaim: bool = False,
) -> bytes:
    """LOCK; with `owner` the first of that owner, `of` then is the open's stateid."""
    out = pack_u32(Op.LOCK) + pack(">IIQQI", kind, reclaim, offset, length, owner is not None)
    if owner is None:
        return out + of.pack() + pack_u32(seqid)
    return out + pack_u32(open_seqid) + of.pack() + pack_u32(seqid) + pack_u64(clientid) + pack_opaque(owner)


def lockt(kind: int, offset: int, length: int, owner: bytes, clientid: int = 0) -> bytes:
    return pack_u32(Op.LOCKT) + pack(">IQQQ", kind, offset, length, clientid) + pack_opaque(owner)


def locku(stateid: Stateid, offset: int, length: int, seqid: int = 0) -> bytes:
    return pack_u32(Op.LOCKU) + pack_u32(1) + pack_u32(seqid) + stateid.pack() + pack(">QQ", offset, length)


def setclientid(verifier: bytes, owner: bytes, address: bytes = b"127.0.0.1.1.1") -> bytes:
    out = pack_u32(Op.SETCLIENTID) + verifier + pack_opaque(owner) + pack_u32(0x40000000)
    return out + pack_opaque(b"tcp") + pack_opaque(address) + pack_u32(1)


def setclientid_confirm(clientid: int, confirm: bytes) -> bytes:
    return pack_u32(Op.SETCLIENTID_CONFIRM) + pack_u64(clientid) + confirm


def exchange_id(verifier: bytes, owner: bytes, flags: int = 0) -> bytes:
    return pack_u32(Op.EXCHANGE_ID) + verifier + pack_opaque(owner) + pack(">III", flags, 0, 0)


CHANNEL = pack(">7I", 0, 1 << 20, 1 << 20, 4096, 16, 8, 0)


def create_session(clientid: int, sequence: int, channel: bytes = CHANNEL) -> bytes:
    out = pack_u32(Op.CREATE_SESSION) + pack_u64(clientid) + pack(">II", sequence, 0)
    return out + channel + channel + pack(">IIII", 0, 1, 0, 0)[:12]


def sequence(sessionid: bytes, seqid: int, slot: int = 0, cache: bool = False, highest: int = 0) -> bytes:
    return pack_u32(Op.SEQUENCE) + sessionid + pack(">IIII", seqid, slot, highest, cache)


def sessionid_op(op: Op, sessionid: bytes) -> bytes:
    return pack_u32(op) + sessionid


# -- results -----------------------------------------------------------------------------------------
def _change(r: Reader) -> tuple[bool, int, int]:
    return r.boolean(), r.u64(), r.u64()


def _stateid(r: Reader) -> Stateid:
    return Stateid(r.u32(), r.fixed(12))


def _fattr(r: Reader) -> tuple[int, bytes]:
    return r.bitmap(), r.text(1 << 20)


def _open(r: Reader) -> dict[str, Any]:
    found = {"stateid": _stateid(r), "change": _change(r), "flags": r.u32(), "attrset": r.bitmap()}
    found["delegation"] = r.u32()
    if found["delegation"] == 3:
        found["why"] = r.u32()
    elif found["delegation"] == 1:
        found["delegated"], found["recall"] = _stateid(r), r.boolean()
        found["ace"] = (r.u32(), r.u32(), r.u32(), r.text(64))
    return found


def values_of(found: tuple[int, bytes], formats: str) -> tuple[Any, ...]:
    """Return the values of a GETATTR's result, which have these formats of struct."""
    return unpack(">" + formats, found[1])


def _entries(r: Reader) -> dict[str, Any]:
    r.fixed(8)
    entries = []
    while r.boolean():
        entries.append((r.u64(), r.text(4096), _fattr(r)))
    return {"entries": entries, "eof": r.boolean()}


def _exchange_id(r: Reader) -> dict[str, Any]:
    found: dict[str, Any] = {"clientid": r.u64(), "sequence": r.u32(), "flags": r.u32()}
    assert r.u32() == 0
    found.update(minor_id=r.u64(), major_id=r.text(1024), scope=r.text(1024))
    assert r.u32() == 0
    return found


def _create_session(r: Reader) -> dict[str, Any]:
    found: dict[str, Any] = {"sessionid": r.fixed(16), "sequence": r.u32(), "flags": r.u32()}
    found["fore"] = [r.u32() for _ in range(7)]
    found["back"] = [r.u32() for _ in range(7)]
    return found


def _denied(r: Reader) -> dict[str, Any]:
    return {"offset": r.u64(), "length": r.u64(), "kind": r.u32(), "clientid": r.u64(), "owner": r.text(1024)}


_RESULTS: dict[int, Callable[[Reader], Any]] = {
    Op.ACCESS: lambda r: (r.u32(), r.u32()),
    Op.CLOSE: _stateid,
    Op.COMMIT: lambda r: r.fixed(8),
    Op.CREATE: lambda r: (_change(r), r.bitmap()),
    Op.GETATTR: _fattr,
    Op.GETFH: lambda r: r.text(128),
    Op.LINK: _change,
    Op.LOCK: _stateid,
    Op.LOCKU: _stateid,
    Op.OPEN: _open,
    Op.OPEN_CONFIRM: _stateid,
    Op.OPEN_DOWNGRADE: _stateid,
    Op.READ: lambda r: (r.boolean(), r.text(1 << 21)),
    Op.READDIR: _entries,
    Op.READLINK: lambda r: r.text(65536),
    Op.REMOVE: _change,
    Op.RENAME: lambda r: (_change(r), _change(r)),
    Op.SECINFO: lambda r: [r.u32() for _ in range(r.u32())],
    Op.SECINFO_NO_NAME: lambda r: [r.u32() for _ in range(r.u32())],
    Op.SETATTR: lambda r: r.bitmap(),
    Op.SETCLIENTID: lambda r: (r.u64(), r.fixed(8)),
    Op.WRITE: lambda r: (r.u32(), r.u32(), r.fixed(8)),
    Op.EXCHANGE_ID: _exchange_id,
    Op.CREATE_SESSION: _create_session,
    Op.BIND_CONN_TO_SESSION: lambda r: (r.fixed(16), r.u32(), r.boolean()),
    Op.SEQUENCE: lambda r: (r.fixed(16), [r.u32() for _ in range(5)]),
    Op.TEST_STATEID: lambda r: [Status(r.u32()) for _ in range(r.u32())],
    Op.SEEK: lambda r: (r.boolean(), r.u64()),
    Op.COPY: lambda r: (r.u32(), r.u64(), r.u32(), r.fixed(8), r.boolean(), r.boolean()),
    Op.IO_ADVISE: lambda r: r.bitmap(),
    Op.GETXATTR: lambda r: r.text(1 << 20),
    Op.SETXATTR: _change,
    Op.LISTXATTRS: lambda r: (r.u64(), [r.text(1024) for _ in range(r.u32())], r.boolean()),
    Op.REMOVEXATTR: _change,
}
_ERRORS: dict[tuple[int, Status], Callable[[Reader], Any]] = {
    (Op.LOCK, Status.DENIED): _denied,
    (Op.LOCKT, Status.DENIED): _denied,
    (Op.SETCLIENTID, Status.CLID_INUSE): lambda r: (r.text(10), r.text(10)),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """A COMPOUND's results: operation, status, and the decoded result or None."""

    status: Status
    results: list[tuple[int, Status, Any]]

    def value(self, op: Op, nth: int = 0) -> Any:
        """Return the nth result of an operation."""
        return [value for number, _, value in self.results if number == op][nth]


def read_reply(pieces: rpc.Reply) -> Reply:
    """Read a whole record; everything in it must be accounted for."""
    reply = pieces if isinstance(pieces, bytes) else b"".join(pieces)
    r = Reader(reply, rpc.REPLY_HEAD_BYTES)
    assert int.from_bytes(reply[:4], "big") == 0x80000000 | len(reply) - 4
    assert reply[8:28] == pack(">5I", 1, 0, 0, 0, 0), reply[8:28]
    status = Status(r.u32())
    r.text(1024)
    results: list[tuple[int, Status, Any]] = []
    for _ in range(r.u32()):
        op, found = r.u32(), Status(r.u32())
        value = None
        if found is Status.OK:
            if op in _RESULTS:
                value = _RESULTS[op](r)
        elif (op, found) in _ERRORS:
            value = _ERRORS[op, found](r)
        elif op == Op.SETATTR:
            value = r.bitmap()
        results.append((op, found, value))
    assert r.left == 0, "bytes after the last result"
    if results:
        assert results[-1][1] is status
    return Reply(status, results)


class Bench:
    """A server without a network; use it in `with`. `filesystem` None: in memory."""

    def __init__(
        self,
        filesystem: Filesystem | None = None,
        *,
        state_file: Path | None = None,
        clock: Clock | None = None,
        seed: int = 1,
        exports: list[Export] | None = None,
        **options: Any,
    ) -> None:
        self.memory = MemoryFilesystem(clock_ns=itertools.count(1_000_000_000).__next__)
        self.clock = clock or Clock()
        self._exports = exports or [Export("/", filesystem or self.memory)]
        self._options = ServerOptions(state_file=state_file, **options)
        self._random = random.Random(seed).randbytes
        self._xid = itertools.count(1)

    def __enter__(self) -> Self:
        self._runner = asyncio.Runner()
        self.server = Server(self._exports, self._options, clock=self.clock, random=self._random)
        self.run(self.server.prepare())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self.server.stop())
        if kind is None:
            assert self.memory.open_files == 0, "files left open"
        self._runner.close()

    def run(self, work: Any) -> Any:
        return self._runner.run(work)

    async def compound(self, *operations: bytes, minor: int = 0, credential: Credential = ROOT_USER) -> Reply:
        args = pack_opaque(b"tag") + pack_u32(minor) + pack_u32(len(operations)) + b"".join(operations)
        record = rpc.pack_call(next(self._xid), 100003, 4, 1, credential=credential, args=args)[4:]
        call = rpc.parse_call(record)
        return read_reply(await self.server.service.compound(call, len(record)))

    def call(self, *operations: bytes, minor: int = 0, credential: Credential = ROOT_USER) -> Reply:
        """Run a COMPOUND as it is."""
        reply: Reply = self.run(self.compound(*operations, minor=minor, credential=credential))
        return reply

    def ok(self, *operations: bytes, minor: int = 0, credential: Credential = ROOT_USER) -> Reply:
        """Run a COMPOUND that must succeed."""
        reply = self.call(*operations, minor=minor, credential=credential)
        assert reply.status is Status.OK, reply
        return reply

    def client40(self, owner: bytes = b"client", verifier: bytes = b"verifier") -> int:
        """Make a confirmed client of 4.0; return its id."""
        clientid, confirm = self.ok(setclientid(verifier, owner)).value(Op.SETCLIENTID)
        self.ok(setclientid_confirm(clientid, confirm))
        assert isinstance(clientid, int)
        return clientid

    def session(self, owner: bytes = b"client", verifier: bytes = b"verifier", **options: Any) -> "Session41":
        return Session41(self, owner, verifier, **options)


class Session41:
    """A client of 4.1 or 4.2 with a session of 8 slots; `call` and `ok` add SEQUENCE."""

    def __init__(
        self,
        bench: Bench,
        owner: bytes = b"client",
        verifier: bytes = b"verifier",
        *,
        minor: int = 2,
        reclaim_complete: bool = True,
        credential: Credential = ROOT_USER,
    ) -> None:
        self.bench = bench
        self.minor = minor
        self.credential = credential
        found = bench.ok(exchange_id(verifier, owner), minor=1, credential=credential).value(Op.EXCHANGE_ID)
        self.clientid: int = found["clientid"]
        made = bench.ok(create_session(self.clientid, found["sequence"]), minor=1, credential=credential)
        self.sessionid: bytes = made.value(Op.CREATE_SESSION)["sessionid"]
        self.seqids = [0] * 8
        if reclaim_complete:
            self.ok(pack_u32(Op.RECLAIM_COMPLETE) + pack_u32(0))

    def call(self, *operations: bytes, slot: int = 0, cache: bool = False) -> Reply:
        self.seqids[slot] += 1
        return self.bench.call(
            sequence(self.sessionid, self.seqids[slot], slot, cache),
            *operations,
            minor=self.minor,
            credential=self.credential,
        )

    def ok(self, *operations: bytes, slot: int = 0, cache: bool = False) -> Reply:
        reply = self.call(*operations, slot=slot, cache=cache)
        assert reply.status is Status.OK, reply
        return reply

    def open(self, name: bytes, **options: Any) -> tuple[Stateid, bytes]:
        """Open a file in the root, made if it is not there; return stateid and handle."""
        reply = self.ok(putrootfh(), open_(name, **{"create": 0, **options}), getfh())
        return reply.value(Op.OPEN)["stateid"], reply.value(Op.GETFH)


class Owner40:
    """An open owner of 4.0: counts its seqid."""

    def __init__(self, bench: Bench, owner: bytes = b"owner", client: bytes = b"client") -> None:
        self.bench, self.owner = bench, owner
        self.clientid = bench.client40(client)
        self.seqid = 0

    def next(self) -> int:
        self.seqid += 1
        return self.seqid

    def open(self, name: bytes, **options: Any) -> tuple[Stateid, bytes]:
        """Open, and confirm if that is asked for; return stateid and handle."""
        args = {"create": 0, "owner": self.owner, "clientid": self.clientid, **options}
        reply = self.bench.ok(putrootfh(), open_(name, seqid=self.next(), **args), getfh())
        found, handle = reply.value(Op.OPEN), reply.value(Op.GETFH)
        stateid = found["stateid"]
        if found["flags"] & 2:
            stateid = self.bench.ok(putfh(handle), open_confirm(stateid, self.next())).value(Op.OPEN_CONFIRM)
        return stateid, handle

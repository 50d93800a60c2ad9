"""ONC RPC over TCP (RFC 5531): record marking, calls, replies, AUTH_NONE and AUTH_SYS. No I/O.

Strategy: `Assembler` hands out the memory that the next bytes go to. Small records are cut out of one
buffer; a large one gets memory of its own, which grows as its bytes come, so that a length alone costs
nothing and a WRITE's payload is never copied.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from womm.nfs.xdr import BadXDR, Reader

AUTH_NONE: Final = 0
AUTH_SYS: Final = 1

BUFFER_BYTES: Final = 65536
GROW_BYTES: Final = 1 << 18
LARGE_BYTES: Final = 1 << 17
"""From here on two more calls to the kernel cost less than a copy."""
MAX_FRAGMENTS: Final = 1024
"""More of them in one record are an attack: Linux and libnfs send one."""

_HEADER = Struct(">8I")
_U32 = Struct(">I")
_REPLY = Struct(">7I")
REPLY_HEAD_BYTES: Final = _REPLY.size


@dataclass(frozen=True, slots=True)
class Credential:
    """The caller: AUTH_SYS's numbers, or nobody (AUTH_NONE)."""

    uid: int
    gid: int
    gids: tuple[int, ...] = ()
    machine: bytes = b""


NOBODY = Credential(65534, 65534)


@dataclass(slots=True)
class Call:
    """One call; `args` stands at its arguments.

    `modifies` is set by who does it: doing it twice is not the same as doing it once.
    """

    xid: int
    program: int
    version: int
    procedure: int
    flavor: int
    credential: Credential
    args: Reader
    modifies: bool = False


class RPCError(Exception):
    """A call that is answered with `reply`, a whole record, instead of being done."""

    def __init__(self, reply: bytes, why: str) -> None:
        super().__init__(why)
        self.reply = reply


class Assembler:
    """Puts records together from a TCP stream. `limit` is the largest record in bytes."""

    __slots__ = (
        "_base",
        "_big",
        "_end",
        "_filled",
        "_fragments",
        "_last",
        "_left",
        "_start",
        "ahead_bytes",
        "limit",
    )

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.ahead_bytes = GROW_BYTES
        """A large record's memory is never this much ahead of what has come of it."""
        self._base = bytearray(BUFFER_BYTES)
        self._start = self._end = 0
        self._big: bytearray | None = None
        self._filled = 0
        self._left = 0
        """Bytes of the current fragment that are still to come; while _big is not None."""
        self._last = False
        self._fragments = 0

    @property
    def held_bytes(self) -> int:
        """Return how much memory an unfinished large record takes."""
        return 0 if self._big is None else len(self._big)

    @property
    def wanted_bytes(self) -> int:
        """Return how large the unfinished large record is to become, as far as its marks have told."""
        return 0 if self._big is None else self._filled + self._left

    @property
    def partial(self) -> bool:
        """Is a record begun and not complete?"""
        return self._big is not None or self._end > self._start

    def buffer(self) -> memoryview:
        """Return where the next bytes go: at least one; `received` must follow before the next call."""
        if self._big is not None and self._left:
            want = self._filled + self._left
            if len(self._big) == self._filled:
                self._big.extend(bytes(min(want - self._filled, max(self.ahead_bytes, self._filled))))
            return memoryview(self._big)[self._filled : want]
        if self._end == BUFFER_BYTES or (self._start and self._start == self._end):
            rest = self._base[self._start : self._end]
            self._base[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        return memoryview(self._base)[self._end :]

    def received(self, count: int) -> list[bytes | bytearray]:
        """Take note of `count` bytes in the buffer; return the records that are complete.

        Raises BadXDR for a stream that cannot be understood from here on.
        """
        if self._big is None or not self._left:
            self._end += count
            return self._cut()
        self._filled += count
        self._left -= count
        return self._finish([]) if not self._left else []

    def _finish(self, records: list[bytes | bytearray]) -> list[bytes | bytearray]:
        """The current fragment of the large record is there."""
        if self._last and self._big is not None:
            assert len(self._big) == self._filled
            records.append(self._big)
            self._big = None
            self._filled = self._fragments = 0
        return records

    def _cut(self) -> list[bytes | bytearray]:
        """Take what is complete out of the small buffer."""
        records: list[bytes | bytearray] = []
        base = self._base
        while self._end - self._start >= 4:
            mark = _U32.unpack_from(base, self._start)[0]
            size, last = mark & 0x7FFFFFFF, mark >> 31 == 1
            so_far = self._filled if self._big is not None else 0
            if so_far + size > self.limit:
                raise BadXDR(f"a record of {so_far + size} bytes: {self.limit} are allowed")
            begin = self._start + 4
            if last and self._big is None and begin + size <= self._end:
                records.append(bytes(memoryview(base)[begin : begin + size]))
                self._start = begin + size
                continue
            if last and self._big is None and size <= BUFFER_BYTES // 4:
                break  # small: the rest will fit behind it
            self._fragments += 1
            if self._fragments > MAX_FRAGMENTS:
                raise BadXDR("a record of too many fragments")
            here = min(size, self._end - begin)
            if self._big is None:
                self._big = bytearray(min(size, here + self.ahead_bytes))
            if len(self._big) < self._filled + here:
                self._big.extend(bytes(self._filled + here - len(self._big)))
            self._big[self._filled : self._filled + here] = memoryview(base)[begin : begin + here]
            self._filled += here
            self._left, self._last = size - here, last
            self._start = begin + here
            if self._left:
                break
            self._finish(records)
        if self._start == self._end:
            self._start = self._end = 0
        return records


def parse_call(record: bytes | bytearray) -> Call:
    """Read the header of a call.

    Raises BadXDR for what is no call of RPC at all (the connection is to be closed), RPCError for a call
    that is to be refused.
    """
    reader = Reader(record)
    xid, kind, rpc, program, version, procedure, flavor, size = reader.fields(_HEADER)
    if kind != 0:
        raise BadXDR("not a call")
    if rpc != 2:
        # RPC_MISMATCH: versions 2 to 2
        raise RPCError(mark(24) + Struct(">6I").pack(xid, 1, 1, 0, 2, 2), f"RPC version {rpc}")
    if size > 400 or size > reader.left:
        raise BadXDR(f"a credential of {size} bytes")
    start = reader.pos
    reader.pos = start + size + (-size & 3)
    verifier_flavor = reader.u32()
    reader.opaque(400)
    if flavor == AUTH_SYS:
        try:
            credential = _auth_sys(bytes(record[start : start + size]))
        except BadXDR as exc:
            raise RPCError(_denied(xid, 1), str(exc)) from exc  # AUTH_BADCRED
    elif flavor == AUTH_NONE:
        credential = NOBODY
    else:
        raise RPCError(_denied(xid, 5), f"flavor {flavor}")  # AUTH_TOOWEAK: another one is wanted
    if verifier_flavor not in (AUTH_NONE, AUTH_SYS):
        raise RPCError(_denied(xid, 3), f"verifier of flavor {verifier_flavor}")  # AUTH_BADVERF
    return Call(xid, program, version, procedure, flavor, credential, reader)


_credentials: dict[bytes, Credential] = {}
"""Parsed ones: a client sends the same bytes in every call, but for the time of its mount."""


def _auth_sys(body: bytes) -> Credential:
    """Read authsys_parms (RFC 5531 appendix A)."""
    found = _credentials.get(body)
    if found is not None:
        return found
    reader = Reader(body)
    reader.u32()  # stamp
    machine = reader.text(255)
    uid, gid = reader.u32(), reader.u32()
    gids = tuple(reader.u32() for _ in range(reader.count(16)))
    if reader.left:
        raise BadXDR("more than a credential")
    found = Credential(uid, gid, gids, machine)
    if len(_credentials) >= 1024:
        _credentials.clear()
    _credentials[body] = found
    return found


def _denied(xid: int, why: int) -> bytes:
    """MSG_DENIED, AUTH_ERROR."""
    return mark(20) + Struct(">5I").pack(xid, 1, 1, 1, why)


Reply = bytes | list[bytes]
"""A whole reply in one fragment, with its record mark; in pieces where joining them would copy much."""


def reply(xid: int, parts: list[bytes], accept: int = 0) -> bytes:
    """Return a whole accepted reply; joins the parts, once."""
    size = 24 + sum(map(len, parts))
    return b"".join((_REPLY.pack(size | 0x80000000, xid, 1, 0, 0, 0, accept), *parts))


def reply_in_pieces(xid: int, parts: list[bytes]) -> Reply:
    """Return a whole accepted reply whose large parts are left as they are."""
    size = 24 + sum(map(len, parts))
    head = _REPLY.pack(size | 0x80000000, xid, 1, 0, 0, 0, 0)
    if size < LARGE_BYTES:
        return b"".join((head, *parts))
    pieces, small = [], [head]
    for part in parts:
        if len(part) < LARGE_BYTES // 2:
            small.append(part)
        else:
            pieces += [b"".join(small), part]
            small = []
    if small:
        pieces.append(b"".join(small))
    return pieces


def prog_unavail(xid: int) -> bytes:
    return reply(xid, [], 1)


def prog_mismatch(xid: int, low: int, high: int) -> bytes:
    return reply(xid, [Struct(">II").pack(low, high)], 2)


def proc_unavail(xid: int) -> bytes:
    return reply(xid, [], 3)


def garbage_args(xid: int) -> bytes:
    return reply(xid, [], 4)


def system_err(xid: int) -> bytes:
    return reply(xid, [], 5)


def mark(size: int) -> bytes:
    """The record mark of a message in one fragment."""
    return _U32.pack(size | 0x80000000)


def pack_call(
    xid: int, program: int, version: int, procedure: int, *, credential: Credential, args: bytes
) -> bytes:
    """Return a call with its record mark: for tests and tools."""
    machine = credential.machine
    body = _U32.pack(0) + _U32.pack(len(machine)) + machine + bytes(-len(machine) & 3)
    body += Struct(f">{3 + len(credential.gids)}I").pack(
        credential.uid, credential.gid, len(credential.gids), *credential.gids
    )
    call = _HEADER.pack(xid, 0, 2, program, version, procedure, AUTH_SYS, len(body)) + body
    call += Struct(">II").pack(0, 0) + args
    return mark(len(call)) + call

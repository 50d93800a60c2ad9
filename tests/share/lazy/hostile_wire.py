"""The wire part of `hostile`: NFS 4.0 by hand, as no kernel speaks it."""

import errno
import os
import random
import secrets
import socket
import struct

OK, PUTFH, PUTROOTFH, LOOKUP, LOOKUPP, GETFH, READDIR = 0, 22, 24, 15, 16, 10, 26
CREATE, LINK, REMOVE, RENAME, SAVEFH, SETATTR, WRITE, READ, SETCLIENTID, OPEN = (
    6,
    11,
    28,
    29,
    32,
    34,
    38,
    25,
    35,
    18,
)
u32, u64 = struct.Struct(">I").pack, struct.Struct(">Q").pack


def opaque(data):
    return u32(len(data)) + data + bytes(-len(data) % 4)


class Wire:
    def __init__(self, host, port):
        self._address = host, port
        self._xid = random.randrange(1 << 31)
        self._connect()

    def _connect(self):
        self._socket = socket.create_connection(self._address, 30)

    @property
    def here(self):
        return self._socket.getsockname()[0]

    def compound(self, *operations):
        """The status of the first error, or OK, and all the results."""
        try:
            return self._compound(operations)
        except ConnectionError:
            self._connect()
            raise

    def _compound(self, operations):
        self._xid += 1
        credential = u32(0) + opaque(b"hostile") + u32(0) + u32(0) + u32(0)
        head = (
            struct.pack(">6I", self._xid, 0, 2, 100003, 4, 1) + u32(1) + opaque(credential) + u32(0) + u32(0)
        )
        body = head + opaque(b"") + u32(0) + u32(len(operations)) + b"".join(operations)
        self._socket.sendall(u32(0x80000000 | len(body)) + body)
        reply = self._record()
        assert reply[:4] == u32(self._xid)
        return struct.unpack_from(">I", reply, 24)[0], reply[24:]

    def _record(self):
        data = b""
        while True:
            (mark,) = struct.unpack(">I", self._exactly(4))
            data += self._exactly(mark & 0x7FFFFFFF)
            if mark & 0x80000000:
                return data

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise ConnectionResetError(errno.ECONNRESET, "closed")
            data += more
        return data

    def handle(self, *names):
        status, reply = self.compound(
            u32(PUTROOTFH), *(u32(LOOKUP) + opaque(name) for name in names), u32(GETFH)
        )
        if status:
            raise OSError(errno.ENOENT, f"status {status}")
        return _last_opaque(reply)


def _last_opaque(reply):
    """The file handle at the end of a reply to GETFH."""
    for size in range(128, 0, -1):
        at = len(reply) - (size + (-size % 4)) - 4
        if at >= 0 and reply[at : at + 4] == u32(size) and reply[at - 8 : at] == u32(GETFH) + u32(OK):
            return reply[at + 4 : at + 4 + size]
    raise OSError(errno.EIO, "no handle")


def tells_of_exports(found):
    return found[0] == OK and b"womm" in found[1]


def knock(host, port):
    socket.create_connection((host, port), 0.5).close()


def wire_done(found):
    return found[0] == OK


def the_wire(attempt, server, paths, guesses, place):
    """`paths`: those that are protected, and those that are hidden; `place`: a directory in which we may
    write, and a file of ours in it."""
    protected, hidden = paths
    above, own = place
    host, _, rest = server.partition(":")
    port, _, export = rest.partition("/")
    wire = Wire(host, int(port))
    names = [part.encode() for part in export.split("/") if part]
    listing = u32(READDIR) + u64(0) + bytes(8) + u32(8192) + u32(8192) + u32(0)
    attempt(
        "wire: entries of the root",
        wire.compound,
        u32(PUTROOTFH),
        listing,
        worked=tells_of_exports,
    )
    top = wire.handle(*names)
    here = u32(PUTFH) + opaque(top)
    attempt(
        "wire: above the export",
        wire.compound,
        here,
        u32(LOOKUPP),
        u32(LOOKUP) + opaque(b"etc"),
        worked=wire_done,
    )
    directory = u32(2)  # NF4DIR
    no_attributes = u32(0) + u32(0)
    for name in (b"..", b".", b"", b"../../etc", b"/etc", b"a/b", b"x\0y", b"x" * 300):
        for operation in (
            u32(LOOKUP) + opaque(name),
            u32(CREATE) + directory + opaque(name) + no_attributes,
            u32(REMOVE) + opaque(name),
        ):
            attempt(f"wire: name {name[:20]!r}", wire.compound, here, operation, worked=wire_done)
    way = [part for part in above.split(b"/") if part not in (b"", b".")]
    out = wire.handle(*names, *way)
    for path in protected:
        *directories, last = path.split(b"/")
        place = u32(PUTFH) + opaque(wire.handle(*names, *directories))
        zero = u32(0) + bytes(12)
        operations = {
            "make": [place, u32(CREATE) + directory + opaque(last) + no_attributes],
            "symlink": [place, u32(CREATE) + u32(5) + opaque(b"x") + opaque(last) + no_attributes],
            "remove": [place, u32(REMOVE) + opaque(last)],
            "rename": [
                u32(PUTFH) + opaque(out),
                u32(SAVEFH),
                place,
                u32(RENAME) + opaque(own) + opaque(last),
            ],
            "rename away": [
                place,
                u32(SAVEFH),
                u32(PUTFH) + opaque(out),
                u32(RENAME) + opaque(last) + opaque(b"x"),
            ],
            "link": [
                u32(PUTFH) + opaque(out),
                u32(LOOKUP) + opaque(own),
                u32(SAVEFH),
                place,
                u32(LINK) + opaque(last),
            ],
        }
        if os.path.lexists(path):
            file = u32(PUTFH) + opaque(wire.handle(*names, *path.split(b"/")))
            operations |= {
                "write": [file, u32(WRITE) + zero + u64(0) + u32(2) + opaque(b"hostile")],
                "size": [file, u32(SETATTR) + zero + u32(1) + u32(1 << 4) + opaque(u64(0))],
                "mode": [file, u32(SETATTR) + zero + u32(2) + u32(0) + u32(1 << 1) + opaque(u32(0o777))],
                "link away": [file, u32(SAVEFH), u32(PUTFH) + opaque(out), u32(LINK) + opaque(b"hostile-l")],
            }
        for what, operation in operations.items():
            attempt(f"wire: {what} {path!r}", wire.compound, *operation, worked=wire_done)
    for path in hidden:
        attempt(f"wire: hidden {path!r}", wire.handle, *names, *path.split(b"/"))
    # Handles: forged, cut, lengthened, of another run's key.
    rnd = random.Random(1)
    for number in range(min(guesses, 20_000)):
        forged = bytearray(top)
        forged[rnd.randrange(len(forged))] ^= 1 << rnd.randrange(8)
        choice = [bytes(forged), top[: rnd.randrange(len(top))], top + b"x", secrets.token_bytes(len(top))][
            number % 4
        ]
        attempt(
            "wire: forged handle",
            wire.compound,
            u32(PUTFH) + opaque(choice),
            listing,
            worked=wire_done,
        )
    for _ in range(guesses):
        guess = b"womm-" + secrets.token_hex(16).encode()
        attempt(
            "wire: guessed export",
            wire.compound,
            u32(PUTROOTFH),
            u32(LOOKUP) + opaque(guess),
            worked=wire_done,
        )
    # The server calls nobody back.
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        listener.settimeout(1.0)
        high, low = divmod(listener.getsockname()[1], 256)
        address = f"{wire.here}.{high}.{low}".encode()
        client = bytes(8) + opaque(secrets.token_bytes(8))
        wire.compound(u32(SETCLIENTID) + client + u32(0x40000000) + opaque(b"tcp") + opaque(address) + u32(1))
        attempt("wire: called back", listener.accept)
    # There is no other open port.
    for door in (22, 80, 111, 443, 875, 2048, 2050, 6443, 8080, 10250, 20048):
        if door != int(port):
            attempt(f"wire: port {door}", knock, host, door)

"""`python -m womm.store.server FOLDER [ID]`: the other end of an eager share, in the file server's pod.

It talks `womm.store.protocol` on stdin and stdout until END. A file that replaces one gets its name when it
is whole; the time of a new one is set last, so half of one never counts as what was to be copied.

The id is what the file ID holds, made at random when there is none: a file that is beside FOLDER on the same
disk tells an empty store from one that was filled. The id is for everybody; all else is for one conversation
at a time. An error is said in a FAILED record and ends the program. A copy waits for this program's start: it
imports what it needs only now and then when it needs it.
"""

import errno
import fcntl
import gc
import os
import stat
import sys
import time
from contextlib import suppress
from typing import Final

from womm.store.pack import (
    CHUNK,
    LINK_BYTES,
    BadPack,
    Record,
    Source,
    Stamp,
    check_path,
    header,
    stamp_of,
    write_all,
)
from womm.store.protocol import (
    BIG,
    BLOCKS,
    DELETE,
    DELTA,
    DIRECTORY,
    END,
    END_OF_LIST,
    FAILED,
    FILE,
    GET,
    GONE,
    HARD_LINK,
    HELLO,
    LINK,
    LIST,
    REMOVE,
    VERSION,
    WELCOME,
)
from womm.store.receive import receive_pieces
from womm.store.send import Gone, Out, block_digests, send_file, send_link
from womm.store.tree import STAGING, Tree, walk

PATHS_BYTES: Final = 1 << 30
LOCK_S: Final = 30
ID_BYTES: Final = 16
_PART: Final = STAGING + b"part"
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Store:
    """One conversation. `root`: the folder's descriptor; `identity`: see above, empty: not told."""

    def __init__(self, root: int, source: Source, out: Out, identity: bytes) -> None:
        self._root = root
        self._identity = identity
        self._source = source
        self._out = out
        self._tree = Tree(root, force=True)
        self._directories: dict[bytes, tuple[int, int]] = {}
        self._files = 0
        self._is_ours = False
        self._older: tuple[bytes, tuple[int, ...]] | None = None
        self._above, self._above_fd = b"", -1

    def run(self) -> None:
        source, out = self._source, self._out
        handle = {
            FILE: self._file,
            BIG: self._big,
            BLOCKS: self._blocks,
            DELTA: self._delta,
            DIRECTORY: self._directory,
            LINK: self._link,
            HARD_LINK: self._hard_link,
            DELETE: self._delete,
            REMOVE: self._remove,
        }
        while True:
            record = source.record()
            if record.kind == FILE and self._small(record):
                continue
            if not self._is_ours and record.kind != HELLO:
                self._begin()
            self._above = b""
            act = handle.get(record.kind)
            if act is not None:
                check_path(record.path)
                try:
                    act(record)
                except OSError as exc:
                    shown = record.path.decode(errors="backslashreplace")
                    raise OSError(exc.errno, f"{shown}: {exc.strerror or exc}") from exc
            elif record.kind == HELLO:
                out.add(header(WELCOME, self._identity, VERSION, time.time_ns()))
                out.flush()
            elif record.kind == LIST:
                self._list()
            elif record.kind == GET:
                self._get(record)
            elif record.kind == END:
                self._end()
                return
            else:
                raise BadPack(f"unknown record {record.kind!r}")

    def _begin(self) -> None:
        _lock(self._root)
        self._is_ours = True
        self._forget_part()  # of a conversation that was cut

    def close(self) -> None:
        if self._is_ours:
            self._forget_part()

    def _forget_part(self) -> None:
        with suppress(OSError):
            os.unlink(_PART, dir_fd=self._root)

    # -- telling
    def _list(self) -> None:
        found = walk(self._root, force=True)
        for path, reason in found.unreadable.items():
            raise OSError(errno.EIO, f"{path.decode(errors='backslashreplace')}: {reason}")
        add = self._out.add
        for path, entry in found.entries.items():
            stamp = entry.stamp
            add(header(stamp.kind, path, stamp.mode, stamp.size, stamp.mtime_ns, stamp.ctime_ns))
        add(header(END_OF_LIST, b""))
        self._out.flush()

    def _get(self, record: Record) -> None:
        (size,) = record.numbers
        if not 0 <= size <= PATHS_BYTES:
            raise BadPack("too many paths")
        out, tree = self._out, self._tree
        for path in self._source.exactly(size).split(b"\0")[:-1]:
            check_path(path)
            try:
                found = tree.lstat(path)
                if found is None:
                    raise Gone
                if stat.S_ISLNK(found.st_mode):
                    send_link(out, tree, path)
                else:
                    send_file(out, tree, path, None, digests=False)
            except Gone:
                out.add(header(GONE, path))
        out.add(header(END_OF_LIST, b""))
        out.flush()

    # -- taking
    def _small(self, record: Record) -> bool:
        """Write a new file in the directory of the last one. False, and nothing is done: it is another.

        Half of the time of a first copy goes into these lines: hence no calls of ours in them.
        """
        path = record.path
        at = path.rfind(b"/")
        name = path[at + 1 :]
        if at <= 0 or path[:at] != self._above or name in (b"", b".", b".."):
            return False
        mode, mtime_ns, size = record.numbers
        try:
            fd = os.open(name, _NEW, mode & 0o7777, dir_fd=self._above_fd)
        except FileExistsError:
            return False
        try:
            data = self._source.exactly(size) if 0 < size <= CHUNK else b""
            if data and os.write(fd, data) < size:
                raise OSError(errno.ENOSPC, f"{path!r}: {os.strerror(errno.ENOSPC)}")
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)
        self._files += 1
        return True

    def _file(self, record: Record) -> None:
        mode, mtime_ns, size = record.numbers
        if not 0 <= size <= CHUNK:
            raise BadPack("too large for one piece")
        data = self._source.exactly(size)
        to, name = self._tree.parent(record.path)
        self._above, self._above_fd = record.path.rpartition(b"/")[0], to
        # The umask is 0: the mode needs no call of its own.
        try:
            fd = os.open(name, _NEW, mode & 0o7777, dir_fd=to)
            replaces = False
        except FileExistsError:
            fd = self._part(mode)
            replaces = True
        try:
            if data:
                write_all(fd, data)
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)
        if replaces:
            os.rename(_PART, name, src_dir_fd=self._root, dst_dir_fd=to)
        self._files += 1

    def _part(self, mode: int) -> int:
        return os.open(_PART, _NEW, mode & 0o7777, dir_fd=self._root)

    def _blocks(self, record: Record) -> None:
        digests = b""
        with suppress(FileNotFoundError), self._tree.reading(record.path) as fd:
            found = os.fstat(fd)
            if stat.S_ISREG(found.st_mode):
                digests = block_digests(fd, found.st_size)
                self._older = (record.path, _version(found))
        self._out.add(header(BLOCKS, record.path, len(digests)) + digests)
        self._out.flush()

    def _delta(self, record: Record) -> None:
        """As a large file, on a copy of the older version, which must be the one whose digests it sent."""
        older, self._older = self._older, None
        with self._tree.reading(record.path) as old:
            found = os.fstat(old)
            if older is None or older[0] != record.path or older[1] != _version(found):
                raise OSError(errno.EBUSY, "changed while it was copied")
            self._big(record, old)

    def _big(self, record: Record, older: int | None = None) -> None:
        mode, mtime_ns, size = record.numbers
        fd = self._part(mode)
        try:
            if older is not None:
                _copy(older, fd, min(size, os.fstat(older).st_size))
            whole = receive_pieces(self._source, fd, size)
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(fd)
        if whole:
            self._name(record.path)
        else:
            os.unlink(_PART, dir_fd=self._root)

    def _name(self, path: bytes) -> None:
        fd, name = self._tree.parent(path)
        os.rename(_PART, name, src_dir_fd=self._root, dst_dir_fd=fd)
        self._files += 1

    def _directory(self, record: Record) -> None:
        mode, mtime_ns = record.numbers
        fd, name = self._tree.parent(record.path)
        # Until the end it must be possible to write in it.
        try:
            os.mkdir(name, mode | 0o700, dir_fd=fd)
        except FileExistsError:
            inner = self._tree.directory(record.path)
            if os.fstat(inner).st_mode & 0o700 != 0o700:
                os.fchmod(inner, mode | 0o700)
        self._directories[record.path] = (mode, mtime_ns)

    def _link(self, record: Record) -> None:
        mtime_ns, size = record.numbers
        if not 0 < size <= LINK_BYTES:
            raise BadPack("a link's target without a length")
        with suppress(FileNotFoundError):
            os.unlink(_PART, dir_fd=self._root)
        os.symlink(self._source.exactly(size), _PART, dir_fd=self._root)
        os.utime(_PART, ns=(mtime_ns, mtime_ns), dir_fd=self._root, follow_symlinks=False)
        self._name(record.path)

    def _hard_link(self, record: Record) -> None:
        source = check_path(self._source.exactly(record.numbers[0]))
        with suppress(FileNotFoundError):
            os.unlink(_PART, dir_fd=self._root)
        fd, name = self._tree.parent(source)
        os.link(name, _PART, src_dir_fd=fd, dst_dir_fd=self._root, follow_symlinks=False)
        self._name(record.path)
        # A rename between two names of one file does nothing at all.
        with suppress(FileNotFoundError):
            os.unlink(_PART, dir_fd=self._root)

    def _delete(self, record: Record) -> None:
        kind, size, mtime_ns = record.numbers
        found = self._tree.lstat(record.path)
        stamp = None if found is None else stamp_of(found)
        if stamp is None or not stamp.same(Stamp(bytes([kind]), 0, size, mtime_ns)):
            return
        fd, name = self._tree.parent(record.path)
        if stamp.kind == DIRECTORY:
            with suppress(OSError):  # not empty: what jobs have put there stays
                os.rmdir(name, dir_fd=fd)
                self._tree.forget()
        else:
            os.unlink(name, dir_fd=fd)

    def _remove(self, record: Record) -> None:
        found = self._tree.lstat(record.path)
        if found is None:
            return
        fd, name = self._tree.parent(record.path)
        if stat.S_ISDIR(found.st_mode):
            import shutil

            shutil.rmtree(name, dir_fd=fd)
            self._tree.forget()
        else:
            os.unlink(name, dir_fd=fd)

    def _end(self) -> None:
        """Directories get modes and times last, the deepest first: what is made in them changes them."""
        for path, (mode, mtime_ns) in reversed(self._directories.items()):
            with suppress(FileNotFoundError, NotADirectoryError):
                fd = self._tree.directory(path)
                os.fchmod(fd, mode)
                os.utime(fd, ns=(mtime_ns, mtime_ns))
        # A file's own clock: that of what changes after this is not before it.
        os.close(self._part(0o600))
        now = os.stat(_PART, dir_fd=self._root).st_ctime_ns
        os.unlink(_PART, dir_fd=self._root)
        # A node that loses its power may start the same pod again, with what the disk has by then.
        _sync(self._root)
        self._out.add(header(END, b"", self._files, now))
        self._out.flush()


def _version(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _copy(source: int, target: int, size: int) -> None:
    """The beginning of a file, shared with it where the filesystem can."""
    at = 0
    while at < size:
        try:
            copied = os.copy_file_range(source, target, size - at)
        except (OSError, AttributeError):  # another kind of filesystem; macOS
            data = os.pread(source, min(CHUNK, size - at), at)
            os.lseek(target, at, os.SEEK_SET)
            write_all(target, data)
            copied = len(data)
            os.lseek(source, at + copied, os.SEEK_SET)
        if not copied:
            return
        at += copied


def _lock(root: int) -> None:
    """One conversation at a time: one that was cut ends as soon as it notices."""
    for _ in range(LOCK_S * 10):
        with suppress(BlockingIOError):
            fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.1)
    raise OSError(errno.EBUSY, "another copy to this store is running")


def _sync(fd: int) -> None:
    """Write all of the filesystem of `fd` to its disk (syncfs(2); elsewhere sync(2))."""
    import ctypes

    call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if call is None:
        os.sync()
    elif call(fd):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _identify(path: str) -> bytes:
    """Return what the file holds; make it, whole or not at all, if there is none."""
    if not os.path.exists(path):
        part = f"{path}.{os.getpid()}"
        with open(part, "wb") as file:
            file.write(os.urandom(ID_BYTES).hex().encode())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # somebody else was first
            os.link(part, path)
        os.unlink(part)
    with open(path, "rb") as file:
        return file.read(ID_BYTES * 2)


def main() -> int:
    os.umask(0)
    gc.disable()  # nothing here is a cycle, and a long list would be looked at again and again
    out = Out(lambda data: write_all(1, data))
    store: Store | None = None
    try:
        try:
            root = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as exc:
            raise OSError(exc.errno, f"{sys.argv[1]}: {exc.strerror}") from exc
        identity = _identify(sys.argv[2]) if len(sys.argv) > 2 else b""
        store = Store(root, Source(lambda count: os.read(0, count)), out, identity)
        store.run()
    except BrokenPipeError:
        return 1
    except (EOFError, BadPack, OSError, ValueError, OverflowError) as exc:
        reason = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
        with suppress(OSError):
            out.add(header(FAILED, reason.encode(errors="backslashreplace").replace(b"\0", b"")))
            out.flush()
        return 1
    finally:
        if store is not None:
            store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

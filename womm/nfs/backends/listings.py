"""Listings of a confined directory: names with their attributes, read in one go.

Strategy: getdents and statx of each name. An entry needs no descriptor and becomes no node.
"""

import ctypes
import os
from typing import Final

from womm.nfs.backends import linux
from womm.nfs.backends.tree import TYPES, LocalNode, Tree, change_of, pack_key, proc_path
from womm.nfs.constants import FileType
from womm.nfs.filesystem import WANT_KEY, Attributes, Entry, Listing
from womm.nfs.status import NFSError, Status, status_of

_DIRENTS_BYTES: Final = 65536
_COOKIE_SHIFT: Final = 3
"""Cookies 0 to 2 are the protocol's."""
_MAX_COOKIE: Final = 2**63 - 1 + _COOKIE_SHIFT
"""The kernel's are signed."""


class Listings:
    """Reads the directories of a tree, one at a time: they share a buffer."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._dirents = ctypes.create_string_buffer(_DIRENTS_BYTES)

    def read(self, directory: LocalNode, cookie: int, want: int, count: int) -> Listing:
        """See Filesystem.readdir. Raises BAD_COOKIE for one that no listing can have given."""
        if cookie > _MAX_COOKIE:
            raise NFSError(Status.BAD_COOKIE)
        path = proc_path(self._tree.fd(directory))
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if cookie:
                os.lseek(fd, cookie - _COOKIE_SHIFT, os.SEEK_SET)
            entries: list[Entry] = []
            while len(entries) < count:
                # Entries that are read and not used are read again with the next call.
                size = linux.getdents(fd, self._dirents, max(1024, (count - len(entries)) * 40))
                if size == 0:
                    return Listing(entries, True)
                for _, after, name in linux.parse_dirents(self._dirents.raw[:size]):
                    if len(entries) >= count:
                        break
                    entry = self._entry(directory, fd, after + _COOKIE_SHIFT, name, want)
                    if entry is not None:
                        entries.append(entry)
            return Listing(entries, False)
        finally:
            os.close(fd)

    def _entry(self, directory: LocalNode, fd: int, cookie: int, name: bytes, want: int) -> Entry | None:
        try:
            found = linux.statx(fd, name)
        except FileNotFoundError:
            return None  # removed since
        except OSError as exc:
            return Entry(cookie, name, b"", status_of(exc))
        kind = TYPES[found.mode & 0o170000]
        if kind is FileType.DIRECTORY and (found.dev_major, found.dev_minor) != self._tree.dev:
            return Entry(cookie, name, b"", Status.ACCESS)
        ino = self._tree.fileid(found)
        ctime_ns = found.ctime_s * 1_000_000_000 + found.ctime_rest
        node = self._tree.nodes.get(ino)
        if node is not None and node.birth_ns == found.birth_ns:
            key, change = node.key, change_of(node, ctime_ns)
        else:
            key, change = pack_key(ino, found.birth_ns), ctime_ns
            if want & WANT_KEY:
                self._tree.places.note(ino, directory.ino, name)
        return Entry(
            cookie,
            name,
            key,
            Attributes(
                kind,
                ino,
                change,
                found.size,
                found.mode & 0o7777,
                found.nlink,
                found.uid,
                found.gid,
                found.blocks << 9,
                found.rdev_major,
                found.rdev_minor,
                found.atime_s * 1_000_000_000 + found.atime_rest,
                found.mtime_s * 1_000_000_000 + found.mtime_rest,
                ctime_ns,
            ),
        )

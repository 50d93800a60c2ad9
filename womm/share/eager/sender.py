"""The differences of a folder, sent to its store: what is decided, and what sends it."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from womm.share.eager.stream import Cut
from womm.store.pack import Stamp, header
from womm.store.protocol import DELETE, DIRECTORY, FILE, HARD_LINK, LINK, REMOVE, SMALL
from womm.store.send import Gone, Out, Sent, digest, send_delta, send_file, send_link
from womm.store.tree import READING, Found, Tree, Walk

LARGE: Final = 1 << 20
"""For a file of this size it is worth a round trip to know which blocks have changed."""


@dataclass(slots=True)
class Plan:
    """The steps that make the store equal to the folder. replace: paths of another kind, in the way. delete:
    see manifest.deleted. send: files and links; older: the large ones of which the store has another version.
    kept: files that the store has already."""

    replace: list[bytes] = field(default_factory=list)
    delete: list[tuple[bytes, Stamp]] = field(default_factory=list)
    send: list[bytes] = field(default_factory=list)
    older: set[bytes] = field(default_factory=set)
    kept: list[bytes] = field(default_factory=list)
    size_bytes: int = 0


def plan(walk: Walk, theirs: dict[bytes, Stamp], gone: list[bytes]) -> Plan:
    found = Plan(delete=[(path, theirs[path]) for path in gone])
    for path, ours in walk.entries.items():
        stamp = ours.stamp
        there = theirs.get(path)
        if there is not None and there.kind != stamp.kind and DIRECTORY in (there.kind, stamp.kind):
            found.replace.append(path)
            there = None
        if stamp.kind == DIRECTORY:
            continue
        if there is not None and stamp.same(there) and stamp.mode == there.mode:
            found.kept.append(path)
        else:
            found.send.append(path)
            if (
                there is not None
                and min(there.size, stamp.size) >= LARGE
                and there.kind == stamp.kind == FILE
            ):
                found.older.add(path)
            found.size_bytes += stamp.size
    return found


class Sender:
    """One conversation's sending side; reads files below `root`.

    `early` may be called during a walk, as its `seen`, when the store has nothing: then reading, sending and
    writing there go on while this side still looks.
    """

    def __init__(
        self,
        root: int,
        out: Out,
        *,
        digests: bool,
        progress: Callable[[int, int], None],
        ask_blocks: Callable[[bytes], bytes],
    ) -> None:
        self._ask_blocks = ask_blocks
        self._root = root
        self._tree = Tree(root)
        self._above, self._above_fd = b"", -1
        self._out = out
        self._digests = digests
        self._progress = progress
        self._named: dict[tuple[int, int], bytes] = {}
        self._made: set[bytes] = set()  # directories that were sent
        self.sent: dict[bytes, Sent] = {}
        self.kept_changing: list[bytes] = []
        self.unreadable: dict[bytes, str] = {}
        self.size_bytes = 0

    def close(self) -> None:
        self._tree.close()

    def early(self, walk: Walk, fd: int, directory: bytes, files: list[bytes]) -> None:
        """Send a directory and what in it needs no plan: small files of one name. Raises Cut."""
        if directory and directory not in self._made:
            self._send_directory(directory, walk.entries[directory])
        at = len(directory) + 1 if directory else 0
        for path in files:
            self._send_small(path, walk.entries[path], fd, path[at:])
        self._progress(len(self.sent), self.size_bytes)

    def remove(self, paths: Iterable[bytes]) -> None:
        """Have the store remove these, and what is in them. Raises Cut."""
        for path in paths:
            self._out.add(header(REMOVE, path))

    def directories(self, walk: Walk) -> None:
        """Send those that were found and not sent yet. Raises Cut."""
        for path, found in walk.entries.items():
            if found.stamp.kind == DIRECTORY and path not in self._made:
                self._send_directory(path, found)

    def _send_directory(self, path: bytes, found: Found) -> None:
        self._out.add(header(DIRECTORY, path, found.stamp.mode, found.stamp.mtime_ns))
        self._made.add(path)

    def run(self, plan: Plan, walk: Walk) -> None:
        """Send all of it that is not sent yet. Raises Cut."""
        out, entries, sent = self._out, walk.entries, self.sent
        for path, stamp in plan.delete:
            out.add(header(DELETE, path, stamp.kind[0], stamp.size, stamp.mtime_ns))
        self.remove(plan.replace)
        self.directories(walk)
        for path in plan.kept:
            found = entries[path]
            if found.links > 1:
                self._named.setdefault((found.dev, found.ino), path)
        for number, path in enumerate(plan.send):
            if path in sent:
                continue
            found = entries[path]
            if not self._small(path, found) and not (path in plan.older and self._delta(path, found)):
                self._send(path, found)
            if not number % 64:
                self._progress(number + 1, self.size_bytes)
        out.flush()

    def _small(self, path: bytes, found: Found) -> bool:
        """As `_send_small`, by the path alone."""
        at = path.rfind(b"/")
        if at < 0:
            return self._send_small(path, found, self._root, path)
        above = path[:at]
        if above != self._above:
            try:
                self._above_fd = self._tree.directory(above)
            except OSError:
                self._above = b""
                return False
            self._above = above
        return self._send_small(path, found, self._above_fd, path[at + 1 :])

    def _send_small(self, path: bytes, found: Found, above_fd: int, name: bytes) -> bool:
        """Send what most files are: small, of one name, and as they were found. False: it is another.

        A third of the time of a first copy goes into these lines: hence no calls of ours in them.
        """
        stamp = found.stamp
        size = stamp.size
        if size > SMALL or found.links != 1 or stamp.kind != FILE:
            return False
        try:
            fd = os.open(name, READING, dir_fd=above_fd)
        except OSError:
            return False
        try:
            data = os.read(fd, size + 1)
            now = os.fstat(fd)
        except OSError:
            return False
        finally:
            os.close(fd)
        if (
            len(data) != size
            or now.st_mtime_ns != stamp.mtime_ns
            or now.st_ctime_ns != stamp.ctime_ns
            or now.st_size != size
            or now.st_ino != found.ino
        ):
            return False
        self._out.add(b"f %d,%d,%d %b\0%b" % (stamp.mode, stamp.mtime_ns, size, path, data))
        self.sent[path] = Sent(now.st_ino, stamp, digest(data) if self._digests else b"")
        self.size_bytes += size
        return True

    def _delta(self, path: bytes, found: Found) -> bool:
        """Send what has changed in a large file. False: send it as a whole."""
        if found.links > 1 or found.blocks * 512 < found.stamp.size:
            return False
        self._above = b""
        digests = self._ask_blocks(path)
        try:
            before = self._out.total
            self.sent[path] = send_delta(self._out, self._tree, path, digests)
            self.size_bytes += self._out.total - before
        except Cut:
            raise
        except (Gone, OSError):
            return False
        return True

    def _send(self, path: bytes, found: Found) -> None:
        self._above = b""
        try:
            if found.stamp.kind == LINK:
                self.sent[path] = send_link(self._out, self._tree, path)
                return
            if found.links > 1:
                first = self._named.get((found.dev, found.ino))
                now = None if first is None else self._tree.lstat(path)
                if first is not None and now is not None and found.untouched(now):
                    self._out.add(header(HARD_LINK, path, len(first)) + first)
                    same = self.sent[first].digest if first in self.sent else b""
                    self.sent[path] = Sent(now.st_ino, found.stamp, same)
                    return
            sent = send_file(self._out, self._tree, path, found, digests=self._digests)
            self.sent[path] = sent
            self.size_bytes += sent.stamp.size
            if found.links > 1:
                self._named[(found.dev, found.ino)] = path
        except Gone:
            if self._tree.lstat(path) is not None:
                self.kept_changing.append(path)
        except Cut:
            raise
        except OSError as exc:
            self.unreadable[path] = exc.strerror or str(exc)

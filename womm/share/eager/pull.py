"""Brings back what jobs have made or changed in the store.

The store is hostile: this side asks for names that it has checked, answers are taken in the order of the
questions, and come under numbers into a private folder.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from womm.errors import ShareError
from womm.share.control import Writable
from womm.share.eager import manifest
from womm.share.eager.conversation import Conversation
from womm.share.eager.folder import CopiedFolder
from womm.share.eager.manifest import Ancestor
from womm.share.eager.placer import MODE, Placer
from womm.share.eager.progress import Progress
from womm.share.eager.staging import Staging, remove_stale
from womm.share.eager.state import StoreState
from womm.share.eager.syncback import PullResult, changed, held, hidden
from womm.store.pack import CHUNK, LINK_BYTES, BadPack, Record, Source, Stamp, header, write_all
from womm.store.protocol import BIG, DIRECTORY, END_OF_LIST, FILE, GET, GONE, LINK
from womm.store.receive import receive_pieces
from womm.store.send import TRIES
from womm.store.tree import walk

_MAX_NS: Final = (1 << 62) - 1


class Pull:
    """Brings back what is new or changed in the store, over one conversation.

    `result` is what has come so far, also when it fails.
    """

    def __init__(
        self,
        talk: Conversation,
        folder: CopiedFolder,
        state: StoreState,
        writable: Writable,
        progress: Progress,
    ) -> None:
        self._talk = talk
        self._folder = folder
        self._state = state
        self._writable = writable
        self._progress = progress
        self.result = PullResult()

    def run(self) -> None:
        """Raises ShareError, BadPack, EOFError, OSError."""
        talk, folder = self._talk, self._folder
        ancestor = manifest.load(self._state.path)
        if ancestor is None:
            raise ShareError(f"what was copied from {folder.path} is not known any more ({self._state.path})")
        with folder.opened() as root:
            left = "nothing was brought back into it; what jobs have written is still in the store"
            folder.must_be_copied(ancestor, os.fstat(root), left)
            remove_stale(root, walk(root, folder.ignore, talk.check).staging)
            theirs = talk.list()
            self._state.recognize(talk.identity)
            self.bring_back(root, ancestor, theirs)
            talk.end()

    def bring_back(self, root: int, ancestor: Ancestor, theirs: dict[bytes, Stamp]) -> bool:
        """Return whether anything here has changed. Notes in `ancestor` what both sides have then."""
        talk = self._talk
        paths = changed(theirs, ancestor)
        out_of_sight = hidden(paths, theirs, self._folder.ignore)
        paths, own, outside = held([p for p in paths if p not in out_of_sight], theirs, self._writable)
        self.result += PullResult(own=tuple(own), outside=tuple(outside))
        if not paths:
            return False
        asked = [path for path in paths if theirs[path].kind != DIRECTORY]
        total = sum(theirs[path].size for path in asked)
        names = b"".join(path + b"\0" for path in asked)

        def progress(files: int, size_bytes: int) -> None:
            talk.check()
            self._progress.bringing_back(files, len(asked), size_bytes, total)

        task = self._folder.task
        staging = Staging(root, task)
        placer = Placer(root, task, staging, ancestor)
        try:
            for path in paths:
                if theirs[path].kind == DIRECTORY:
                    placer.directory(path, theirs[path])
            talk.out.add(header(GET, b"", len(names)) + names)
            talk.out.flush()
            receive(talk, asked, theirs, placer, progress)
            talk.expect(END_OF_LIST, 0)
        finally:
            self.result += placer.result
            placer.close()
            staging.close()
            with suppress(OSError):  # of no use without room; files here are compared by content then
                manifest.save(self._state.path, ancestor)
        return bool(placer.result.brought or placer.result.conflicts)


def receive(
    source: Source,
    asked: list[bytes],
    theirs: dict[bytes, Stamp],
    placer: Placer,
    progress: Callable[[int, int], None],
) -> None:
    """Take the answers to a GET of `asked` and place each. Raises BadPack, EOFError, OSError."""
    for number, path in enumerate(asked):
        staged = b"%d" % number
        stamp: Stamp | None = None
        for _ in range(TRIES + 1):
            record = source.record()
            if record.path != path:
                raise BadPack(f"asked for {path!r}, got {record.path[:200]!r}")
            if record.kind == GONE:
                break
            stamp = _receive_one(source, record, placer.staging, staged)
            if stamp is not None:
                break
        else:
            raise BadPack("torn again and again")
        if stamp is None:
            placer.kept_changing.append(path)
            continue
        placer.size_bytes += stamp.size
        listed = theirs[path]
        exact = stamp.kind == listed.kind and stamp.same(listed)
        placer.place(path, staged, stamp._replace(ctime_ns=listed.ctime_ns if exact else 0))
        progress(number + 1, placer.size_bytes)


def _receive_one(source: Source, record: Record, staging: Staging, staged: bytes) -> Stamp | None:
    """Stage one file or link. None: it was torn, another try follows."""
    numbers = record.numbers
    if record.kind == LINK and len(numbers) == 2:
        mtime_ns, size = numbers
        if not 0 < size <= LINK_BYTES:
            raise BadPack("a link's target without a length")
        target = source.exactly(size)
        if b"\0" in target:
            raise BadPack("a link's target with a NUL")
        os.symlink(target, staged, dir_fd=staging.fd)
        mtime_ns = _time(mtime_ns)
        os.utime(staged, ns=(mtime_ns, mtime_ns), dir_fd=staging.fd, follow_symlinks=False)
        return Stamp(LINK, 0o777, size, mtime_ns)
    if record.kind not in (FILE, BIG) or len(numbers) != 3:
        raise BadPack(f"no file: {record.kind!r}")
    mode, mtime_ns, size = numbers
    mtime_ns = _time(mtime_ns)
    if size < 0 or (record.kind == FILE and size > CHUNK):
        raise BadPack("a file of that size is not sent so")
    fd = staging.create(staged)
    whole = True
    try:
        if record.kind == FILE:
            write_all(fd, source.exactly(size))
        else:
            whole = receive_pieces(source, fd, size)
        os.fchmod(fd, mode & MODE)
        os.utime(fd, ns=(mtime_ns, mtime_ns))
    finally:
        os.close(fd)
    if not whole:
        staging.discard(staged)
        return None
    return Stamp(FILE, mode & 0o7777, size, mtime_ns)


def _time(mtime_ns: int) -> int:
    return max(-_MAX_NS, min(mtime_ns, _MAX_NS))

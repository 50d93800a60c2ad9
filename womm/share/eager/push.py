"""Makes a store equal to the folder, over one conversation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from womm.errors import ShareError
from womm.share.eager import manifest
from womm.share.eager.conversation import Conversation
from womm.share.eager.folder import CopiedFolder
from womm.share.eager.manifest import Ancestor, Base
from womm.share.eager.progress import Progress
from womm.share.eager.pull import Pull
from womm.share.eager.sender import Sender, plan
from womm.share.eager.staging import remove_stale
from womm.share.eager.state import StoreState
from womm.store.pack import Stamp
from womm.store.protocol import DIRECTORY
from womm.store.tree import Walk, walk


@dataclass(frozen=True, slots=True)
class PushResult:
    """files, size_bytes: of all that was sent. kept_changing: files that changed whenever they were read, and
    are left out. unreadable: paths and reasons. special: FIFOs, sockets and devices, left out."""

    files: int
    size_bytes: int
    deleted: int
    kept_changing: tuple[bytes, ...] = ()
    unreadable: tuple[tuple[bytes, str], ...] = ()
    special: tuple[bytes, ...] = ()


class Push:
    """One copy to the store. With `syncback`, what jobs of an earlier task left there comes back first.

    `pulls` brings that back, over the same conversation.
    """

    def __init__(
        self,
        talk: Conversation,
        folder: CopiedFolder,
        state: StoreState,
        progress: Progress,
        say: Callable[[str], None],
        *,
        pulls: Pull | None,
        clock_ns: Callable[[], int],
    ) -> None:
        self._talk = talk
        self._folder = folder
        self._state = state
        self._progress = progress
        self._say = say
        self._pulls = pulls
        self._clock_ns = clock_ns

    def run(self) -> PushResult:
        """Raises ShareError, BadPack, EOFError, OSError."""
        talk, folder, state = self._talk, self._folder, self._state
        with folder.opened() as root, self._sender(root) as sender:
            found, theirs = self._look(root, sender)
            state.disks.add(talk.identity)
            ancestor = state.load() or Ancestor(found.root.st_dev, found.root.st_ino)
            again = state.is_another(talk.identity)
            if again:
                folder.must_be_copied(ancestor, found.root, "it is not copied again")
                gone = [path for path in ancestor.entries if path not in found.entries]
            else:
                gone = manifest.deleted(ancestor, found, theirs)
            why = manifest.suspicious(ancestor, found, gone)
            if why:
                raise ShareError(
                    f"{folder.path}: {why}; nothing was deleted in the store",
                    f"is it mounted? If it is meant to be so: rm {state.path}",
                )
            if again:
                # Jobs that did not know of the loss have written to the empty disk; they run again.
                state.begin()
                sender.remove([path for path in theirs if path not in found.entries])
                theirs = {path: stamp for path, stamp in theirs.items() if path in found.entries}
            elif self._pulls and not state.has_begun and self._pulls.bring_back(root, ancestor, theirs):
                self._say("share: brought back from the store what an earlier task has left there")
                talk.ask_list()
                found = walk(root, folder.ignore, talk.check)
                theirs = talk.list()
            state.begin()
            result = self._send(sender, found, theirs, ancestor)
            state.end(talk.identity)
            return result

    def _look(self, root: int, sender: Sender) -> tuple[Walk, dict[bytes, Stamp]]:
        """Walk here while the store does so there. Return what is here and what is there.

        A first copy goes into an empty store: from the word that it is, it is sent while this side looks.
        """
        talk = self._talk
        theirs: dict[bytes, Stamp] | None = None

        def seen(walk: Walk, fd: int, directory: bytes, files: list[bytes]) -> None:
            nonlocal theirs
            if theirs is None and talk.heard:
                theirs = self._listed()
                if not theirs:
                    self._state.begin()
                    sender.directories(walk)
            if theirs is not None and not theirs:
                sender.early(walk, fd, directory, files)

        if self._state.exists():
            found = walk(root, self._folder.ignore, talk.check)
        else:
            found = walk(root, self._folder.ignore, talk.check, seen=seen)
        remove_stale(root, found.staging)
        return found, self._listed() if theirs is None else theirs

    def _listed(self) -> dict[bytes, Stamp]:
        """Return what the store has. Its clock is right if that matters."""
        theirs = self._talk.list()
        if self._pulls:
            self._talk.check_clock(self._clock_ns)
        return theirs

    @contextmanager
    def _sender(self, root: int) -> Iterator[Sender]:
        talk = self._talk
        sender = Sender(
            root,
            talk.out,
            digests=self._pulls is not None,
            progress=self._progress.copying,
            ask_blocks=talk.blocks,
        )
        try:
            yield sender
        finally:
            sender.close()

    def _send(
        self, sender: Sender, found: Walk, theirs: dict[bytes, Stamp], ancestor: Ancestor
    ) -> PushResult:
        todo = plan(found, theirs, manifest.deleted(ancestor, found, theirs))
        self._progress.expect(len(todo.send), todo.size_bytes)
        sender.run(todo, found)
        store_ns = self._talk.end()
        self._remember(found, theirs, ancestor, sender, store_ns)
        return PushResult(
            len(sender.sent),
            sender.size_bytes,
            len(todo.delete),
            tuple(sender.kept_changing),
            (*found.unreadable.items(), *sender.unreadable.items()),
            tuple(found.special),
        )

    def _remember(
        self, found: Walk, theirs: dict[bytes, Stamp], ancestor: Ancestor, sender: Sender, store_ns: int
    ) -> None:
        """Note what both sides have now."""
        if not self._state.lasting:
            return
        entries: dict[bytes, Base] = {}
        old = ancestor.entries
        for path, entry in found.entries.items():
            sent = sender.sent.get(path)
            if sent is not None:
                entries[path] = Base(sent.stamp, sent.ino, Stamp(*sent.stamp[:4]), sent.digest)
            elif entry.stamp.kind == DIRECTORY:
                entries[path] = Base(entry.stamp, entry.ino, Stamp(*entry.stamp[:4]))
            elif path in theirs and path not in sender.unreadable and path not in sender.kept_changing:
                before, there = old.get(path), theirs[path]
                if before is None or before.ours != entry.stamp or before.theirs != there:
                    before = manifest.unchanged(entry, there, before)
                entries[path] = before
        if self._pulls:
            # Deleted here, changed there: it must not look like something new there.
            for path, base in old.items():
                if path not in found.entries and path in theirs and not base.is_theirs(theirs[path]):
                    entries[path] = base
        self._state.save(
            Ancestor(found.root.st_dev, found.root.st_ino, store_ns, found.mounts, entries),
        )

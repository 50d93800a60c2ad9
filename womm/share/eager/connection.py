"""The eager share: the folder is copied into a store in the cluster before the first job, and with
syncback what jobs have made there is brought back at the end.

Strategy: one exec in the file server's pod runs `womm.store.server`; a thread here talks to it (`stream`). It
lists what it has, what differs is sent (`push`, `pack`), and what both sides then have in common is noted
(`manifest`) for the next copy and for what comes back (`syncback`, `staging`). Of large files of which the
store has an older version only those blocks are sent that are others now.

Rejected: rsync for everything (50,000 small files took three times as long as with tar: it has three
processes and a checksum for each file, where nothing is to be compared), tar (whole seconds, or one more
kilobyte for each file; no word on what has changed while it was read), rsync for what comes back (the pod
is a hostile sender: only names that were asked for are taken here, whatever version of rsync there is).
So nobody needs an rsync, and no version of it is too old. What it can and this cannot: find a block that has
moved within its file.
"""

import asyncio
import errno
import gc
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO, TypeVar

from womm import words
from womm.errors import ShareError
from womm.link.client import RETRY_DELAYS_S, Offline
from womm.share.control import Writable
from womm.share.eager import manifest
from womm.share.eager.manifest import Ancestor, Base
from womm.share.eager.placer import Placer
from womm.share.eager.preview import Limits, Preview, ProgressLine, preview, some_names
from womm.share.eager.pull import receive
from womm.share.eager.push import PushResult, Sender, plan
from womm.share.eager.staging import Staging, remove_stale
from womm.share.eager.stream import Cut, ExecDial, PodStream, Stopped, converse, in_thread
from womm.share.eager.syncback import PullResult, changed, held, hidden
from womm.store.pack import BadPack, Record, Source, Stamp, check_path, header
from womm.store.protocol import (
    BLOCKS,
    DIRECTORY,
    END,
    END_OF_LIST,
    FAILED,
    FILE,
    GET,
    HELLO,
    LINK,
    LIST,
    VERSION,
    WELCOME,
)
from womm.store.send import Out
from womm.store.tree import IgnoreRules, Walk, walk
from womm.words import shown_bytes

MAX_SKEW_S: Final = 2.0
CHECK_S: Final = 30.0
"""A store that does not say in this time which one it is may be at the other end of a dead connection."""
LOSSES: Final = 5
"""So many lost disks in a row are no accident: there may be no room on them."""
ENTRIES: Final = 2_000_000
"""Of a list; a hostile store must not fill this machine's memory."""
BLOCKS_BYTES: Final = 1 << 30

T = TypeVar("T")


class StoreLost(ShareError):
    """The store is another one than that which was filled: its disk is lost."""


class EagerConnection:
    """One folder and its store. `preview`, `push`, `check` and `pull` are for the event loop, one at a time;
    a cancelled one leaves nothing behind that runs, and the next one continues.

    state: the file that keeps what both sides have in common; keep: there will be another copy to this
    store, so it is needed without syncback too. store: the folder in the pod; identity: the file by which
    its disk is told from another one (see womm.store.server); python: how to run Python there; command: what
    to run instead of womm.store.server. writable: what may come back of what jobs have made or changed.
    ask: called with a question, on the event loop's thread, may block;
    None: nobody can be asked, which means no. yes: not even asked. retry_s: how long a store may be out of
    reach; check_s: see CHECK_S.
    """

    def __init__(
        self,
        folder: Path,
        task: str,
        *,
        state: Path,
        store: str = "",
        identity: str = "",
        python: Sequence[str] = ("python3",),
        command: Sequence[str] = (),
        syncback: bool = False,
        keep: bool = False,
        limits: Limits | None = None,
        yes: bool = False,
        ask: Callable[[str], bool] | None = None,
        say: Callable[[str], None] = lambda text: None,
        progress: TextIO | None = None,
        ignore: IgnoreRules | None = None,
        writable: Writable | None = None,
        retry_s: float = 60.0,
        check_s: float = CHECK_S,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._retry_s = retry_s
        self._check_s = check_s
        self.so_far = PullResult()
        """What the last `pull`, or `push`, has brought back, also when it failed."""
        self._disks: set[bytes] = set()
        """That have answered since the last `push` began."""
        self._folder = folder
        self._task = task
        self._state = state
        self._begun = state.with_name(state.name + ".begun")
        self._remembers = syncback or keep
        self._store = store
        self._command = [*command] or [*python, "-m", "womm.store.server", store, *filter(None, [identity])]
        self._filled = b""  # which store was, as far as stores tell
        self._syncback = syncback
        self._limits = Limits() if limits is None else limits
        self._yes = yes
        self._ask = ask
        self._say = say
        self._of_files = self._of_bytes = 0  # of the copy, as far as it is known
        self._line = ProgressLine(progress) if progress is not None and progress.isatty() else None
        self._ignore = ignore
        self._writable = Writable() if writable is None else writable
        self._held_told = False, False
        """Whether the user has heard of womm's own files, and of what is outside of `writable`."""
        self._clock_ns = clock_ns

    def __repr__(self) -> str:
        return f"<EagerConnection {self._folder} {'with syncback' if self._syncback else 'no syncback'}>"

    # -- the event loop's
    async def preview(self) -> Preview:
        """Look at what a copy would be. Raises ShareError."""
        return preview(await self._in_thread(self._walk))

    async def confirm(self) -> None:
        """Before a first copy, ask about one above the limits. Raises ShareError when the answer is no.

        `push` does it too; a caller who wants to ask before anything is made calls it earlier.
        """
        if self._yes or self._state.exists():
            return
        found = await self.preview()
        self._yes = True  # asked once
        self._of_files, self._of_bytes = found.files, found.size_bytes
        if not found.exceeds(self._limits):
            return
        text = "\n".join([f"{self._folder} is to be copied:", *found.lines()])
        if self._ask is None:
            raise ShareError(
                f"{text}\nThat is more than {words.counted(self._limits.files, 'file')} or"
                f" {shown_bytes(self._limits.size_bytes)}, and there is no terminal to ask at",
                "--yes, or name what is not needed in .wommignore",
            )
        if not self._ask(f"{text}\nCopy it?"):
            raise ShareError(f"{self._folder} was not copied", "name what is not needed in .wommignore")

    async def push(self, exec_dial: ExecDial) -> PushResult:
        """Make the store equal to the folder. Raises ShareError.

        With syncback, what jobs of an earlier task have left in a kept store is brought back first.
        """
        await self.confirm()
        self._disks.clear()
        result = await self._bringing_back(exec_dial, self._push)
        self._tell(result)
        return result

    async def check(self, exec_dial: ExecDial) -> None:
        """Raise StoreLost when the store is not the one that the last `push` has filled.

        Raises ShareError when it cannot be reached; while nothing can, it waits.
        """
        await self._persistently(exec_dial, self._check, checks=True)

    async def pull(self, exec_dial: ExecDial) -> PullResult:
        """Bring back what is new or changed in the store; nothing here is deleted. Raises ShareError.

        What could not be fetched is still in the store, and comes with the next call.
        """
        await self._bringing_back(exec_dial, self._pull)
        return self.so_far

    def forget(self) -> None:
        """Remove what is remembered of the store: there is none any more."""
        for path in (self._state, self._begun):
            path.unlink(missing_ok=True)

    async def _bringing_back(self, exec_dial: ExecDial, work: "Callable[[_Talk], T]") -> T:
        self.so_far = PullResult()
        try:
            return await self._persistently(exec_dial, work)
        finally:
            self._say_problems(self.so_far)

    async def _persistently(
        self, exec_dial: ExecDial, work: "Callable[[_Talk], T]", *, checks: bool = False
    ) -> T:
        """Talk to the store until it is done, over as many connections as it takes.

        checks: what it has is not asked for, and however long this machine reaches nothing, it goes on.
        """
        loop = asyncio.get_running_loop()
        attempt = 0
        lost_at = loop.time()
        while True:
            try:
                return await converse(
                    exec_dial(self._command),
                    lambda stream: self._talk(stream, work, checks),
                    self._check_s if checks else None,
                )
            except _CutLater as exc:
                attempt, lost_at, reason = 0, loop.time(), str(exc)
                if len(self._disks) >= LOSSES:
                    raise ShareError(
                        f"the file server's disk was lost {LOSSES} times while {self._folder} was copied:"
                        " is there room for it?"
                    ) from exc
            except OSError as exc:
                reason = str(exc) or "the store does not answer"
                if checks and isinstance(exc, Offline):
                    lost_at = loop.time()
                elif loop.time() - lost_at >= self._retry_s:
                    raise ShareError(f"the store of {self._folder} cannot be reached: {reason}") from exc
            if attempt == 0:
                self._say(f"share: {reason}; trying again")
            attempt += 1
            await asyncio.sleep(RETRY_DELAYS_S[min(attempt, len(RETRY_DELAYS_S) - 1)])

    async def _in_thread(self, work: Callable[[Callable[[], None]], T]) -> T:
        stopped = threading.Event()

        def stop() -> None:
            if stopped.is_set():
                raise Stopped

        return await in_thread(lambda: work(stop), stopped.set)

    # -- the thread's
    def _talk(self, stream: PodStream, work: "Callable[[_Talk], T]", checks: bool) -> T:
        talk = _Talk(stream)
        collects = gc.isenabled()
        gc.disable()  # to look at 100,000 tuples again and again takes a sixth of the time
        try:
            # Asked at once: it takes its time to start and to look, and so does what follows here.
            talk.hello()
            if not checks:
                talk.ask_list()
            return work(talk)
        except (Cut, EOFError) as exc:
            talk.last_words()
            kind = _CutLater if talk.answered else Cut
            raise kind(stream.reason or "the connection to the store was cut") from exc
        except BadPack as exc:
            raise ShareError(f"the store of {self._folder} answers nonsense: {exc}") from exc
        except (ShareError, Stopped):
            raise
        except OSError as exc:
            raise self._local(exc) from exc
        finally:
            if collects:
                gc.enable()
            if self._line is not None:
                self._line.clear()

    def _walk(self, stop: Callable[[], None]) -> Walk:
        try:
            with self._opened() as root:
                return walk(root, self._ignore, stop)
        except OSError as exc:
            raise self._local(exc) from exc

    @contextmanager
    def _opened(self) -> Iterator[int]:
        try:
            root = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except NotADirectoryError as exc:
            raise ShareError(f"{self._folder} is no folder any more: nothing was copied") from exc
        except OSError as exc:
            raise ShareError(f"cannot open {self._folder}: {exc.strerror or exc}") from exc
        try:
            yield root
        finally:
            os.close(root)

    def _local(self, exc: OSError) -> ShareError:
        where = "" if exc.filename is None else f" ({words.name(exc.filename)})"
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            return ShareError(
                f"no room for what comes back into {self._folder}: {exc.strerror}{where}; files here are"
                " whole, the rest is still in the store",
                f"df {self._folder}",
            )
        return ShareError(f"{self._folder}: {exc.strerror or exc}{where}")

    def _push(self, talk: "_Talk") -> PushResult:
        with self._opened() as root, self._sender(talk, root) as sender:
            found, theirs = self._look(talk, root, sender)
            self._disks.add(talk.identity)
            ancestor = self._load() or Ancestor(found.root.st_dev, found.root.st_ino)
            again = self._is_another(talk)
            if again:
                self._must_be_copied(ancestor, found.root, "it is not copied again")
                gone = [path for path in ancestor.entries if path not in found.entries]
            else:
                gone = manifest.deleted(ancestor, found, theirs)
            why = manifest.suspicious(ancestor, found, gone)
            if why:
                raise ShareError(
                    f"{self._folder}: {why}; nothing was deleted in the store",
                    f"is it mounted? If it is meant to be so: rm {self._state}",
                )
            if again:
                # What is on an empty disk was written by jobs that did not know, and that run again.
                self._mark_begun()
                sender.remove([path for path in theirs if path not in found.entries])
                theirs = {path: stamp for path, stamp in theirs.items() if path in found.entries}
            elif (
                self._syncback and not self._begun.exists() and self._bring_back(talk, root, ancestor, theirs)
            ):
                self._say("share: brought back from the store what an earlier task has left there")
                talk.ask_list()
                found = walk(root, self._ignore, talk.check)
                theirs = talk.list()
            self._mark_begun()
            result = self._send(talk, sender, found, theirs, ancestor)
            self._begun.unlink(missing_ok=True)
            self._filled = talk.identity
            return result

    def _look(self, talk: "_Talk", root: int, sender: Sender) -> tuple[Walk, dict[bytes, Stamp]]:
        """Walk here while the store does so there. Return what is here and what is there.

        A first copy goes into an empty store: from the word that it is, it is sent while this side looks.
        """
        theirs: dict[bytes, Stamp] | None = None

        def seen(walk: Walk, fd: int, directory: bytes, files: list[bytes]) -> None:
            nonlocal theirs
            if theirs is None and talk.heard:
                theirs = self._listed(talk)
                if not theirs:
                    self._mark_begun()
                    sender.directories(walk)
            if theirs is not None and not theirs:
                sender.early(walk, fd, directory, files)

        if self._state.exists():
            found = walk(root, self._ignore, talk.check)
        else:
            found = walk(root, self._ignore, talk.check, seen=seen)
        remove_stale(root, found.staging)
        return found, self._listed(talk) if theirs is None else theirs

    def _listed(self, talk: "_Talk") -> dict[bytes, Stamp]:
        """What the store has, whose clock is right if that matters."""
        theirs = talk.list()
        if self._syncback:
            talk.check_clock(self._clock_ns)
        return theirs

    def _mark_begun(self) -> None:
        """From now on the store may have what is ours and not noted: syncback must leave that alone."""
        if self._remembers:
            self._begun.touch(0o600)

    @contextmanager
    def _sender(self, talk: "_Talk", root: int) -> Iterator[Sender]:
        def progress(files: int, size: int) -> None:
            if self._line is not None:
                self._line("copying", files, self._of_files, size, self._of_bytes)

        sender = Sender(root, talk.out, digests=self._syncback, progress=progress, ask_blocks=talk.blocks)
        try:
            yield sender
        finally:
            sender.close()

    def _send(
        self, talk: "_Talk", sender: Sender, found: Walk, theirs: dict[bytes, Stamp], ancestor: Ancestor
    ) -> PushResult:
        todo = plan(found, theirs, manifest.deleted(ancestor, found, theirs))
        self._of_files, self._of_bytes = len(todo.send), todo.size_bytes
        sender.run(todo, found)
        store_ns = talk.end()
        if self._remembers:
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
        if self._syncback:
            # Deleted here, changed there: still to be told apart from what is new there.
            for path, base in old.items():
                if path not in found.entries and path in theirs and not base.is_theirs(theirs[path]):
                    entries[path] = base
        manifest.save(
            self._state,
            Ancestor(found.root.st_dev, found.root.st_ino, store_ns, found.mounts, entries),
        )

    def _load(self) -> Ancestor | None:
        return manifest.load(self._state) if self._remembers else None

    def _check(self, talk: "_Talk") -> None:
        talk.welcome()
        self._recognize(talk)

    def _is_another(self, talk: "_Talk") -> bool:
        """Whether it is another store than that which was filled, as far as stores tell."""
        return talk.identity != self._filled and bool(self._filled)

    def _recognize(self, talk: "_Talk") -> None:
        if self._is_another(talk):
            raise StoreLost("the disk of the file server is lost, and what jobs have written there with it")

    def _pull(self, talk: "_Talk") -> None:
        ancestor = manifest.load(self._state)
        if ancestor is None:
            raise ShareError(f"what was copied from {self._folder} is not known any more ({self._state})")
        with self._opened() as root:
            left = "nothing was brought back into it; what jobs have written is still in the store"
            self._must_be_copied(ancestor, os.fstat(root), left)
            remove_stale(root, walk(root, self._ignore, talk.check).staging)
            theirs = talk.list()
            self._recognize(talk)
            self._bring_back(talk, root, ancestor, theirs)
            talk.end()

    def _must_be_copied(self, ancestor: Ancestor, root: os.stat_result, so: str) -> None:
        """Refuse another folder than the one that was copied, and say what follows."""
        if (root.st_dev, root.st_ino) != (ancestor.dev, ancestor.ino):
            raise ShareError(
                f"{self._folder} is not the folder that was copied (unmounted, or replaced): {so}"
            )

    def _bring_back(self, talk: "_Talk", root: int, ancestor: Ancestor, theirs: dict[bytes, Stamp]) -> bool:
        """Return whether anything here has changed. Adds to `so_far`, also when it fails."""
        paths = changed(theirs, ancestor)
        out_of_sight = hidden(paths, theirs, self._ignore)
        paths, own, outside = held([p for p in paths if p not in out_of_sight], theirs, self._writable)
        self.so_far += PullResult(own=tuple(own), outside=tuple(outside))
        if not paths:
            return False
        asked = [path for path in paths if theirs[path].kind != DIRECTORY]
        total = sum(theirs[path].size for path in asked)
        names = b"".join(path + b"\0" for path in asked)

        def progress(files: int, size: int) -> None:
            talk.check()
            if self._line is not None:
                self._line("bringing back", files, len(asked), size, total)

        staging = Staging(root, self._task)
        placer = Placer(root, self._task, staging, ancestor)
        try:
            for path in paths:
                if theirs[path].kind == DIRECTORY:
                    placer.directory(path, theirs[path])
            talk.out.add(header(GET, b"", len(names)) + names)
            talk.out.flush()
            receive(talk, asked, theirs, placer, progress)
            talk.expect(END_OF_LIST, 0)
        finally:
            self.so_far += placer.result
            placer.close()
            staging.close()
            with suppress(OSError):  # of no use without room; files here are compared by content then
                manifest.save(self._state, ancestor)
        return bool(placer.result.brought or placer.result.conflicts)

    def _say_problems(self, result: PullResult) -> None:
        own_told, outside_told = self._held_told
        if result.own and not own_told:
            names = some_names(result.own)
            self._say(f"share: what jobs have made of womm's own files is not brought back: {names}")
        if result.outside and not outside_told:
            names = some_names(result.outside)
            self._say(f"share: not below a path of share-write, so not brought back: {names}")
        self._held_told = own_told or bool(result.own), outside_told or bool(result.outside)
        for path, beside in result.conflicts:
            self._say(
                f"share: {words.name(path)} was changed here and by jobs;"
                f" theirs is kept as {words.name(beside)}"
            )
        for path, reason in result.refused:
            self._say(f"share: cannot write {words.name(path)}: {reason}; it is still in the store")
        for path in result.kept_changing:
            self._say(
                f"share: {words.name(path)} kept changing in the store while it was read: not brought back"
            )

    def _tell(self, result: PushResult) -> None:
        for path, reason in result.unreadable:
            self._say(f"share: cannot read {words.name(path)}: {reason}; left out")
        for path in result.kept_changing:
            self._say(f"share: {words.name(path)} kept changing while it was read; left out")
        if result.special:
            self._say(f"share: FIFOs, sockets and devices are left out: {some_names(result.special)}")


class _CutLater(Cut):
    """The store had answered: it is worth trying for as long as the first time."""


class _Talk(Source):
    """A conversation with the store, from its thread."""

    def __init__(self, stream: PodStream) -> None:
        super().__init__(stream.receive)
        self._stream = stream
        self.check = stream.check
        self.out = Out(stream.send)
        self.answered = False
        self.identity = b""
        """Which store it is, once it has welcomed; empty: it does not tell."""
        self._awaits_welcome = False

    @property
    def heard(self) -> bool:
        """Whether the store has said something that nobody has read."""
        return self._stream.heard

    def record(self) -> Record:
        """The next one. Raises ShareError when the store says why it cannot go on."""
        record = super().record()
        if record.kind == FAILED:
            raise ShareError(f"the store: {words.name(record.path[:1000])}")
        return record

    def expect(self, kind: bytes, numbers: int) -> Record:
        record = self.record()
        if record.kind != kind or len(record.numbers) != numbers:
            raise BadPack(f"{record.kind!r} instead of {kind!r}")
        return record

    def last_words(self) -> None:
        """The store is gone: raise what it has said last, if it has."""
        with suppress(EOFError, BadPack):
            while True:
                self.record()

    def hello(self) -> None:
        """Say it; the answer is the next thing to read."""
        self.out.add(header(HELLO, b"", VERSION))
        self.out.flush()
        self._awaits_welcome = True

    def welcome(self) -> int:
        """Return the store's clock."""
        self._awaits_welcome = False
        record = self.expect(WELCOME, 2)
        version, now_ns = record.numbers
        self.answered, self.identity = True, record.path
        if version != VERSION:
            raise ShareError(f"the file server speaks version {version} of the store, this womm {VERSION}")
        return now_ns

    def check_clock(self, clock_ns: Callable[[], int]) -> None:
        before_ns = clock_ns()
        self.hello()
        check_clock(self.welcome(), before_ns, clock_ns())

    def end(self) -> int:
        """Return the store's time of the end, in nanoseconds of its files' clock."""
        self.out.add(header(END, b""))
        self.out.flush()
        return self.expect(END, 2).numbers[1]

    def blocks(self, path: bytes) -> bytes:
        """The digests of the blocks of what the store has; none: it has nothing to compare with."""
        self.out.add(header(BLOCKS, path))
        self.out.flush()
        size = self.expect(BLOCKS, 1).numbers[0]
        if not 0 <= size <= BLOCKS_BYTES:
            raise BadPack("a file of too many blocks")
        return self.exactly(size)

    def ask_list(self) -> None:
        self.out.add(header(LIST, b""))
        self.out.flush()

    def list(self) -> dict[bytes, Stamp]:
        """What the store has: paths within the folder, every directory before what is in it."""
        if self._awaits_welcome:
            self.welcome()
        found: dict[bytes, Stamp] = {}
        while True:
            record = self.record()
            if record.kind == END_OF_LIST:
                return found
            if record.kind not in (FILE, DIRECTORY, LINK) or len(record.numbers) != 4:
                raise BadPack(f"no entry of a list: {record.kind!r}")
            path = check_path(record.path)
            above = path.rpartition(b"/")[0]
            if (above and (above not in found or found[above].kind != DIRECTORY)) or path in found:
                raise BadPack(f"a path in nothing: {path[:200]!r}")
            if record.numbers[1] < 0 or len(found) >= ENTRIES:
                raise BadPack("an impossible list")
            found[path] = Stamp(record.kind, *record.numbers)


def check_clock(theirs_ns: int, before_ns: int, after_ns: int) -> None:
    """Refuse a store whose clock, read between two readings of ours, is more than 2 s from ours.

    Nothing here is decided by clocks, but programs in the folder do it: make, for one. Raises ShareError.
    """
    skew_s = max(before_ns - theirs_ns, theirs_ns - after_ns, 0) / 1e9
    if skew_s > MAX_SKEW_S:
        way = "behind" if theirs_ns < before_ns else "ahead of"
        raise ShareError(
            f"the cluster's clock is {skew_s:.1f} s {way} this machine's, more than the {MAX_SKEW_S:g} s that"
            " syncback allows",
            "set the clocks (NTP), or use --share eager or --share lazy",
        )


def state_name(folder: Path, store: str) -> str:
    """A name for the state file of a folder and its store."""
    return "eager-" + hashlib.sha256(os.fsencode(folder) + b"\0" + os.fsencode(store)).hexdigest()[:32]

"""The eager share: the folder is copied into a store in the cluster before the first job, and with
syncback what jobs have made there is brought back at the end.

Strategy: one exec in the file server's pod runs `womm.store.server`; a thread here talks to it (`stream`,
`conversation`). It lists what it has, what differs is sent (`push`, `sender`), and what both sides then have
in common is noted (`manifest`) for the next copy and for what comes back (`pull`, `syncback`, `placer`,
`staging`). Of large files of which the store has an older version only those blocks are sent that are others
now.

Rejected: rsync for everything (50,000 small files took three times as long as with tar: it has three
processes and a checksum for each file, where nothing is to be compared), tar (whole seconds, or one more
kilobyte for each file; no word on what has changed while it was read), rsync for what comes back (the pod
is a hostile sender: only names that this side asked for are taken here, whatever version of rsync there is).
So nobody needs an rsync, and no version of it is too old. What it can and this cannot: find a block that has
moved within its file.
"""

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from womm import words
from womm.errors import ShareError
from womm.link.client import RETRY_DELAYS_S, Offline
from womm.share.eager.conversation import Conversation
from womm.share.eager.folder import CopiedFolder
from womm.share.eager.options import EagerOptions
from womm.share.eager.preview import Preview, preview
from womm.share.eager.progress import Progress
from womm.share.eager.pull import Pull
from womm.share.eager.push import Push, PushResult
from womm.share.eager.report import CopyEvents, Report
from womm.share.eager.state import StoreState
from womm.share.eager.stream import Cut, ExecDial, PodStream, Stopped, converse, in_thread
from womm.share.eager.syncback import PullResult
from womm.store.pack import BadPack
from womm.words import shown_bytes

LOSSES: Final = 5
"""So many lost disks in a row are no accident: there may be no room on them."""

T = TypeVar("T")


class EagerConnection:
    """One folder and its store. `preview`, `push`, `check` and `pull` are for the event loop, one at a time;
    a cancelled one leaves nothing behind that runs, and the next one continues.

    command: runs the store, see `store_command`. state: the file that keeps what both sides have in common.
    """

    def __init__(
        self,
        folder: Path,
        task: str,
        command: Sequence[str],
        *,
        state: Path,
        options: EagerOptions,
        events: CopyEvents,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.so_far = PullResult()
        """What the last `pull`, or `push`, has brought back, also when it failed."""
        self._folder = CopiedFolder(folder, task, options.ignore)
        self._command = command
        self._state = StoreState(state, lasting=options.syncback or options.keep)
        self._options = options
        self._events = events
        self._confirmed = options.yes
        self._progress = Progress(events.progress)
        self._report = Report(events.say)
        self._clock_ns = clock_ns

    def __repr__(self) -> str:
        kind = "with syncback" if self._options.syncback else "no syncback"
        return f"<EagerConnection {self._folder.path} {kind}>"

    # -- the event loop's
    async def preview(self) -> Preview:
        """Look at what a copy would be. Raises ShareError."""
        return preview(await self._in_thread(self._folder.walk))

    async def confirm(self) -> None:
        """Before a first copy, ask about one above the limits. Raises ShareError when the answer is no.

        `push` does it too; a caller who wants to ask before anything is made calls it earlier.
        """
        if self._confirmed or self._state.exists():
            return
        found = await self.preview()
        self._confirmed = True  # asked once
        self._progress.expect(found.files, found.size_bytes)
        limits, folder = self._options.limits, self._folder.path
        if not found.exceeds(limits):
            return
        text = "\n".join([f"{folder} is to be copied:", *found.lines()])
        if self._events.ask is None:
            raise ShareError(
                f"{text}\nThat is more than {words.counted(limits.files, 'file')} or"
                f" {shown_bytes(limits.size_bytes)}, and there is no terminal to ask at",
                "--yes, or name what is not needed in .wommignore",
            )
        if not self._events.ask(f"{text}\nCopy it?"):
            raise ShareError(f"{folder} was not copied", "name what is not needed in .wommignore")

    async def push(self, exec_dial: ExecDial) -> PushResult:
        """Make the store equal to the folder. Raises ShareError.

        With syncback, what jobs of an earlier task have left in a kept store is brought back first.
        """
        await self.confirm()
        self._state.disks.clear()
        result = await self._bringing_back(exec_dial, self._push)
        self._report.pushed(result)
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
        self._state.forget()

    async def _bringing_back(self, exec_dial: ExecDial, work: Callable[[Conversation], T]) -> T:
        self.so_far = PullResult()
        try:
            return await self._persistently(exec_dial, work)
        finally:
            self._report.brought_back(self.so_far)

    async def _persistently(
        self, exec_dial: ExecDial, work: Callable[[Conversation], T], *, checks: bool = False
    ) -> T:
        """Talk to the store until it is done, over as many connections as it takes.

        checks: what it has is not asked for, and however long this machine reaches nothing, it goes on.
        """
        loop = asyncio.get_running_loop()
        folder = self._folder.path
        attempt = 0
        lost_at = loop.time()
        while True:
            try:
                return await converse(
                    exec_dial(self._command),
                    lambda stream: self._talk(stream, work, checks),
                    self._options.check_s if checks else None,
                )
            except _CutLater as exc:
                attempt, lost_at, reason = 0, loop.time(), str(exc)
                if len(self._state.disks) >= LOSSES:
                    raise ShareError(
                        f"the file server's disk was lost {LOSSES} times while {folder} was copied:"
                        " is there room for it?"
                    ) from exc
            except OSError as exc:
                reason = str(exc) or "the store does not answer"
                if checks and isinstance(exc, Offline):
                    lost_at = loop.time()
                elif loop.time() - lost_at >= self._options.retry_s:
                    raise ShareError(f"the store of {folder} cannot be reached: {reason}") from exc
            if attempt == 0:
                self._events.say(f"share: {reason}; trying again")
            attempt += 1
            await asyncio.sleep(RETRY_DELAYS_S[min(attempt, len(RETRY_DELAYS_S) - 1)])

    async def _in_thread(self, work: Callable[[Callable[[], None]], T]) -> T:
        stopped = threading.Event()

        def stop() -> None:
            if stopped.is_set():
                raise Stopped

        return await in_thread(lambda: work(stop), stopped.set)

    # -- the thread's
    def _talk(self, stream: PodStream, work: Callable[[Conversation], T], checks: bool) -> T:
        talk = Conversation(stream)
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
            raise ShareError(f"the store of {self._folder.path} answers nonsense: {exc}") from exc
        except (ShareError, Stopped):
            raise
        except OSError as exc:
            raise self._folder.error(exc) from exc
        finally:
            if collects:
                gc.enable()
            self._progress.clear()

    def _push(self, talk: Conversation) -> PushResult:
        pulls = self._pull_of(talk)
        push = Push(
            talk,
            self._folder,
            self._state,
            self._progress,
            self._events.say,
            pulls=pulls if self._options.syncback else None,
            clock_ns=self._clock_ns,
        )
        try:
            return push.run()
        finally:
            self.so_far += pulls.result

    def _check(self, talk: Conversation) -> None:
        talk.welcome()
        self._state.recognize(talk.identity)

    def _pull(self, talk: Conversation) -> None:
        pull = self._pull_of(talk)
        try:
            pull.run()
        finally:
            self.so_far += pull.result

    def _pull_of(self, talk: Conversation) -> Pull:
        return Pull(talk, self._folder, self._state, self._options.writable, self._progress)


class _CutLater(Cut):
    """The store had answered: it is worth trying for as long as the first time."""


def store_command(store: str, *, identity: str = "", python: Sequence[str] = ("python3",)) -> list[str]:
    """Return the command of the store in the folder `store` of the pod.

    identity: the file that distinguishes its disk from another one, see womm.store.server; empty: none.
    """
    return [*python, "-m", "womm.store.server", store, *filter(None, [identity])]

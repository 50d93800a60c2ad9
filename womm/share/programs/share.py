"""This machine's programs in the pods of one task: `ProgramsShare`."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from womm import words
from womm.background import Background, call_exception_handler
from womm.cluster.base import ProgramsSpec, ShareHost
from womm.errors import ShareError
from womm.here.programs import Programs
from womm.process import raise_file_limit
from womm.share.fence import Fence
from womm.share.lazy.connection import sum_of
from womm.share.lazy.control import Conversation
from womm.share.lazy.learning import Learning
from womm.share.lazy.names import NamesLog
from womm.share.lazy.redial import Redial
from womm.share.lazy.ssh import TaskKeys
from womm.share.learned import LearnedFile
from womm.share.programs.mounts import Mounts
from womm.share.programs.pins import Pins, find_pins
from womm.share.programs.upgrades import Upgrades
from womm.share.programs.view import ProgramsFolder
from womm.wire.ahead import Pin, Pinned
from womm.wire.control import AskStats, Changed, Done, Finish, ShareStats, Written

log = logging.getLogger(__name__)

FINISH_S: Final = 40.0
TRAFFIC_S: Final = 10.0
END_S: Final = 60.0
"""A cut link is waited for so long: nothing of the user's can be lost."""


@dataclass(frozen=True, slots=True)
class ProgramsEvents:
    """How the programs speak to the user and to the task. `lost`: they are gone for good, so the task ends.
    `traffic` hears of bytes: the fields of ProgramsTraffic after the time."""

    say: Callable[[str], None]
    lost: Callable[[str], None]
    traffic: Callable[[int, int, int, int, int], None]


@dataclass(frozen=True, slots=True)
class ProgramsOptions:
    """shells: those that run the jobs' lines. learned: what earlier tasks have read.

    The others are for tests: the root of the machine, and what finds a worker's files and notices an upgrade.
    """

    shells: tuple[str, ...] = ("/bin/sh",)
    learned: LearnedFile | None = None
    top: str = "/"
    find_pins: Callable[[Programs, Sequence[str]], Pins] = find_pins
    upgrades: Callable[[Programs], Upgrades] = Upgrades


class ProgramsShare:
    """Serves the programs: `begin`, then `close`, whatever happens in between. For the event loop's thread.

    `spec` comes back with the secret. Raises OSError and ShareError.
    """

    def __init__(
        self,
        programs: Programs,
        spec: ProgramsSpec,
        voice: ProgramsEvents,
        options: ProgramsOptions = ProgramsOptions(),
    ) -> None:
        self._programs = programs
        self._voice = voice
        self._options = options
        self._loop = asyncio.get_running_loop()
        keys = TaskKeys.make()
        self.spec = replace(spec, secret=keys.secret())
        self.words = ""
        """What went over the link; known when the cluster has stopped."""
        fence = Fence(options.top)
        try:
            self._folder = ProgramsFolder(fence, programs, Mounts(), self._say_from_thread)
            self._names = NamesLog(os.stat(options.top).st_dev)
        except BaseException:
            fence.close()
            raise
        self._conversation = Conversation(
            self._names, replaced=self._replaced, give_up=self._give_up, cut=self._hang_up
        )
        self._redial = Redial(
            keys,
            self._folder,
            self._conversation,
            give_up=self._give_up,
            greeted=self._greeted,
        )
        self._learning = Learning(self._conversation, options.learned)
        self._upgrades: Upgrades | None = None
        self._renewing: asyncio.Task[Any] | None = None
        """A look for upgrades, until the file server knows what was found: all jobs wait for the same."""
        self._background = Background(self._task_failed)
        self._pins: Pins | None = None
        """Once they are pinned."""
        self._pinning: asyncio.Task[Any] | None = None
        self._are_pins_old = False
        self._stats = self._stats_before = ShareStats(0, 0, 0, 0, 0)
        self._upgrade_told = False
        self._ending = self._closed = False

    def __repr__(self) -> str:
        return f"<ProgramsShare {self._conversation!r}>"

    # -- a task's life -----------------------------------------------------------------------------
    async def begin(self, host: ShareHost) -> None:
        """The cluster has started. Return at once: the workers come when what they need is there."""
        raise_file_limit()
        host.before_share_ends(self._end)
        self._background.spawn(self._redial.run(host.programs_dial()), "the programs")
        self._background.spawn(self._prepare(host), "the programs' beginning")
        self._spawn_quietly(self._watch_traffic(), "the programs' traffic")

    async def close(self) -> None:
        """Drop the connection. The file server is not told."""
        if self._closed:
            return
        self._closed = True
        self._redial.stop()
        await self._background.close()
        self._conversation.fail("the programs are closed")
        self._names.close()
        await asyncio.to_thread(self._folder.close)

    async def _prepare(self, host: ShareHost) -> None:
        """Have the file server fetch what a worker needs to start, and then let workers come."""
        try:
            options = self._options
            self._upgrades = await asyncio.to_thread(options.upgrades, self._programs)
            pins = await self._find_pins()
            await self._conversation.ready()
            self._spawn_quietly(self._learning.run(), "what the programs have learned")
            pinned = await self._conversation.ask(Pin(pins.paths), Pinned)
            missing = [path for path in pins.essential if path in pinned.missing]
            if missing:
                why = f"pods do not see {words.name(b'/' + missing[0])}, and no worker starts without it"
                raise ShareError(why, f"ls -l {words.name(b'/' + missing[0])}")
        except ShareError as exc:
            self._give_up(exc.message)
            return
        log.debug("%d bytes of programs are pinned", pinned.bytes_)
        self._pins = pins
        host.release_workers()

    def _greeted(self) -> None:
        """A file server that was started again has pinned nothing."""
        if self._pins is not None:
            self._pin_again()

    async def _find_pins(self) -> Pins:
        return await asyncio.to_thread(self._options.find_pins, self._programs, self._options.shells)

    def _pin_again(self) -> None:
        # One that has no answer yet goes out on the new connection by itself.
        if self._pinning is None or self._pinning.done():
            self._pinning = self._spawn_quietly(self._pin(), "the programs' pins")

    async def _pin(self) -> None:
        assert self._pins is not None
        asked = False
        while self._are_pins_old or not asked:
            if self._are_pins_old:
                self._are_pins_old = False
                with suppress(ShareError):  # in the middle of an upgrade: those before
                    self._pins = await self._find_pins()
            pinned = await self._conversation.ask(Pin(self._pins.paths), Pinned)
            log.debug("%d bytes of programs are pinned again", pinned.bytes_)
            asked = True

    # -- jobs --------------------------------------------------------------------------------------
    @property
    def is_current(self) -> bool:
        """No look at the packages is due, and none goes on: `refresh` would return at once."""
        return self._renewing is None and (self._upgrades is None or not self._upgrades.due)

    async def refresh(self) -> None:
        """Before a job: if packages were upgraded, have the file server look at everything again.

        Raises ShareError.
        """
        if self._renewing is None and self._upgrades is not None and self._upgrades.due:
            self._renewing = self._spawn_quietly(self._renew(self._upgrades), "the programs' upgrade")
        if self._renewing is not None:
            await asyncio.wait([self._renewing])  # a job that is cancelled does not end it
            self._conversation.check()

    async def _renew(self, upgrades: Upgrades) -> None:
        try:
            changed = await asyncio.to_thread(upgrades.look)
            if not changed:
                return
            if not self._upgrade_told:
                self._upgrade_told = True
                self._voice.say(
                    f"programs of this machine have changed ({words.name(changed)}): new jobs run the new"
                    " ones, but pods that have run a program already may go on with the old one for a while,"
                    " and jobs that run may see both"
                )
            await self._conversation.ask(Changed((), True), Done)
            if self._pins is not None:
                self._are_pins_old = True  # perl and its libraries are other files now
                self._pin_again()
        finally:
            self._renewing = None

    # -- ends --------------------------------------------------------------------------------------
    async def _end(self) -> None:
        """Before the file server goes: wait for its clients to leave, and keep what was learned."""
        self._ending = True
        if self._pins is None:
            return  # no worker has come; the file server may never do so
        finished = False
        with suppress(TimeoutError, ShareError):
            async with asyncio.timeout(END_S):
                await self._look_at_traffic()
                await self._conversation.ask(Finish(FINISH_S), Written)
                finished = True
        if finished:
            await self._learning.learn_last()
        stats = self._stats
        if stats.fetched:
            fetched, cached = words.shown_bytes(stats.fetched), words.shown_bytes(stats.cached)
            self.words = f"programs: {fetched} fetched, {cached} from the cache"
        if stats.guessed:
            used = words.shown_bytes(stats.used)
            self.words += f", {words.shown_bytes(stats.guessed)} guessed ({used} used)"

    def _replaced(self) -> str:
        """Another file server, with an empty disk: it has no program yet, and gets the pins again."""
        log.info("the file server has lost its disk")
        self._stats_before = self._stats
        return ""

    def _give_up(self, reason: str) -> None:
        if not self._conversation.lost:
            self._conversation.fail(reason)
            self._hang_up()
            if not self._ending:
                self._voice.lost(reason)

    def _hang_up(self) -> None:
        self._redial.hang_up()

    # -- within ------------------------------------------------------------------------------------
    async def _watch_traffic(self) -> None:
        while True:
            await asyncio.sleep(TRAFFIC_S)
            await self._look_at_traffic()

    async def _look_at_traffic(self) -> None:
        now = sum_of(self._stats_before, await self._conversation.ask(AskStats(), ShareStats))
        if now != self._stats:
            self._stats = now
            self._voice.traffic(now.fetched, now.cached, now.guessed, now.used, now.wasted)

    def _spawn_quietly(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Do some work that ends with the programs."""

        async def until_lost() -> None:
            with suppress(ShareError):
                await work

        return self._background.spawn(until_lost(), name)

    def _task_failed(self, task: "asyncio.Task[Any]", error: BaseException) -> None:
        """Programs that nobody serves any more would hang the pods: a bug must end the task."""
        self._give_up(f"{task.get_name()} has failed: {error!r}")
        call_exception_handler(task, error)

    def _say_from_thread(self, line: str) -> None:
        self._loop.call_soon_threadsafe(self._voice.say, line)

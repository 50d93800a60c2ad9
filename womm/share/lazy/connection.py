"""A folder shared lazily: nothing is copied ahead, the file server in the pod asks for what is used.

`LazyConnection` keeps the connection to it, over as many cuts as there are, and speaks the control channel's
protocol on it: lines of JSON, requests of this side with a number, answers with the same. Whoever waits
for an answer waits through cuts: what was not answered is asked again on the next connection, in the same
order. All requests are idempotent.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from womm.errors import ShareError
from womm.link.client import RETRY_DELAYS_S, Dial
from womm.memory import keep_memory
from womm.process import raise_file_limit
from womm.share.control import Writable
from womm.share.fence import Fence
from womm.share.ignore import Ignore
from womm.share.lazy import ssh
from womm.share.lazy.exporter import Export, Traffic
from womm.share.lazy.guard import Guard
from womm.share.lazy.names import NamesLog
from womm.share.lazy.ssh import TaskKeys
from womm.share.lazy.unsent import Unsent, UnsentFiles
from womm.share.lazy.versions import Versions
from womm.share.lazy.watch import ALL, NOTHING, Changes, Watcher
from womm.waiting import first_of
from womm.wire import login

log = logging.getLogger(__name__)

T = TypeVar("T")

CONTROL_VERSION: Final = 2
HELLO_TIMEOUT_S: Final = 30.0
ABSORB_EVERY_S: Final = 0.5
"""inotify's queue has room for 16,384 events. And a job that waits for a change here sees it so soon."""
_LINE_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class FlushResult:
    """`changed`: paths that jobs changed since the last flush; `failed`: why a path is not on the disk;
    `lost`: those of them that are not tried again."""

    bytes: int
    changed: list[str]
    failed: dict[str, str]
    lost: list[str]


@dataclass(frozen=True, slots=True)
class ShareStats:
    """Bytes since the start: from the folder, from the file server's cache, into the folder; what is not
    in the folder yet; and how many reads."""

    fetched: int
    cached: int
    written: int
    unwritten: int
    reads: int

    def after(self, before: "ShareStats") -> "ShareStats":
        """Return the sum of these and an earlier server's."""
        return ShareStats(
            self.fetched + before.fetched,
            self.cached + before.cached,
            self.written + before.written,
            self.unwritten,
            self.reads + before.reads,
        )


class _Writer(Protocol):
    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...


class LazyConnection:
    """The share of one folder for one task. Every method is for the event loop's thread.

    `on_disk_lost` is called each time that another file server takes the place of one whose disk is lost:
    what that one had not written yet is gone. What is asked for waits, and the new one answers. `on_lost` is
    called once, with the reason, when there will be no server (to dial raises ShareError), and without
    `on_disk_lost` for a lost disk, too. From then on every call raises ShareError. `say` tells the user a
    line. Raises OSError when the folder cannot be opened.
    """

    def __init__(
        self,
        folder: Path,
        *,
        read_only: bool = False,
        writable: Writable | None = None,
        keepalive_s: float = login.KEEPALIVE_S,
        on_lost: Callable[[str], None],
        on_disk_lost: Callable[[], None] | None = None,
        say: Callable[[str], None],
    ) -> None:
        self.keys = TaskKeys.make()
        self._on_disk_lost = on_disk_lost
        self._folder = folder
        self._on_lost = on_lost
        self._keepalive_s = keepalive_s
        self._say = say
        fence = Fence(folder)
        self._ignore = Ignore(fence)
        guard = Guard(fence, self._ignore, writable, self._say_from_thread)
        self._watcher = Watcher(fence, self._ignore, control=guard.note)
        self._loop = asyncio.get_running_loop()
        self._export = Export(fence, guard=guard, read_only=read_only, own=self._watcher)
        self._names = NamesLog(os.stat(folder).st_dev)
        self._tasks: list[asyncio.Task[None]] = []
        self._watching: asyncio.Future[None] | None = None
        self._connection: ssh.Connection | None = None
        self._control: _Control | None = None
        self._up = asyncio.Event()
        self._first = self._loop.create_future()
        self._epoch: str | None = None
        self._owner: dict[str, int] | None = None
        """Whose files they are in pods, once that is known."""
        self._lost = ""
        self._closed = False
        self._next_id = 0
        self._asked: dict[int, tuple[bytes, asyncio.Future[dict[str, Any]]]] = {}
        self._stats = self._stats_before = ShareStats(0, 0, 0, 0, 0)
        """As they were told last, and what servers that are gone had told."""
        self._unsent = UnsentFiles()
        self.heard_s = 0.0
        """When the file server was heard of last, in seconds since 1970; 0: never."""
        self._seen_flush = 0
        self._unknown = NOTHING
        """Changes that the server has not acknowledged."""
        self._untold = NOTHING
        """Changes that it has, and that no caller of `barrier` has got: the one who waited was cancelled."""
        self._untold_flushed: list[str] = []
        """The same of `flush`."""
        self._barriers = _Rounds(self._tell_changes)
        self._flushes = _Rounds(self._ask_flush)

    def __repr__(self) -> str:
        state = "closed" if self._closed else self._lost or ("up" if self.connected else "cut")
        return f"<LazyConnection {self._folder} {state} {len(self._asked)} asked, {self._watcher!r}>"

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    @property
    def traffic(self) -> Traffic:
        """What went through this side."""
        return self._export.traffic

    @property
    def unsent(self) -> Unsent:
        """What pods have written that is not in the folder, as far as the file server has told; in
        `on_disk_lost`: what was lost."""
        return self._unsent.now

    def keep_versions(self, task: str, kept: Callable[[str, str], None]) -> None:
        """Before `start`: have what the user changes while jobs write to it kept as NAME.womm-TASK; `kept`
        hears of each: the file, and its copy (by os.fsdecode)."""

        def told(path: bytes, beside: bytes) -> None:
            self._loop.call_soon_threadsafe(kept, os.fsdecode(path), os.fsdecode(beside))

        self._export.versions = Versions(self._export.fence, task, told)

    def start(self, dial: Dial) -> None:
        """Dial, and again after every cut, until `close`."""
        keep_memory()
        raise_file_limit()  # each file that a pod has open to write it is open here
        self._watching = self._loop.run_in_executor(None, self._look_around)
        self._tasks = [
            self._loop.create_task(self._run(dial), name="lazy share"),
            self._loop.create_task(self._absorb(), name="lazy share's watch"),
        ]
        for task in self._tasks:
            task.add_done_callback(self._tell_failure)

    def _look_around(self) -> None:
        """Before pods can see anything: what is hidden is so until the end."""
        self._watcher.start()
        self._ignore.begun()

    async def close(self) -> None:
        """Drop the connection and close the folder. The file server is not told."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._watching is not None:
            await asyncio.wait([self._watching])
        self._fail("the share is closed")
        await self._barriers.settle()
        await self._flushes.settle()
        self._watcher.close()
        self._names.close()
        await asyncio.to_thread(self._export.close)

    async def ready(self) -> None:
        """Wait until the file server is there for the first time. Raises ShareError."""
        await asyncio.shield(self._first)

    @property
    def quiet(self) -> bool:
        """Nothing has changed here that the file server does not know: `barrier` has nothing to do."""
        if self._lost or self._barriers.busy:
            return False
        self._look()
        return not self._unknown and not self._untold

    async def barrier(self) -> list[str]:
        """Have the file server know what has changed here; return the paths (relative, by os.fsdecode).

        Nothing that it remembers of them is served any more when this returns. [""] says that anything may
        have changed. Mostly nothing did, and this costs one system call. Raises ShareError.
        """
        self._check()
        if self.quiet:
            return []
        found = await self._barriers.join()
        self._untold = NOTHING
        return [""] if found.all else sorted(os.fsdecode(path) for path in found.paths)

    async def flush(self) -> FlushResult:
        """Wait until all that jobs were told is written is in the folder. Raises ShareError."""
        self._check()
        found = await self._flushes.join()
        self._untold_flushed = []
        return found

    async def stats(self) -> ShareStats:
        found = await self._ask({"op": "stats"})
        now = ShareStats(*(_count(found, name) for name in ShareStats.__dataclass_fields__))
        self._stats = now.after(self._stats_before)
        return self._stats

    async def own(self, uid: int, gid: int) -> bool:
        """Have all files belong to this user in pods, here too after a restart of the file server.

        Returns whether they did not before. On this machine they stay the user's.
        """
        self._owner = {"uid": uid, "gid": gid}
        answer = await self._ask({"op": "owner", **self._owner})
        return bool(answer.get("changed"))

    async def finish(self, timeout_s: float) -> None:
        """Have the file server write all, and wait for its clients to leave, so long at most."""
        await self._ask({"op": "finish", "timeout": timeout_s})

    # -- what is asked -----------------------------------------------------------------------------
    def _say_from_thread(self, line: str) -> None:
        self._loop.call_soon_threadsafe(self._say, line)

    def _look(self) -> None:
        found = self._watcher.changes()
        if found:
            self._unknown |= found

    async def _tell_changes(self) -> Changes:
        self._look()
        told, self._unknown = self._unknown, NOTHING
        if told:
            paths = [] if told.all else sorted(os.fsdecode(path) for path in told.paths)
            try:
                await self._ask({"op": "changed", "paths": paths, "all": told.all})
            except BaseException:
                self._unknown |= told
                raise
            self._untold |= told
        return self._untold

    async def _ask_flush(self) -> FlushResult:
        answer = await self._ask({"op": "flush", "seen": self._seen_flush})
        self._seen_flush = int(answer["id"])
        changed, failed, lost = (answer.get(what) for what in ("changed", "failed", "lost"))
        if isinstance(changed, list):
            self._untold_flushed = sorted({*self._untold_flushed, *map(str, changed)})
        return FlushResult(
            _count(answer, "bytes"),
            self._untold_flushed,
            {str(path): str(why) for path, why in failed.items()} if isinstance(failed, dict) else {},
            [str(path) for path in lost] if isinstance(lost, list) else [],
        )

    async def _ask(self, request: dict[str, object]) -> dict[str, Any]:
        self._check()
        self._next_id += 1
        number = self._next_id
        line = _line({"id": number, **request})
        future: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._asked[number] = line, future
        if self._control is not None and self._up.is_set():
            self._control.send(line)
        try:
            return await future
        finally:
            self._asked.pop(number, None)

    def _check(self) -> None:
        if self._lost:
            raise ShareError(self._lost)

    # -- the connection ----------------------------------------------------------------------------
    async def _run(self, dial: Dial) -> None:
        assert self._watching is not None
        await asyncio.shield(self._watching)
        if self._watcher.why_all:
            self._say(
                f"changes in {self._folder} cannot be watched ({self._watcher.why_all}): "
                "every job's start asks again for all that is used"
            )
        attempt = 0
        while not self._is_over():
            connection = None
            try:
                connection = self._connection = await ssh.connect(
                    dial, self.keys, self._export, self._make_control, keepalive_s=self._keepalive_s
                )
                # Python 3.11's wait_for, which asyncssh uses, may swallow a cancellation.
                if self._is_over():
                    return
                async with asyncio.timeout(HELLO_TIMEOUT_S):
                    await first_of(None, self._up.wait(), connection.lost.wait())
                if self._up.is_set():
                    attempt = 0
                await connection.lost.wait()
                log.debug("the share's connection is cut: %s", connection.reason)
            except ShareError as exc:
                self._give_up(exc.message)
            except (OSError, TimeoutError) as exc:
                log.debug("the share is not connected: %r", exc)
            finally:
                self._up.clear()
                self._control = self._connection = None
                if connection is not None:
                    connection.abort()
                    with suppress(OSError):
                        await connection.wait_closed()
            if self._is_over():
                return
            await asyncio.sleep(RETRY_DELAYS_S[min(attempt, len(RETRY_DELAYS_S) - 1)])
            attempt += 1

    def _is_over(self) -> bool:
        return self._closed or bool(self._lost)

    async def _absorb(self) -> None:
        """Empty inotify's queue, and have jobs that run for long see what has changed."""
        while True:
            await asyncio.sleep(ABSORB_EVERY_S)
            self._watcher.absorb()
            if self.connected and not self._watcher.why_all and not self._barriers.busy:
                self._look()
                if self._unknown:
                    self._barriers.begin()

    def _tell_failure(self, task: asyncio.Task[None]) -> None:
        """A share that nobody runs any more would hang its callers: a bug must end the task."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(f"{task.get_name()} has failed: {error!r}")
            context = {"message": f"{task.get_name()} has failed", "exception": error}
            self._loop.call_exception_handler(context)

    def _fail(self, reason: str) -> None:
        """Nothing is answered any more."""
        self._lost = self._lost or reason
        error = ShareError(self._lost)
        for _, future in self._asked.values():
            if not future.done():
                future.set_exception(error)
        if not self._first.done():
            self._first.set_exception(error)
            self._first.exception()  # perhaps nobody waits
        self._up.clear()

    # -- what the control channel tells ------------------------------------------------------------
    def _make_control(self, channel: _Writer) -> "_Control":
        if self._control is not None:
            self._control.drop()
        self._control = _Control(self, channel)
        return self._control

    def hello(self, control: "_Control", epoch: str, version: int, hello: dict[str, Any]) -> None:
        """The file server is there: ask again what it has not answered."""
        if control is not self._control:
            return
        if version != CONTROL_VERSION:
            reason = (
                f"the file server speaks version {version} of the share's protocol, not {CONTROL_VERSION}"
            )
            self._give_up(reason)
            return
        if self._epoch not in {None, epoch}:
            if self._on_disk_lost is None:
                self._give_up("the file server has lost its disk: it is another one than before")
                return
            self._begin_again(self._on_disk_lost)
        self._epoch = epoch
        self._names.greeted(_count(hello, "generation"), _count(hello, "change"))
        if not hello.get("whole"):
            self._hand_over(control)
        if self._owner is not None:
            control.send(_line({"op": "owner", **self._owner}))
        self._up.set()
        if not self._first.done():
            self._first.set_result(None)
        for line, _ in list(self._asked.values()):
            control.send(line)

    def _begin_again(self, on_disk_lost: Callable[[], None]) -> None:
        """Another server: nobody knows any more what clients have changed since the last flush."""
        log.info("the file server has lost its disk")
        self._unknown |= ALL
        self._stats_before = self._stats
        on_disk_lost()

    def _hand_over(self, control: "_Control") -> None:
        """Give a server with an empty disk the names of those before it."""
        for lines in self._names.lines():
            control.send(lines)
        control.send(json.dumps({"op": "adopted", **self._names.hand_over()}).encode() + b"\n")

    def told_names(self, control: "_Control", message: dict[str, Any], line: bytes) -> None:
        """Keep what the file server says of its names, for one that takes its place."""
        self._names.add(line, reset=bool(message.get("reset")))
        control.send(b'{"op":"seen","number":%d}\n' % _count(message, "number"))

    def told_unsent(self, control: "_Control", message: dict[str, Any]) -> None:
        if control is self._control:
            self._unsent.take(message)

    def _give_up(self, reason: str) -> None:
        if not self._lost:
            self._fail(reason)
            if self._connection is not None:
                self._connection.abort()
            self._on_lost(reason)

    def answered(self, answer: dict[str, Any]) -> None:
        number = answer.get("id")
        known = self._asked.get(number) if isinstance(number, int) else None
        if known is not None and not known[1].done():
            known[1].set_result(answer)

    def control_closed(self, control: "_Control") -> None:
        """Without its control channel a connection is of no use."""
        if control is self._control:
            self._control = None
            self._up.clear()
            if self._connection is not None:
                self._connection.abort()


def _line(message: dict[str, object] | dict[str, str | int]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class _Control:
    """The control channel of one connection."""

    def __init__(self, share: LazyConnection, channel: _Writer) -> None:
        self._share = share
        self._channel = channel
        self._parts: list[bytes] = []
        self._bytes = 0
        self._greeted = False

    def send(self, line: bytes) -> None:
        with suppress(OSError):
            self._channel.write(line)

    def drop(self) -> None:
        self._channel.abort()

    def received(self, data: bytes) -> None:
        self._share.heard_s = time.time()
        while (end := data.find(b"\n")) >= 0:
            line = b"".join((*self._parts, data[:end]))
            data = data[end + 1 :]
            self._parts.clear()
            self._bytes = 0
            try:
                self._take(json.loads(line), line)
            except (ValueError, TypeError, KeyError, RecursionError) as exc:
                self._refuse(f"{exc}: {line[:200]!r}")
                return
        if data:
            self._parts.append(data)
            self._bytes += len(data)
            if self._bytes > _LINE_BYTES:
                self._refuse("a line without an end")

    def _take(self, message: object, line: bytes) -> None:
        if not isinstance(message, dict):
            raise TypeError("no object")
        if self._greeted:
            if message.get("op") == "names":
                self._share.told_names(self, message, line)
            elif message.get("op") == "unsent":
                self._share.told_unsent(self, message)
            else:
                self._share.answered(message)
            return
        epoch, version = message.get("epoch"), message.get("version")
        if message.get("op") != "hello" or not isinstance(epoch, str) or not isinstance(version, int):
            raise ValueError("no hello")
        self._greeted = True
        self._share.hello(self, epoch, version, message)

    def _refuse(self, reason: str) -> None:
        log.warning("the file server's control channel makes no sense: %s", reason)
        self._parts.clear()
        self._channel.abort()

    def pause(self) -> None:
        """What is written waits: it is little."""

    def resume(self) -> None:
        """See `pause`."""

    def closed(self) -> None:
        self._share.control_closed(self)


class _Rounds(Generic[T]):
    """Calls that come together are one: who comes while one runs waits for the next, which all others share.

    They go on when who waits is cancelled.
    """

    def __init__(self, call: Callable[[], Awaitable[T]]) -> None:
        self._call = call
        self._now: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    @property
    def busy(self) -> bool:
        return self._next is not None or (self._now is not None and not self._now.done())

    def begin(self) -> "asyncio.Task[T]":
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._run(self._now), name="share's round")
            self._next.add_done_callback(_retrieve)
        return self._next

    async def join(self) -> T:
        return await asyncio.shield(self.begin())

    async def settle(self) -> None:
        """Wait until none runs."""
        while (task := self._next or self._now) is not None and not task.done():
            await asyncio.wait([task])

    async def _run(self, before: asyncio.Task[T] | None) -> T:
        if before is not None and not before.done():
            await asyncio.wait([before])
        self._now, self._next = self._next, None
        return await self._call()


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Perhaps nobody waits any more."""
    if not task.cancelled():
        task.exception()


def _count(answer: dict[str, Any], name: str) -> int:
    value = answer.get(name)
    return value if isinstance(value, int) else 0

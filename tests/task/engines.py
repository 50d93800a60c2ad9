"""An engine without a process: it submits its commands, and ends with the number of those that failed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.dispatch.sinks import Sink
from womm.dispatch.job import Outcome
from womm.engine.base import EngineHost
from womm.link.frames import RunRequest


class CommandEngine:
    """See womm.engine.base.Engine. It ends by a signal at once, as a process without a handler does."""

    def __init__(self, commands: Sequence[bytes], host: EngineHost) -> None:
        self._commands = commands
        self._host = host
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.sinks: list[Sink] = []
        self.calls: list[str] = []

    async def start(self) -> None:
        self.calls.append("start")
        for seq, command in enumerate(self._commands, 1):
            sink = _Counted(self)
            self.sinks.append(sink)
            self._host.dispatcher.submit(RunRequest(command), sink, seq=seq)

    def one_has_ended(self) -> None:
        self._host.before_output()
        outcomes = [sink.outcome for sink in self.sinks if sink.outcome is not None]
        if len(outcomes) == len(self._commands) and not self._ended.done():
            self._ended.set_result(sum(outcome.exit != 0 for outcome in outcomes))

    def follow(self) -> None:
        self.calls.append("follow")

    def signal(self, number: int) -> None:
        self.calls.append(f"signal {int(number)}")
        if not self._ended.done():
            self._ended.set_result(-number)

    def pass_on(self, number: int) -> None:
        self.calls.append(f"pass on {int(number)}")

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def status(self, ended: int) -> int:
        if ended < 0:
            self._host.say(f"ended by signal {-ended}")
            return 254
        return ended


class _Counted(Sink):
    def __init__(self, engine: CommandEngine) -> None:
        super().__init__()
        self._engine = engine

    def ended(self, outcome: Outcome) -> None:
        super().ended(outcome)
        self._engine.one_has_ended()


class Opener:
    """Opens the engine, and keeps it for the test to look at."""

    def __init__(self, *commands: bytes) -> None:
        self._commands = commands
        self.engine: CommandEngine

    @asynccontextmanager
    async def __call__(self, host: EngineHost) -> AsyncIterator[CommandEngine]:
        self.engine = CommandEngine(self._commands, host)
        try:
            yield self.engine
        finally:
            self.engine.calls.append("close")

"""The file server of an eager share hears who owns its files, from a command in its pod."""

import asyncio
import sys
from collections.abc import Callable, Sequence

import pytest

from womm.errors import ShareError
from womm.link.client import Dial
from womm.link.frames import User
from womm.share.eager.owner import RETRY_DELAYS_S, tell_owner
from womm.share.eager.stream import LocalStore

USER = User(1000, 100)


class Pods:
    """Runs one of `programs` on this machine for each dial, the last one again and again."""

    def __init__(self, store: LocalStore, *programs: str | OSError) -> None:
        self._store = store
        self._programs = list(programs)
        self.commands: list[list[str]] = []

    def exec_dial(self, command: Sequence[str]) -> Dial:
        self.commands.append(list(command))
        program = self._programs.pop(0) if len(self._programs) > 1 else self._programs[0]

        async def refuse(factory: Callable[[], asyncio.BaseProtocol]) -> object:
            assert isinstance(program, OSError)
            raise program

        if isinstance(program, OSError):
            return refuse
        return self._store.exec_dial([sys.executable, "-c", program])


async def test_owner_is_told_by_the_file_servers_own_command() -> None:
    async with LocalStore() as store:
        pods = Pods(store, "print('taken')")
        await tell_owner(pods.exec_dial, "/far/state", USER)
    assert pods.commands == [["python3", "-m", "womm.fileserver.owner", "/far/state", "1000", "100"]]


async def test_owner_that_is_not_taken_at_first_is_told_again() -> None:
    async with LocalStore() as store:
        pods = Pods(store, OSError("no pod"), "print('taken')")
        await tell_owner(pods.exec_dial, "/far/state", USER)
    assert len(pods.commands) == 2


@pytest.mark.slow
async def test_owner_that_is_never_taken_is_told_as_often_as_it_was_tried_and_why() -> None:
    async with LocalStore() as store:
        silent, away = Pods(store, "raise SystemExit(1)"), Pods(store, OSError("no pod"))

        async def fails(pods: Pods, why: str) -> None:
            with pytest.raises(ShareError, match=f"does not take uid 1000 as the owner of files: {why}"):
                await tell_owner(pods.exec_dial, "/far/state", USER)

        await asyncio.gather(fails(silent, "it does not take it"), fails(away, "no pod"))
    assert len(silent.commands) == len(away.commands) == len(RETRY_DELAYS_S) + 1

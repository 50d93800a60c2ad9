"""A connection to a store: asked before a first copy, cut, out of reach, given up, checked."""

import asyncio
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.share.eager.eagers import Rig, contents, in_store, snapshot
from tests.share.eager.test_faults import hostile, rubbish
from womm.errors import ShareError
from womm.link.client import Dial, Offline
from womm.share.eager.preview import Limits
from womm.share.eager.state import StoreLost
from womm.share.eager.stream import LocalStore
from womm.store.protocol import VERSION


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def answering(answer: bool, asked: list[str]) -> Callable[[str], bool]:
    def ask(text: str) -> bool:
        asked.append(text)
        return answer

    return ask


@pytest.mark.parametrize("limits", [Limits(files=2), Limits(size_bytes=100)])
def test_push_above_a_limit_asks_once_and_without_a_terminal_refuses(rig: Rig, limits: Limits) -> None:
    for number in range(3):
        (rig.folder / f"f{number}").write_bytes(b"x" * 40)
    with pytest.raises(ShareError, match="no terminal to ask at") as refused:
        rig.push(yes=False, limits=limits)
    assert refused.value.hint is not None and "--yes" in refused.value.hint
    asked: list[str] = []
    with pytest.raises(ShareError, match="was not copied"):
        rig.push(yes=False, limits=limits, ask=answering(False, asked))
    assert contents(rig.store) == {}
    rig.push(yes=False, limits=limits, ask=answering(True, asked))
    assert len(contents(rig.store)) == 3
    (rig.folder / "new").write_text("new")
    rig.push(yes=False, limits=limits)  # not a first copy any more
    assert len(asked) == 2 and "3 files" in asked[0] and "f0" in asked[0]


def test_push_under_the_limits_asks_nothing(rig: Rig) -> None:
    (rig.folder / "f").write_text("f")
    asked: list[str] = []
    rig.push(yes=False, ask=answering(False, asked))
    assert asked == []


class Cutting(LocalStore):
    """Cuts each connection after some bytes of what is sent, a few times."""

    def __init__(self, after_bytes: Sequence[int]) -> None:
        super().__init__()
        self._after = list(after_bytes)

    def exec_dial(self, command: Sequence[str]) -> Dial:
        plain = super().exec_dial(command)
        if not self._after:
            return plain
        left = self._after.pop(0)

        async def connect(factory: Callable[[], asyncio.BaseProtocol]) -> object:
            transport: Any = await plain(factory)
            write, sent = transport.write, 0

            class Proxy:
                """The real transport but for its end."""

                def __getattr__(self, name: str) -> Any:
                    return getattr(transport, name)

                def write(self, data: bytes) -> None:
                    nonlocal sent
                    sent += len(data)
                    write(data)
                    if sent > left:
                        transport.abort()

            transport.get_protocol()._transport = Proxy()
            return transport

        return connect


async def test_push_over_a_connection_that_is_cut_goes_on(rig: Rig) -> None:
    for number in range(40):
        (rig.folder / f"f{number}").write_bytes(os.urandom(100_000))
    share = rig.share(retry_s=20.0)

    async with Cutting([0, 500_000, 2_000_000]) as store:
        left = (await share.push(store.exec_dial)).files
    assert snapshot(rig.store) == snapshot(rig.folder)
    assert left <= 40
    assert all("trying again" in said for said in rig.said) and rig.said


def test_store_that_cannot_be_reached_is_one_clear_line(rig: Rig) -> None:
    (rig.folder / "f").write_text("f")
    with pytest.raises(ShareError, match=r"the store of .* cannot be reached"):
        rig.push(python=("/nonexistent/python",))
    with pytest.raises(ShareError, match=r"the store of .* cannot be reached"):
        rig.push(python=("false",))


@pytest.mark.parametrize("what", ["push", "pull"])
def test_cancelled_copy_leaves_no_process_and_no_staging_and_goes_on_next_time(rig: Rig, what: str) -> None:
    for number in range(30):
        (rig.folder / f"f{number}").write_bytes(b"before")
    rig.push()
    source, target = (rig.folder, rig.store) if what == "push" else (rig.store, rig.folder)
    for number in range(30):
        (source / f"f{number}").write_bytes(os.urandom(1_000_000))
    share = rig.share()

    async def main() -> None:
        async with LocalStore() as store:
            task = asyncio.ensure_future(getattr(share, what)(store.exec_dial))
            while contents_changed(target) == 0 and not task.done():
                await asyncio.sleep(0.005)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert rubbish(rig.folder) == []

    def contents_changed(folder: Path) -> int:
        return sum((folder / f"f{number}").stat().st_size > 10 for number in range(30))

    asyncio.run(main())
    after = subprocess.check_output(["ps", "-e", "-o", "pid=,args="], text=True).splitlines()
    assert not [line for line in after if "womm.store.server" in line and str(rig.store) in line]
    getattr(rig, what)()
    assert contents(rig.store) == contents(rig.folder)


async def test_store_on_another_disk_is_told_from_the_one_that_was_filled(rig: Rig) -> None:
    (rig.folder / "given").write_text("given")
    share = rig.share(identity=str(rig.disk))

    async with LocalStore() as store:
        await share.push(store.exec_dial)
        await share.check(store.exec_dial)
        (rig.store / "made").write_text("made")
        kept = rig.disk.read_bytes()
        rig.lose_disk()
        for work in (share.check, share.pull):
            with pytest.raises(StoreLost, match="disk of the file server is lost"):
                await work(store.exec_dial)
        assert contents(rig.folder) == {"given": b"given"}
        assert contents(rig.store) == {}
        assert rig.disk.read_bytes() != kept
        # Filled again, it is the one; what jobs make in it comes back.
        (rig.folder / "given").write_text("changed")
        await share.push(store.exec_dial)
        await share.check(store.exec_dial)
        (rig.store / "again").write_text("again")
        assert (await share.pull(store.exec_dial)).brought == (b"again",)
    assert contents(rig.folder) == contents(rig.store) == {"given": b"changed", "again": b"again"}


def test_disk_that_is_lost_again_and_again_while_it_is_filled_ends_the_copy(rig: Rig, tmp_path: Path) -> None:
    (rig.folder / "f").write_text("f")
    program = tmp_path / "lost.py"
    program.write_text(
        "import os, time\n"
        f"print(f'w {VERSION},{{time.time_ns()}} {{os.urandom(8).hex()}}', end='\\0')\n"
        "print('.  ', end='\\0', flush=True)\n"
    )
    share = rig.share(command=[sys.executable, str(program)], syncback=False, retry_s=60.0)
    with pytest.raises(ShareError, match=r"disk was lost 5 times while .* is there room"):
        in_store(share.push)


def test_store_of_another_version_is_refused(rig: Rig, tmp_path: Path) -> None:
    """One that tells no id would be taken for the one that was filled, whatever is on its disk."""
    share = rig.share(command=hostile(rig, tmp_path, "", version=VERSION - 1))
    with pytest.raises(ShareError, match=f"speaks version {VERSION - 1} of the store, this womm {VERSION}"):
        in_store(share.push)


def test_check_needs_no_lock_of_a_conversation_that_has_not_noticed_its_end(rig: Rig) -> None:
    share = rig.share(identity=str(rig.disk))
    in_store(share.push)
    root = os.open(rig.store, os.O_RDONLY)
    try:
        fcntl.flock(root, fcntl.LOCK_EX)
        in_store(share.check)
    finally:
        os.close(root)


async def test_check_gives_up_a_connection_on_which_nobody_answers(rig: Rig) -> None:
    share = rig.share(check_s=0.2, retry_s=30.0)
    silent = iter([True, True])

    def dial(store: LocalStore, command: Sequence[str]) -> Dial:
        return store.exec_dial(["sleep", "1000"] if next(silent, False) else command)

    async with LocalStore() as store:
        await share.push(store.exec_dial)
        await share.check(lambda command: dial(store, command))
    assert rig.said == ["share: the store does not answer; trying again"]


async def test_check_waits_for_as_long_as_this_machine_is_offline(rig: Rig) -> None:
    (rig.folder / "f").write_text("f")
    share = rig.share()
    answers: list[OSError | None] = [Offline("no network"), Offline("no network"), None]

    async with LocalStore() as store:
        await share.push(store.exec_dial)

        def exec_dial(command: Sequence[str]) -> Dial:
            async def connect(factory: Callable[[], asyncio.BaseProtocol]) -> object:
                if (error := answers.pop(0)) is not None:
                    raise error
                return await store.exec_dial(command)(factory)

            return connect

        await share.check(exec_dial)
        answers.append(OSError("no pod"))
        with pytest.raises(ShareError, match="cannot be reached: no pod"):
            await share.check(exec_dial)

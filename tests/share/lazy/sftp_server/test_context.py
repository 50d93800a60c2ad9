"""Where requests run: in threads and after each other, and what becomes of it when the channel is gone."""

import asyncio
import os
import threading

import pytest

from tests.fileserver.lazy import descriptors
from tests.loop import until
from womm.share.fence import Fence
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.sftp_server.context import Handle, RequestContext
from womm.wire.replies import status


class Context:
    """A context over `folder`, and what it has delivered."""

    def __init__(self, folder):
        self.export = ExportedFolder(Fence(folder))
        self.delivered: list[bytes] = []
        self.left = 0
        self.it = RequestContext(self.export, self._deliver, self._count)

    def _deliver(self, reply):
        self.delivered.append(bytes(reply))

    def _count(self):
        self.left += 1

    def open(self, path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        return self.it.handle(self.it.add(fd, os.fsencode(path.name), True))


@pytest.fixture
def run_in(folder):
    """Run a coroutine function with a Context."""

    def run(work):
        async def main():
            context = Context(folder)
            try:
                await work(context)
            finally:
                context.it.close()
                await asyncio.to_thread(context.export.close)

        asyncio.run(main())

    return run


def test_what_comes_after_a_thread_waits_for_it_and_keeps_its_order(run_in, folder):
    async def work(context):
        handle: Handle = context.open(folder / "f")
        gate = threading.Event()

        def slow():
            gate.wait(10)
            return status(1)

        context.it.in_thread(1, slow, handle)
        assert context.it.running == 1
        for number in (2, 3):
            assert context.it.after(number, handle, lambda number=number: status(number)) is None
        await asyncio.sleep(0.02)
        assert context.delivered == []
        gate.set()
        await until(lambda: len(context.delivered) == 3)
        assert context.delivered == [status(1), status(2), status(3)]
        assert (context.it.running, context.left) == (0, 1)
        assert context.it.after(4, handle, lambda: status(4)) == status(4)

    run_in(work)


def test_a_request_that_is_alone_says_so_until_it_is_done(run_in):
    async def work(context):
        gate = threading.Event()

        def slow():
            gate.wait(10)
            return status(1)

        context.it.in_thread(1, slow, alone=True)
        assert context.it.alone
        gate.set()
        await until(lambda: context.left)
        assert not context.it.alone

    run_in(work)


def test_an_error_in_a_thread_is_answered(run_in):
    async def work(context):
        def fail():
            raise PermissionError(1, "no")

        context.it.in_thread(1, fail)
        await until(lambda: context.delivered)
        assert b"errno=1 no" in context.delivered[0]

    run_in(work)


def test_a_handle_in_use_is_closed_when_the_thread_has_done(run_in, folder):
    async def work(context):
        handle = context.open(folder / "f")
        context.open(folder / "g")
        gate = threading.Event()

        def slow():
            gate.wait(10)
            return status(1)

        context.it.in_thread(1, slow, handle)
        context.it.after(2, handle, lambda: status(2))
        context.it.close()
        assert descriptors(folder / "f") == 1 and descriptors(folder / "g") == 0
        gate.set()
        await until(lambda: not descriptors(folder / "f"))
        assert context.delivered == []

    run_in(work)


def test_a_handle_that_nobody_has_is_no_handle(run_in):
    async def work(context):
        with pytest.raises(OSError, match="no such handle"):
            context.it.handle(b"x")

    run_in(work)

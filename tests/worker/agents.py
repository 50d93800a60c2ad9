"""A real agent over a real link, for the tests of this folder."""

import os
import select

from tests.link.wires import agent, linked, run


def alone(place, *options, env=None):
    """An agent and a link to it: entered by the test's own coroutine."""

    def decorate(test):
        async def main(process):
            async with linked(process.socket) as to:
                return await test(process, to)

        with agent(place, *options, env=env) as process:
            return run(main(process))

    return decorate


def wait_gone(pid, timeout_s=15.0):
    """Wait until a process, of anybody, has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], timeout_s)[0], f"process {pid} is still there"
    finally:
        os.close(fd)

"""A real agent over a real link, for the tests of this folder."""

import os
import select
from contextlib import asynccontextmanager

from tests.link.wires import agent, linked


@asynccontextmanager
async def alone(place, *options, env=None, system=""):
    """An agent and a link to it, as an async context manager. system: what perl is to say that it runs on."""

    with agent(place, *options, env=env, system=system) as process:
        async with linked(process.socket) as to:
            yield process, to


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

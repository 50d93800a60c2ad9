"""A directory of this machine as a filesystem, for tests."""

import asyncio
import contextlib

from tests.nfs.filesystem_contract import Driver
from womm.nfs.backends.local import LocalFilesystem


@contextlib.contextmanager
def serving(top, **options):
    """Give a Driver of a started LocalFilesystem of the directory `top`."""
    with asyncio.Runner() as runner:
        real = LocalFilesystem(top, **options)
        runner.run(real.start())
        try:
            yield Driver(runner, real)
        finally:
            runner.run(real.stop())

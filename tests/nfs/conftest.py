"""Servers without a network; guests and servers for the tests with a real kernel's client."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.nfs import uml
from tests.nfs.builder import Bench
from tests.nfs.process import ServerProcess

_ports = itertools.count(2049)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A server on a memory filesystem, without a network."""
    with Bench() as found:
        yield found


@pytest.fixture(scope="session")
def net() -> Iterator[uml.Network]:
    reason = uml.missing()
    if reason:
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="womm-nfs-", dir="/tmp"))
    # Guests live as long as the session: they are no leftovers of the test that was first to ask.
    test = os.environ.pop("PYTEST_CURRENT_TEST", None)
    try:
        with uml.network(folder) as found:
            yield found
    finally:
        if test is not None:
            os.environ["PYTEST_CURRENT_TEST"] = test
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def guest(net: uml.Network) -> Iterator[uml.Guest]:
    """A kernel with an NFS client; what is mounted in it is a test's own business."""
    with uml.Guest(net) as found:
        yield found


@pytest.fixture(scope="session")
def other_guest(net: uml.Network) -> Iterator[uml.Guest]:
    """A second kernel."""
    with uml.Guest(net) as found:
        yield found


@pytest.fixture
def serve(net: uml.Network) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers in the guests' network: `serve(*options, directory=...)`."""
    with ExitStack() as stack:

        def start(*options: str, directory: Path | None = None) -> ServerProcess:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="womm-nfs-", dir="/tmp")))
            if directory is None:
                directory = folder / "data"
                directory.mkdir()
            server = ServerProcess(directory, folder, *options, prefix=net.command(), port=next(_ports))
            return stack.enter_context(server)

        yield start

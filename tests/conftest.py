"""Rules of every test run: no skips in CI, no process left behind, a home for each test."""

import inspect
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import hypothesis
import pytest

from tests import loop, processes
from tests.realcluster.fixtures import (  # noqa: F401
    fileserver_image,
    kube_cluster,
    kube_namespace,
    nfs_nodes,
    python_image,
)
from tests.soak import SOAK

if TYPE_CHECKING:
    from tests.image import dockerd
    from tests.image.bases import Bases

processes.usual_signals()
CI = os.environ.get("CI", "").lower() in {"true", "1"}

# Time for what tests have told to end, but not waited for.
GRACE_S = 5.0

# No deadline: a loaded machine is no failure. The nightly counts look at many more examples.
hypothesis.settings.register_profile("womm", deadline=None, derandomize=CI and not SOAK)
hypothesis.settings.register_profile("soak", deadline=None, max_examples=5000)
hypothesis.settings.load_profile("soak" if SOAK else "womm")


# Tests run side by side (pytest-xdist). Those with one of these fixtures run in one process, which makes the
# fixture once. A test with several is in the group of the first.
GROUPS = {
    "kube_cluster": "kubernetes",  # one cluster fits on two cores; its tests break its nodes
    "net": "guests",  # the kernels that mount NFS have one network, with ports in turn
    "own_docker": "docker",
    "own_podman": "podman",
    "installed": "wheel",
}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put tests into groups; leave out those marked soak unless they are asked for, which is no skip."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if group := next((name for fixture, name in GROUPS.items() if fixture in fixtures), None):
            _put_into_group(item, group)
    if SOAK:
        return
    soak = [item for item in items if item.get_closest_marker("soak")]
    if soak:
        config.hook.pytest_deselected(items=soak)
        items[:] = [item for item in items if not item.get_closest_marker("soak")]


def _put_into_group(item: pytest.Item, group: str) -> None:
    """Have pytest-xdist run a test in the process of its group: it goes by the end of the test's id."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        # pytest-xdist 3.8 writes it to `_nodeid`, which pytest 9.2 does not read.
        item._id = type(item.id).parse(f"{item.nodeid}@{group}")
        assert item.nodeid.endswith(f"@{group}"), f"pytest keeps the ids of tests elsewhere: {item.nodeid}"


@pytest.hookimpl(tryfirst=True)  # before pytest says that it cannot
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test in an event loop of its own, which it must leave without tasks and errors."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    marker = pyfuncitem.get_closest_marker("deadline")
    deadline_s = marker.args[0] if marker else loop.DEADLINE_S
    loop.run(
        test(**{name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters}), deadline_s
    )
    return True


Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def _fail_skip(report: Report) -> Report:
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"In CI nothing may be skipped. {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _fail_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _fail_skip((yield))


@pytest.fixture(scope="session", autouse=True)
def _no_process_left() -> Iterator[None]:
    """Fail the run if a process that it started is still there at its end, and end it."""
    if not sys.platform.startswith("linux"):
        yield
        return
    mark, limit = uuid.uuid4().hex, processes.mark_by_limit()
    os.environ[processes.MARK] = mark
    try:
        yield
    finally:
        del os.environ[processes.MARK]
    left = processes.wait_until_gone(mark, GRACE_S, limit)
    for process in left:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    assert not left, "processes left over by tests:\n" + "\n".join(map(str, left))


@pytest.fixture(scope="session")
def own_docker() -> "Iterator[dockerd.Docker]":
    """A docker for the tests of images, started once."""
    from tests.image import dockerd

    with dockerd.running() as started:
        yield started


@pytest.fixture(scope="session")
def bases(own_docker: "dockerd.Docker") -> "Bases":
    """Images to begin a testbed with, in the tests' docker."""
    from tests.image.bases import Bases

    return Bases(own_docker)


@pytest.fixture(scope="session")
def own_podman() -> Iterator[str]:
    """The address of a podman for the tests of images, started once."""
    from tests.image import podman

    with podman.running() as host:
        yield host


@pytest.fixture
def makes_images(own_docker: "dockerd.Docker", tmp_path: Path) -> dict[str, str]:
    """The environment with which `womm setup` makes an image here: a docker, and pip without a network."""
    from tests.realcluster.images import third_party_wheels

    wheels = tmp_path / "wheels"
    wheels.mkdir()
    third_party_wheels(wheels)
    return {"DOCKER_HOST": own_docker.host, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `womm` of an environment in which womm's wheel is installed, far from the checkout."""
    from tests import installation

    return installation.make(tmp_path_factory.mktemp("installed") / "venv").with_name("womm")


@dataclass(frozen=True, slots=True)
class Home:
    """The folders that womm and GNU parallel use in a test; the environment points to them."""

    home: Path
    config: Path
    state: Path
    cache: Path
    data: Path
    runtime: Path
    """Has a short name: the path of a Unix socket may have 107 bytes at most."""


@pytest.fixture
def womm_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Point HOME and XDG_* to fresh folders; take the user's settings out of the environment."""
    runtime = Path(tempfile.mkdtemp(prefix="womm-", dir="/tmp"))
    base = tmp_path / "home"
    home = Home(
        home=base,
        config=base / ".config",
        state=base / ".local" / "state",
        cache=base / ".cache",
        data=base / ".local" / "share",
        runtime=runtime,
    )
    for folder in (home.config, home.state, home.cache, home.data):
        folder.mkdir(parents=True)
    for name in list(os.environ):
        ours = name.startswith("WOMM_") and name not in {processes.MARK, "WOMM_SOAK"}
        if ours or name.startswith("PARALLEL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("WOMM_TRUST", "")  # what tests put there is taken out again
    monkeypatch.setenv("HOME", str(home.home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home.config))
    monkeypatch.setenv("XDG_STATE_HOME", str(home.state))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home.cache))
    monkeypatch.setenv("XDG_DATA_HOME", str(home.data))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home.runtime))
    try:
        yield home
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture
def place(womm_home: Home) -> Path:
    """A folder with a short path: that of a Unix socket may have 107 bytes."""
    return womm_home.runtime


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """The folder that a server serves."""
    path = tmp_path / "top"
    path.mkdir()
    return path

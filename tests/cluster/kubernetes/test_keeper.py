"""Links to keepers: one for each that runs, closed when it has gone."""

import asyncio

import pytest

from tests.cluster.kubernetes.test_pods import ended, pod
from tests.link.wires import DEADLINE_S
from womm.cluster.kubernetes.execs import Execs
from womm.cluster.kubernetes.keeper import Keepers, lacks_perl

STARTED = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


class Dials(Execs):
    """Execs, none of which is answered; `tried` is whose were."""

    def __init__(self):
        self.tried = []
        self.alive = {}

    def dial(self, pod, container, alive, command=()):
        self.alive[pod] = alive

        async def connect(factory):
            self.tried.append((pod, container))
            await asyncio.Event().wait()

        return connect


async def test_keeper_is_dialled_when_it_runs_and_forgotten_when_it_has_gone():
    execs, changed = Dials(), asyncio.Event()
    keepers = Keepers(execs, changed)
    keepers.replace([pod(name="k", phase="Pending")])
    await asyncio.sleep(0.01)
    assert (keepers.names, execs.tried) == (["k"], [])
    keepers.apply("MODIFIED", pod(STARTED, name="k"))
    async with asyncio.timeout(DEADLINE_S):
        while not execs.tried:
            await asyncio.sleep(0.01)
    assert execs.tried == [("k", "keeper")]
    assert execs.alive["k"]()
    keepers.apply("MODIFIED", pod(ended(1), name="k", phase="Failed"))
    assert (keepers.names, changed.is_set()) == ([], True)
    await keepers.close()


async def test_keepers_that_a_list_lacks_have_gone():
    keepers = Keepers(Dials(), asyncio.Event())
    keepers.replace([pod(STARTED, name="a"), pod(STARTED, name="b")])
    keepers.replace([pod(STARTED, name="b")])
    assert keepers.names == ["b"]
    keepers.drain()
    await keepers.close()


async def test_no_keeper_is_dialled_while_the_task_ends():
    execs = Dials()
    keepers = Keepers(execs, asyncio.Event())
    keepers.replace([pod(name="k", phase="Pending")])
    keepers.drain()
    assert not execs.alive["k"]()
    await keepers.close()


@pytest.mark.parametrize(
    "words",
    [
        'failed to create task: exec: "perl": executable file not found in $PATH',
        "container create failed: executable file `perl` not found in $PATH: No such file or directory",
    ],
)
def test_keeper_whose_image_has_no_perl_is_known(words):
    assert lacks_perl(pod(ended(128, "StartError", words), phase="Failed"))
    assert lacks_perl(pod({"waiting": {"reason": "RunContainerError", "message": words}}, phase="Pending"))
    assert not lacks_perl(pod(STARTED))
    assert not lacks_perl(pod(ended(128, "StartError", 'exec: "perl": permission denied')))

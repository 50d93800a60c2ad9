"""Dials before the cluster says that a worker runs: a few tries; one that is answered becomes the link."""

import asyncio

from womm.cluster.kubernetes import early
from womm.cluster.kubernetes.early import EarlyDials
from womm.errors import ClusterError


class Transport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted


class Pods:
    """Execs that fail so often before one is answered; `silent` ones connect and say nothing."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.tries = 0
        self.created = False
        self.started: list[str] = []
        self.transports: list[Transport] = []
        self.under_way = self.most = 0
        self.early = EarlyDials(self.bridge, lambda pod: not self.created, self.started.append)

    async def bridge(self, pod, factory):
        self.tries += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        if self.tries <= self.failures:
            if self.tries % 2:
                raise OSError("exec: container not found")
            raise ClusterError("cannot reach the cluster")
        transport, protocol = Transport(), factory()
        self.transports.append(transport)
        protocol.connection_made(transport)
        protocol.data_received(b"womm bridge\n")
        return transport


def quick(monkeypatch):
    monkeypatch.setattr(early, "TRY_AFTER_S", (0.001,) * len(early.TRY_AFTER_S))


async def test_exec_that_is_answered_is_the_links_and_only_once(monkeypatch):
    quick(monkeypatch)

    pods = Pods(failures=3)
    pods.early.consider(["a"])
    while not pods.started:
        await asyncio.sleep(0.001)
    assert pods.tries == 4
    taken: object = pods.early.take("a")
    assert taken is pods.transports[0]
    assert pods.early.take("a") is None
    await pods.early.close()
    assert not pods.transports[0].aborted  # it is somebody else's now


async def test_tries_are_bounded_and_a_pod_is_tried_in_one_life_only(monkeypatch):
    quick(monkeypatch)

    pods = Pods(failures=1000)
    for _ in range(3):
        pods.early.consider(["a"])
        await asyncio.sleep(0.1)
    assert pods.tries == len(early.TRY_AFTER_S)
    assert pods.started == []


async def test_what_the_watch_says_first_ends_the_tries(monkeypatch):
    quick(monkeypatch)

    pods = Pods(failures=0)
    pods.created = True
    pods.early.consider(["a"])
    await asyncio.sleep(0.05)
    assert pods.tries == 0
    assert pods.started == []


async def test_of_many_pods_some_are_tried_at_a_time_and_none_is_left_open(monkeypatch):
    quick(monkeypatch)

    pods = Pods(failures=0)
    names = [f"pod-{number}" for number in range(20)]
    pods.early.consider(names)
    await asyncio.sleep(0.05)
    assert len(pods.started) == early.AT_ONCE >= pods.most
    pods.early.consider(names)
    await asyncio.sleep(0.05)
    assert len(pods.started) == 2 * early.AT_ONCE
    await pods.early.close()
    assert all(transport.aborted for transport in pods.transports)

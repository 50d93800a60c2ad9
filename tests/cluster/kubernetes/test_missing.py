"""Why workers are missing: counted by reason, and told once, soon."""

import asyncio

import pytest

from tests.cluster.cluster_contract import Observer
from tests.cluster.kubernetes.test_pods import RUNNING, pod, waiting
from womm.cluster.kubernetes.events import Why
from womm.cluster.kubernetes.file_server import FileServerPods
from womm.cluster.kubernetes.missing import TELL_AFTER_S, MissingWorkers
from womm.cluster.kubernetes.pods import PodBook


def missing_of(book, observer=None, *, wanted=2, server=None):
    return MissingWorkers(wanted, book, server, observer or Observer(), copied=False)


@pytest.fixture
def book():
    return PodBook(2, "64Mi")


async def test_reasons_are_those_of_pods_and_the_refusal_of_those_that_are_not_there(book):
    missing = missing_of(book, wanted=3)
    assert missing.reasons() == {}
    book.apply(pod(waiting("ImagePullBackOff", "no such image"), phase="Pending"))
    missing.refusal = "exceeded quota"
    assert missing.reasons() == {"ImagePullBackOff (no such image)": 1, "exceeded quota": 2}
    assert "image" in missing.advice()


async def test_events_say_why_a_pod_is_being_created_for_long_until_it_has_started(book):
    missing = missing_of(book, wanted=1)
    book.apply(pod(waiting("ContainerCreating"), phase="Pending"))
    assert missing.reasons() == {"ContainerCreating": 1}
    missing.explain("a", Why("FailedMount", "volume x"))
    assert missing.reasons() == {"FailedMount (volume x)": 1}
    missing.started("a")
    assert missing.reasons() == {"ContainerCreating": 1}


async def test_workers_that_wait_for_the_file_server_have_its_reasons(book):
    server = FileServerPods()
    missing = missing_of(book, server=server)
    assert missing.reasons() == {"file server: starting": 1}
    server.refusal = "exceeded quota"
    assert missing.reasons() == {"file server: exceeded quota": 1}
    book.apply(pod(RUNNING))
    assert missing.reasons() == {}


async def test_observer_hears_each_change_once(book):
    observer = Observer()
    missing = missing_of(book, observer, wanted=1)
    for _ in range(3):
        missing.tell_soon()
        await asyncio.sleep(TELL_AFTER_S * 2)
    assert observer.waits == [{}]
    book.apply(pod(waiting("ContainerCreating"), phase="Pending"))
    missing.tell_soon()
    missing.tell_soon()
    await observer.until(lambda: len(observer.waits) == 2, "the reasons")
    assert observer.waits[-1] == {"ContainerCreating": 1}
    missing.close()
    book.apply(pod(RUNNING))
    missing.tell_soon()
    await asyncio.sleep(TELL_AFTER_S * 2)
    assert len(observer.waits) == 2


async def test_observer_hears_at_once_that_no_worker_will_come(book):
    observer = Observer()
    missing = missing_of(book, observer)
    missing.tell_soon()
    missing.give_up("removed")
    assert (missing.wanted, observer.waits) == (0, [{"removed": 1}])
    await asyncio.sleep(TELL_AFTER_S * 2)
    assert observer.waits == [{"removed": 1}]


async def test_advice_outlasts_a_pod_that_is_replaced(book):
    missing = missing_of(book, wanted=1)
    book.apply(pod(waiting("InvalidImageName"), phase="Pending"))
    missing.tell_soon()
    await asyncio.sleep(TELL_AFTER_S * 2)
    book.remove("a")
    book.apply(pod(waiting("ContainerCreating"), name="b", phase="Pending"))
    missing.tell_soon()
    await asyncio.sleep(TELL_AFTER_S * 2)
    assert "check the image" in missing.advice()
    missing.close()


async def test_workers_that_are_held_back_say_what_for(book):
    missing = missing_of(book)
    missing.held = "programs: on their way"
    assert missing.reasons() == {"programs: on their way": 1}
    book.apply(pod(RUNNING))
    assert missing.reasons() == {}

"""Which clusters of Kubernetes a command asks, and how a command without an event loop asks them."""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from womm.journal.events import TaskStarted
from womm.settings import Settings, kubeconfig_seal

if TYPE_CHECKING:
    from womm.cluster.kubernetes.client import Target

T = TypeVar("T")


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run something asynchronous to its end, whether or not an event loop runs here."""
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def journalled_target(started: TaskStarted) -> "Target":
    """Return where a task of a journal runs."""
    from womm.cluster.kubernetes.client import Target

    return Target(started.context, started.namespace, started.kubeconfig, started.kubeconfig_seal)


def target_of(settings: Settings) -> "Target":
    """Return which cluster and namespace the settings mean."""
    from womm.cluster.kubernetes.client import Target

    return Target(settings.context, settings.namespace, settings.kubeconfig, kubeconfig_seal(settings))

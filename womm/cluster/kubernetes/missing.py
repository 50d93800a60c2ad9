"""Why workers that are wanted are not there: counted, put into words, and told to the observer."""

import asyncio
from collections import Counter
from typing import Final

from womm.cluster.base import PodObserver
from womm.cluster.kubernetes import events
from womm.cluster.kubernetes.advice import advice_for
from womm.cluster.kubernetes.file_server import FileServerPods
from womm.cluster.kubernetes.pods import PodBook

TELL_AFTER_S: Final = 0.1


class MissingWorkers:
    """How many workers are wanted, and why some of them are missing.

    server: the file server that workers wait for; None: they wait for none. copied: an eager share is no way
    out for nodes that cannot mount, so there is no use in advising it.
    """

    def __init__(
        self,
        wanted: int,
        book: PodBook,
        server: FileServerPods | None,
        observer: PodObserver,
        *,
        copied: bool,
    ) -> None:
        self.wanted = wanted
        """Workers that are there or may still come."""
        self.refusal = ""
        """The cluster's reason for not creating workers' pods, in its own words."""
        self.held = ""
        """What workers wait for, once the file server is there; empty: for nothing more."""
        self._book = book
        self._server = server
        self._observer = observer
        self._copied = copied
        self._ended = self._advice = ""
        self._events: dict[str, events.Why] = {}
        self._told: dict[str, int] | None = None
        self._lasting: list[str] = []
        """The last reasons that say something. A pod that replaces another says nothing for a moment."""
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<MissingWorkers {self._book!r} of {self.wanted}>"

    def advice(self) -> str:
        return self._advice or advice_for([*self.reasons(), *self._lasting])

    def give_up(self, why: str, advice: str = "") -> None:
        """No worker will ever come. The observer hears of it at once: it asks why when none is wanted."""
        self._advice = advice
        self.wanted = 0
        self._ended = why
        self._tell()

    def explain(self, pod: str, why: events.Why) -> None:
        """Take what the events of a pod say of it, while it is being created."""
        self._events[pod] = why

    def started(self, pod: str) -> None:
        """Forget what the events of a pod have said."""
        self._events.pop(pod, None)

    def reasons(self) -> dict[str, int]:
        """Return the counts of missing workers by reason."""
        if self._ended:
            return {self._ended: 1}
        if self._server is not None and not self._book.names and (waits := self._server.reasons()):
            return {
                f"file server: {reason} ({text})" if text else f"file server: {reason}": 1
                for reason, text in waits.items()
            }
        if self.held and not self._book.names:
            return {self.held: 1}
        texts = {**self._book.texts()}
        counts: Counter[str] = Counter(self._book.reasons())
        creating = [why for name, why in self._events.items() if self._book.is_creating(name)]
        for why in creating[: counts["ContainerCreating"]]:
            counts["ContainerCreating"] -= 1
            counts[why.reason] += 1
        texts |= events.words(creating, copied=self._copied)
        missing = self.wanted - len(self._book.names)
        if self.refusal and missing > 0:
            counts[self.refusal] += missing
        return {
            f"{reason} ({texts[reason]})" if texts.get(reason) else reason: count
            for reason, count in counts.items()
            if count
        }

    def tell_soon(self) -> None:
        """Tell the observer if the reasons are others. To count for each event would be pods squared."""
        if self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(TELL_AFTER_S, self._tell)

    def close(self) -> None:
        """Tell nothing any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        reasons = self.reasons()
        if reasons != self._told and not self._closed:
            self._told = reasons
            self._lasting = [
                reason for reason in reasons if reason not in {"ContainerCreating", "Pending"}
            ] or self._lasting
            self._observer.pods_wait(reasons)

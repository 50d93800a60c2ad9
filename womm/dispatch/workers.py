"""The workers of one task: from a pod whose agent listens to a member of the pool, and to its burial."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from womm import words
from womm.cluster.base import Loss, Pod, ShareHost
from womm.dispatch.attempts import Attempts
from womm.dispatch.job import STDERR, STDOUT
from womm.dispatch.pool import Lost
from womm.dispatch.settling import Settling
from womm.dispatch.state import DispatchState
from womm.errors import ShareError
from womm.journal.events import PodGone, PodLeft, PodReady, PodStarted
from womm.link.client import Link
from womm.link.frames import FrameType, User, decode_credit, decode_ended, decode_ready
from womm.process import identify

log = logging.getLogger(__name__)

WAIT_NOTICE_S = 2.0

PreparePod: TypeAlias = Callable[[ShareHost, Pod, User | None], Coroutine[Any, Any, None] | None]
"""Does what a worker, which runs as the user, needs before it gets jobs. None: it needs nothing."""


class Workers:
    """The cluster's PodObserver, and the LinkHandler of every link.

    A pod's name may have several lives, one after the other: the next one waits for the burial of the last.
    """

    def __init__(
        self,
        state: DispatchState,
        attempts: Attempts,
        settling: Settling,
        *,
        prepare_pod: PreparePod | None,
        give_up_after_s: float,
    ) -> None:
        self._state = state
        self._attempts = attempts
        self._settling = settling
        self._streams = attempts.streams
        self._prepare_pod = prepare_pod
        self._give_up_after_s = give_up_after_s
        self._session = secrets.token_bytes(16)
        self._burials: dict[str, asyncio.Task[None]] = {}
        self._preparing: dict[str, asyncio.Task[None]] = {}
        self._last_gone: dict[str, int] = {}  # instance, by the pod's name
        self._reasons: Mapping[str, int] = {}
        self._notice: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Workers {len(self._state.links)} dialled, {self.preparing} preparing>"

    @property
    def preparing(self) -> int:
        """Workers that are there and get what they need before jobs: however long it takes."""
        return sum(not task.done() for task in self._preparing.values())

    @property
    def places_left(self) -> int:
        """Pods of this task that are there or may still come."""
        return self._state.cluster.wanted

    def waiting_for(self) -> str:
        """Why workers that are wanted are not there, in words: "3 restarting, 1 no perl"."""
        preparing = {"gets the shared folder": self.preparing} if self.preparing else {}
        return ", ".join(f"{count} {reason}" for reason, count in {**self._reasons, **preparing}.items())

    def notice_soon(self) -> None:
        """Say why jobs wait, if they still do in a moment."""
        pool = self._state.pool
        if self._notice is None and not self._state.stopping and pool.queued and not pool.workers:
            self._notice = asyncio.get_running_loop().call_later(WAIT_NOTICE_S, self._notice_now)

    async def close(self, grace_s: int) -> None:
        """Ask every agent to end its jobs and itself; drop the links."""
        if self._notice is not None:
            self._notice.cancel()
        links = list(self._state.links.values())
        await asyncio.gather(*(link.bye(grace_s, grace_s + 3.0) for link in links))
        await asyncio.gather(*(link.close() for link in links))

    # ---- PodObserver ------------------------------------------------------------------------------

    def pod_started(self, pod: Pod) -> None:
        state = self._state
        if state.stopping or pod.instance <= self._last_gone.get(pod.name, 0):
            return  # the cluster ends it with the others, or this life is over already
        burial = self._burials.get(pod.name)
        if burial is not None and not burial.done():
            burial.add_done_callback(lambda _: self.pod_started(pod))
            return
        who = identify(pod.pid) if pod.pid else None
        state.journal.append(
            PodStarted(time.time(), pod.name, pod.instance, pod.pid, who.start if who else "")
        )
        state.pods[pod.name] = pod
        dial = state.cluster.dial(pod)
        link = Link(
            pod.name,
            dial,
            self._session,
            self,
            give_up_after_s=self._give_up_after_s,
            before_write=state.journal.flush,
        )
        state.links[pod.name] = link
        link.start()

    def pod_gone(self, pod: Pod, loss: Loss, detail: str) -> None:
        self._last_gone[pod.name] = pod.instance
        if not self._state.stopping:
            last = self._burials.get(pod.name)
            self._burials[pod.name] = self._state.background.spawn(self._bury(pod, loss, detail, last))

    def pod_left(self, name: str, reason: str) -> None:
        self._state.journal.append(PodLeft(time.time(), name, reason))
        self._state.say(f"worker {name} leaves the pool: {reason}")
        self._attempts.act(self._state.pool.worker_left(name))
        self._state.on_change()

    def pod_vanished(self, name: str) -> None:
        burial = self._burials.get(name)
        if burial is not None and not burial.done():  # it gives back the jobs of that worker first
            burial.add_done_callback(lambda _: self.pod_vanished(name))
            return
        self._burials.pop(name, None)
        self._last_gone.pop(name, None)
        if not self._state.stopping:
            self._attempts.act(self._state.pool.worker_left(name))

    def job_processes(self, pod: Pod) -> list[int]:
        """Process ids, and session ids, of the jobs that the pod's agent runs."""
        return [job.pid for job in self._state.jobs.values() if job.pod == pod.name and job.pid]

    def pods_wait(self, reasons: Mapping[str, int]) -> None:
        self._reasons = reasons
        self._state.on_change()  # perhaps no more workers will come
        self.notice_soon()

    def notice(self, text: str) -> None:
        self._state.say(text)

    # ---- LinkHandler ------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        if link.name in self._state.pool.workers:
            if (share := self._state.share_of(link.name)) is not None:
                share.reconnected()
            self._attempts.act(self._state.pool.worker_resumed(link.name))

    def link_cut(self, link: Link, reason: str) -> None:
        log.debug("link to %s cut: %s", link.name, reason)
        self._state.pool.worker_paused(link.name)

    def link_lost(self, link: Link, reason: str) -> None:
        state = self._state
        pod = state.pods.get(link.name) if state.links.get(link.name) is link else None
        if pod is not None and not state.stopping:
            state.background.spawn(state.cluster.end_pod(pod, f"unreachable: {reason}"))

    def link_frame(self, link: Link, kind: int, job: int, payload: memoryview | bytes) -> None:
        if kind in (FrameType.OUT, FrameType.ERR):
            if (known := self._state.jobs.get(job)) is not None:
                self._streams.output(known, STDOUT if kind == FrameType.OUT else STDERR, payload)
        elif kind == FrameType.ENDED:
            self._settling.end_record(job, decode_ended(payload))
        elif kind == FrameType.CREDIT:
            if (known := self._state.jobs.get(job)) is not None:
                known.stdin_credit += decode_credit(payload)[1]
                self._streams.pump_stdin(known)
        elif kind == FrameType.STARTED:
            if (known := self._state.jobs.get(job)) is not None:
                known.pid = int.from_bytes(payload)
        elif kind == FrameType.READY:
            self._agent_ready(self._state.pods[link.name], decode_ready(payload))

    # ---- within -----------------------------------------------------------------------------------

    def _agent_ready(self, pod: Pod, user: User | None) -> None:
        host, prepare = self._state.cluster.share_host, self._prepare_pod
        work = prepare(host, pod, user) if prepare is not None and host is not None else None
        if work is None:
            self._join(pod)
        else:
            self._preparing[pod.name] = self._state.background.spawn(self._prepare(pod, work))

    async def _prepare(self, pod: Pod, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except ShareError as exc:
            self._state.cluster.leave(pod.name, exc.message)
        else:
            self._join(pod)

    def _join(self, pod: Pod) -> None:
        """From now on the worker gets jobs."""
        self._state.journal.append(PodReady(time.time(), pod.name, pod.instance))
        self._attempts.act(self._state.pool.worker_ready(pod.name, pod.instance, pod.slots, pod.node))
        self._state.on_change()

    async def _bury(self, pod: Pod, loss: Loss, detail: str, last: asyncio.Task[None] | None) -> None:
        """Bury a life, after the one before it (`last`): both have the same name."""
        state = self._state
        if last is not None:
            await asyncio.wait({last})
        opened = state.pods.get(pod.name) == pod
        if opened:
            if preparing := self._preparing.pop(pod.name, None):
                preparing.cancel()
            link = state.links[pod.name]
            # What the agent wrote before it went is still in the stream: end records above all.
            await link.drain(1.0)
            await link.close()
            self._settling.helpers.lost(pod.name)
            del state.links[pod.name], state.pods[pod.name]
        state.journal.append(PodGone(time.time(), pod.name, pod.instance, loss.value, detail))
        if state.stopping:
            return
        actions = state.pool.worker_gone(pod.name, loss) if opened else []
        again = sum(isinstance(action, Lost) for action in actions)
        line = f"worker {pod.name} is gone ({loss.value}"
        line += f": {detail})" if detail else ")"
        if again:
            line += f": {words.counted(again, 'job runs', 'jobs run')} again"
        state.say(line)
        self._attempts.act(actions)
        state.on_change()
        self.notice_soon()

    def _notice_now(self) -> None:
        self._notice = None
        pool = self._state.pool
        if self._state.stopping or pool.slots or not pool.queued:
            return
        why = self.waiting_for()
        jobs = words.counted(pool.queued, "job waits", "jobs wait")
        self._state.say(f"{jobs}: no worker is there" + (f" ({why})" if why else ""))

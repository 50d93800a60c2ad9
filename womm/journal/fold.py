"""The events of a journal, folded into what `status`, `logs`, `finish` and a resume need."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from womm.journal.events import (
    EngineStarted,
    Event,
    JobEnded,
    JobLost,
    JobStarted,
    Note,
    OutputRef,
    PodGone,
    PodLeft,
    PodReady,
    PodStarted,
    ProgramsTraffic,
    ShareKept,
    ShareTraffic,
    ShareUnsent,
    TaskCleaned,
    TaskEnded,
    TaskEnding,
    TaskStarted,
)


class TaskStatus(Enum):
    """`womm status`'s STATUS.

    RUNNING: the coordinator is at work. COMPLETE: the jobs have ended, something is still to be
    cleaned. ORPHANED: the coordinator went away. CLEANED: nothing is left but the journal.
    """

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    ORPHANED = "ORPHANED"
    CLEANED = "CLEANED"


@dataclass(slots=True)
class InstanceState:
    """One agent of a pod. `gone`: why it went, None while it is here as far as is known."""

    started: PodStarted
    ready: bool = False
    gone: PodGone | None = None


@dataclass(slots=True)
class PodState:
    name: str
    instances: dict[int, InstanceState] = field(default_factory=dict)
    left: PodLeft | None = None


@dataclass(slots=True)
class JobState:
    """One job. `pod`, `attempt`, `started`: of the newest attempt; `lost`: attempts that were."""

    job: int
    seq: int | None
    command: str = ""
    pod: str = ""
    attempt: int = 0
    started: float = 0.0
    lost: int = 0
    ended: JobEnded | None = None


@dataclass(slots=True)
class TaskState:
    """A task. `jobs` is in the order of their first start, `ended_jobs` in that of their end."""

    started: TaskStarted | None = None
    engine: EngineStarted | None = None
    pods: dict[str, PodState] = field(default_factory=dict)
    jobs: dict[int, JobState] = field(default_factory=dict)
    share: ShareTraffic | None = None
    programs: ProgramsTraffic | None = None
    unsent: ShareUnsent | None = None
    kept: ShareKept | None = None
    ending: TaskEnding | None = None
    ended: TaskEnded | None = None
    cleaned: TaskCleaned | None = None
    notes: list[Note] = field(default_factory=list)
    last_time: float = 0.0

    def live_instances(self) -> list[PodStarted]:
        """Return the agents that no event says are gone."""
        return [
            instance.started
            for pod in self.pods.values()
            for instance in pod.instances.values()
            if instance.gone is None
        ]

    def all_instances(self) -> list[PodStarted]:
        """Return every agent there ever was: one that was taken for gone may have come back."""
        return [instance.started for pod in self.pods.values() for instance in pod.instances.values()]

    def ended_jobs(self) -> list[JobState]:
        """Return the jobs that have ended, in the order of their end."""
        ended = [(job.ended.time, job.job, job) for job in self.jobs.values() if job.ended]
        return [job for _, _, job in sorted(ended, key=lambda item: item[:2])]


def fold(events: Iterable[Event]) -> TaskState:
    """Fold a journal; events may be missing from it."""
    state = TaskState()
    extend(state, events)
    return state


def extend(state: TaskState, events: Iterable[Event]) -> None:
    """Fold further events into `state`."""
    for event in events:
        _HANDLERS[type(event)](state, event)
        state.last_time = event.time


def status_of(state: TaskState, *, coordinator_alive: bool, pods_alive: int) -> TaskStatus:
    """Return the status as the guide to `womm status` defines it.

    A task that has ended, but whose coordinator went away with pods still running, wastes them:
    it is ORPHANED, too.
    """
    if state.cleaned is not None:
        return TaskStatus.CLEANED
    if state.ended is not None and (coordinator_alive or pods_alive == 0):
        return TaskStatus.COMPLETE
    return TaskStatus.RUNNING if coordinator_alive else TaskStatus.ORPHANED


def results_for_resume(state: TaskState) -> dict[tuple[int, str], JobEnded]:
    """Return results that can be given again, by seq and command: with all of their output kept.

    Failed jobs are among them (`exit`, `signal`, `reason` say so): whether they run again is the
    caller's choice.
    """
    return {
        (job.seq, job.command): job.ended
        for job in state.jobs.values()
        if job.seq is not None and job.ended is not None and _complete(job.ended)
    }


def _complete(ended: JobEnded) -> bool:
    return _whole(ended.out, ended.out_bytes) and _whole(ended.err, ended.err_bytes)


def _whole(ref: OutputRef | None, written_bytes: int) -> bool:
    if ref is None:
        return written_bytes == 0
    return not ref.cut and ref.size == written_bytes


def _on_task_started(state: TaskState, event: TaskStarted) -> None:
    state.started = event


def _on_engine_started(state: TaskState, event: EngineStarted) -> None:
    state.engine = event


def _pod(state: TaskState, name: str) -> PodState:
    pod = state.pods.get(name)
    if pod is None:
        pod = state.pods[name] = PodState(name)
    return pod


def _on_pod_started(state: TaskState, event: PodStarted) -> None:
    _pod(state, event.pod).instances[event.instance] = InstanceState(event)


def _on_pod_ready(state: TaskState, event: PodReady) -> None:
    instance = _pod(state, event.pod).instances.get(event.instance)
    if instance is not None:
        instance.ready = True


def _on_pod_gone(state: TaskState, event: PodGone) -> None:
    instance = _pod(state, event.pod).instances.get(event.instance)
    if instance is not None:
        instance.gone = event


def _on_pod_left(state: TaskState, event: PodLeft) -> None:
    _pod(state, event.pod).left = event


def _on_job_started(state: TaskState, event: JobStarted) -> None:
    job = state.jobs.get(event.job)
    if job is None:
        state.jobs[event.job] = JobState(
            event.job, event.seq, event.command, event.pod, event.attempt, event.time
        )
        return
    job.pod = event.pod
    job.attempt = event.attempt
    job.started = event.time


def _on_job_lost(state: TaskState, event: JobLost) -> None:
    job = state.jobs.get(event.job)
    if job is not None:
        job.lost += 1


def _on_job_ended(state: TaskState, event: JobEnded) -> None:
    job = state.jobs.get(event.job)
    if job is None:  # its start was in a line that was lost
        job = state.jobs[event.job] = JobState(event.job, event.seq)
    job.ended = event


def _on_share_traffic(state: TaskState, event: ShareTraffic) -> None:
    state.share = event


def _on_programs_traffic(state: TaskState, event: ProgramsTraffic) -> None:
    state.programs = event


def _on_share_unsent(state: TaskState, event: ShareUnsent) -> None:
    state.unsent = event if event.count else None


def _on_share_kept(state: TaskState, event: ShareKept) -> None:
    state.kept = event


def _on_task_ending(state: TaskState, event: TaskEnding) -> None:
    state.ending = event


def _on_task_ended(state: TaskState, event: TaskEnded) -> None:
    state.ended = event


def _on_task_cleaned(state: TaskState, event: TaskCleaned) -> None:
    state.cleaned = event


def _on_note(state: TaskState, event: Note) -> None:
    state.notes.append(event)


_HANDLERS: dict[type[Event], Callable[[TaskState, Any], None]] = {
    TaskStarted: _on_task_started,
    EngineStarted: _on_engine_started,
    PodStarted: _on_pod_started,
    PodReady: _on_pod_ready,
    PodGone: _on_pod_gone,
    PodLeft: _on_pod_left,
    JobStarted: _on_job_started,
    JobLost: _on_job_lost,
    JobEnded: _on_job_ended,
    ShareTraffic: _on_share_traffic,
    ProgramsTraffic: _on_programs_traffic,
    ShareUnsent: _on_share_unsent,
    ShareKept: _on_share_kept,
    TaskEnding: _on_task_ending,
    TaskEnded: _on_task_ended,
    TaskCleaned: _on_task_cleaned,
    Note: _on_note,
}

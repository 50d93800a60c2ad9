"""Results of jobs: journalled, their output kept, and then reported."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.dispatch.jobs import running_job
from tests.dispatch.memory_agents import MemoryCluster
from tests.dispatch.sinks import Sink
from womm.dispatch.job import STDOUT, Job, Outcome, Submission
from womm.dispatch.phase import BadChange, Change, Phase
from womm.dispatch.results import COMPRESS_IN_THREAD_BYTES, Results
from womm.dispatch.state import DispatchState
from womm.journal.events import JobEnded
from womm.journal.store import TaskStore
from womm.link.frames import RunRequest

TASK = "aaaaaaaa"


class Place:
    def __init__(self, journal, store, capture_bytes):
        self.said: list[str] = []
        self.state = DispatchState(MemoryCluster(), journal, self.said.append, None)  # type: ignore[arg-type]
        self.results = Results(self.state, capture_bytes)
        self._store = store

    def running(self, sink) -> Job:
        job = running_job(sink)
        self.state.jobs[job.number] = job
        return job

    def ends(self):
        return [event for event in self._store.read(TASK) if isinstance(event, JobEnded)]

    def output(self, ref):
        return self._store.resolve(TASK).output().get(ref)


@pytest.fixture
def go(tmp_path):
    @asynccontextmanager
    async def opened(capture_bytes=1 << 20):
        store = TaskStore(tmp_path)
        with store.create(TASK, on_failure=print) as journal:
            yield Place(journal, store, capture_bytes)

    return opened


async def test_finish_journals_then_reports_and_forgets(go):
    async with go() as place:

        class Looking(Sink):
            def ended(self, outcome):
                assert len(place.ends()) == 1
                super().ended(outcome)

        job = place.running(Looking())
        job.take_output(STDOUT, b"out")
        place.results.finish(job, Outcome(3), None)
        (end,) = place.ends()
        assert (end.exit, end.out_bytes, place.output(end.out), end.err) == (3, 3, b"out", None)
        assert (job.phase, place.state.jobs, job.sink.outcome) == (Phase.ENDED, {}, Outcome(3))
        assert (place.results.done, place.results.failed, place.said) == (1, 1, [])


async def test_reason_is_said(go):
    async with go() as place:
        place.results.finish(place.running(Sink()), Outcome(255, reason="why"), None)
        assert place.said == ["job 7 (job) failed: why"]


async def test_large_output_is_kept_off_the_loop_and_nothing_happens_to_the_job_meanwhile(go):
    async with go() as place:
        sink = Sink()
        job = place.running(sink)
        job.capture_bytes = 1 << 20
        job.emitted[STDOUT] = COMPRESS_IN_THREAD_BYTES + 1
        place.results.finish(job, Outcome(0), None)
        assert (sink.outcome, job.unwanted) == (None, True)
        with pytest.raises(BadChange):
            job.change(Change.CANCEL)
        async with asyncio.timeout(30):
            while sink.outcome is None:
                await asyncio.sleep(0.001)
        assert place.state.jobs == {}


async def test_dropped_job_has_no_result(go):
    async with go() as place:
        job = place.running(Sink())
        job.change(Change.CANCEL)
        place.results.drop(job)
        assert (place.ends(), place.state.jobs, place.results.done) == ([], {}, 0)


async def test_replayed_job_shows_its_output_and_says_so_in_the_journal(go):
    async with go() as place:
        kept = JobEnded(1.0, 5, 7, 2, "pod", 4, 0, 3, 0, 0, 0, 0, 0.5)
        sink = Sink()
        job = Job(Submission(1, 7, RunRequest(b"job"), 0.0), sink, None, capture_bytes=9)
        place.state.jobs[1] = job
        place.results.replay(job, kept, b"out", b"")
        (end,) = place.ends()
        assert (end.job, end.exit, end.replayed) == (1, 4, True)
        assert (bytes(sink.text[STDOUT]), sink.outcome) == (b"out", Outcome(4))
        assert (place.results.done, place.results.failed, place.state.jobs) == (1, 1, {})

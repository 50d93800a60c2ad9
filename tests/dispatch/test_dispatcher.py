"""The dispatcher over real agents: lost workers, stdin fed again, jobs that nobody waits for."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from tests.dispatch.running import TASK, task
from tests.dispatch.sinks import Sink
from tests.link.wires import sleepers, unique_sleep
from womm.cluster.local import LocalCluster
from womm.journal.events import JobEnded, JobLost, JobStarted, PodGone, PodReady
from womm.link.frames import RunRequest

NAP = unique_sleep(3)


@pytest.fixture
def go(womm_home, tmp_path):
    """An async context manager, which gives the task."""

    @asynccontextmanager
    async def opened(**options):
        async with task(womm_home.runtime, tmp_path, **options) as running:
            await running.ready()
            yield running

    return opened


async def outcome(running, sink):
    await running.until(lambda: sink.outcome, "the outcome")
    return sink.outcome


def agent_of(running, pod):
    return running.cluster._pods[pod].life.pod.pid


async def test_job_is_journalled_before_its_sink_hears_of_it(go):
    async with go(pods=1) as running:

        class Looking(Sink):
            def ended(self, outcome):
                self.journalled = running.events(JobEnded)
                super().ended(outcome)

        sink = Looking()
        running.dispatcher.submit(RunRequest(b"echo out; exit 3"), sink, seq=9)
        assert (await outcome(running, sink)).exit == 3
        (ended,) = sink.journalled
        assert (ended.seq, ended.exit, ended.out_bytes, ended.attempt) == (9, 3, 4, 1)
        assert bytes(sink.text[1]) == b"out\n"
        assert (running.dispatcher.done, running.dispatcher.failed) == (1, 1)


async def test_killed_worker_its_job_runs_again_with_its_input_and_says_so(go):
    async with go(pods=2) as running:
        sink = Sink()
        data = bytes(range(256)) * 2000  # more than what is kept in memory
        command = b"cat; [ $WOMM_ATTEMPT = 2 ] || sleep 1000"
        number = running.dispatcher.submit(RunRequest(command, stdin=True), sink, seq=1)
        running.dispatcher.feed(number, data[:300_000])
        await running.until(lambda: len(sink.text[1]) == 300_000, "the first output")
        first = running.dispatcher.pool.where(number)
        os.kill(agent_of(running, first), signal.SIGKILL)
        running.dispatcher.feed(number, data[300_000:])
        running.dispatcher.feed_end(number)
        assert (await outcome(running, sink)).exit == 0
        assert bytes(sink.text[1]) == data
        starts = running.events(JobStarted)
        assert [event.attempt for event in starts] == [1, 2]
        assert starts[0].pod != starts[1].pod
        (lost,) = running.events(JobLost)
        assert (lost.pod, lost.cause, lost.attempt) == (first, "crashed", 1)
        told = f"worker {first} is gone (crashed: killed by SIGKILL): 1 job runs again"
        assert told in running.said


async def test_killed_worker_a_job_whose_input_was_not_kept_fails_and_is_named(go):
    async with go(pods=2, cap_bytes=100_000) as running:
        sink = Sink()
        number = running.dispatcher.submit(RunRequest(b"wc -c; sleep 1000", stdin=True), sink, seq=1)
        for _ in range(10):
            running.dispatcher.feed(number, bytes(50_000))
            await asyncio.sleep(0.01)
        await running.until(
            lambda: not running.dispatcher._state.jobs[number].spool.complete, "input past the cap"
        )
        os.kill(agent_of(running, running.dispatcher.pool.where(number)), signal.SIGKILL)
        assert (await outcome(running, sink)).exit == 255
        assert sink.outcome is not None
        assert "its input, over 100000 bytes, was not kept" in sink.outcome.reason
        assert any("failed: its worker was lost" in line for line in running.said)
        assert len(running.events(JobStarted)) == 1


async def test_cancelled_job_is_killed_and_its_slot_is_free(go):
    async with go(pods=1) as running:
        sink, second = Sink(), Sink()
        number = running.dispatcher.submit(RunRequest(f"trap '' TERM; echo x; sleep {NAP}".encode()), sink)
        await running.until(lambda: sink.text[1], "its first output")
        running.dispatcher.cancel(number)
        running.dispatcher.cancel(number)
        running.dispatcher.submit(RunRequest(b"exit 4"), second)
        assert (await outcome(running, second)).exit == 4
        assert sink.outcome is None
        await running.until(lambda: not sleepers(NAP), "its end")
        assert running.dispatcher._state.jobs == {}


async def test_cut_link_gives_no_job_away_and_repeats_none(go, tmp_path):
    async with go(pods=2) as running:
        await running.until(lambda: running.dispatcher.pool.slots == 2, "both")
        sinks = []
        for number in range(60):
            sinks.append(Sink())
            running.dispatcher.submit(RunRequest(b"echo %d >>ran; echo %d" % (number, number)), sinks[-1])
            if number % 5 == 0:
                for link in list(running.dispatcher._state.links.values()):
                    link.cut()
        for number, sink in enumerate(sinks):
            assert (await outcome(running, sink)).exit == 0
            assert bytes(sink.text[1]) == b"%d\n" % number
        assert running.events(JobLost) == []

    assert sorted(map(int, (tmp_path / "ran").read_text().split())) == list(range(60))


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(
            f"exec env -i sleep {NAP}".encode(),
            id="no environment",
        ),
        pytest.param(f"exec sleep {NAP}".encode(), id="plain"),
    ],
)
async def test_killed_worker_right_after_a_start_leaves_no_first_self(go, command):
    """The news of the job's start may still be on its way from the agent."""

    async with go(pods=1) as running:
        for _ in range(3):
            sink = Sink()
            number = running.dispatcher.submit(RunRequest(command), sink)
            await running.until(lambda: sleepers(NAP), "the job's process")
            first = set(sleepers(NAP))
            gone = len(running.events(PodGone))
            os.kill(agent_of(running, f"{TASK}-0"), signal.SIGKILL)
            await running.until(lambda n=gone: len(running.events(PodGone)) > n, "the loss")
            try:
                assert not first & set(sleepers(NAP))
            finally:
                for pid in first & set(sleepers(NAP)):
                    os.kill(pid, signal.SIGKILL)
            running.dispatcher.cancel(number)
            await running.until(lambda: not sleepers(NAP), "its end")


REASON = "its workers ended under 3 different jobs and finished none"


class OnNodes(LocalCluster):
    """Pods on this machine that say of themselves to be on two nodes: the last on `well`, the others not."""

    async def start(self, spec, observer):
        self.observer, self.last = observer, f"{spec.task}-{spec.pods - 1}"
        await super().start(spec, self)  # as much of an observer as is called

    def pod_started(self, pod):
        self.observer.pod_started(self.placed(pod))

    def pod_gone(self, pod, loss, detail):
        self.observer.pod_gone(self.placed(pod), loss, detail)

    def __getattr__(self, name):
        return getattr(self.__dict__["observer"], name)

    def placed(self, pod):
        return replace(pod, node="well" if pod.name == self.last else "bad")

    def dial(self, pod):
        return super().dial(replace(pod, node=""))


async def test_black_hole_node_is_avoided_and_named_and_no_job_fails(go, tmp_path):
    """Two of its workers at a time: what ran when one of them ended is one event with it."""

    async with go(pods=3, made=OnNodes) as running:
        changes = []
        running.dispatcher.follow(lambda: changes.append(running.dispatcher.pool.slots))
        await running.until(lambda: len(running.events(PodReady)) == 3, "all workers")
        ends = b"kill -KILL $PPID; sleep 1000"
        waits = b"until [ -e go ]; do sleep 0.05; done; echo done"
        command = b"case $WOMM_POD in *-2) %b;; *) %b; esac" % (waits, ends)
        sinks = [Sink() for _ in range(40)]
        for sink in sinks:
            running.dispatcher.submit(RunRequest(command), sink)
        told = [f"node bad is avoided while there are workers elsewhere: {REASON}"]
        await running.until(lambda: [s for s in running.said if s.startswith("node ")] == told, "the line")
        (tmp_path / "go").touch()
        await running.until(lambda: all(sink.outcome for sink in sinks), "all jobs")
        assert {(sink.outcome and sink.outcome.exit, bytes(sink.text[1])) for sink in sinks} == {
            (0, b"done\n")
        }
        lost = running.events(JobLost)
        assert len({event.job for event in lost}) == len(lost) <= 2 * 3
        assert [line for line in running.said if line.startswith("node ")] == told
        assert changes[-1] == 1

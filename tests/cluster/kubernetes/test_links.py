"""Exec streams are cut, the API server, kubelet and containerd go away and come back."""

import hashlib
import itertools
import random
import re
import threading

import pytest

from tests.cluster.kubernetes.project import NOTES, Project
from tests.cluster.kubernetes.proxy import proxied
from tests.cluster.kubernetes.repeat import again_and_again
from tests.faults.tasks import Run, carriers, joblog_lines, wait_for
from tests.soak import SOAK, count
from womm.journal.events import JobEnded, JobLost, JobStarted, PodGone, PodReady

pytestmark = pytest.mark.slow

OUTPUT_BYTES = 40 << 20
# Every line tells where it is: nothing can be left out or come twice unseen.
PRINT = r"""perl -e '$x = "x" x 1014; printf "%%04d %%04d%%s\n", {}, $_, $x for 1..%d'"""
NOTE = f"echo {{}} $WOMM_ATTEMPT >>{NOTES}/executions"


def printed(job: int) -> bytes:
    """What a job of the command PRINT prints."""
    return b"".join(
        b"%04d %04d%s\n" % (job, line, b"x" * 1014) for line in range(1, lines_of(OUTPUT_BYTES) + 1)
    )


def lines_of(size: int) -> int:
    return size // 1024


def every_job_once(run: Run, project: Project, jobs: int) -> None:
    """No job was lost, none reported twice, none run twice, none is a false success."""
    numbers = [str(number) for number in range(1, jobs + 1)]
    assert sorted(project.executions.read_text().split("\n")[:-1]) == sorted(f"{n} 1" for n in numbers)
    log = joblog_lines(project.folder / "log")
    assert sorted(line[0] for line in log) == sorted(numbers)
    assert {(line[6], line[7]) for line in log} == {("0", "0")}
    assert sorted(event.seq or 0 for event in run.events(JobEnded)) == list(range(1, jobs + 1))
    assert run.events(JobLost, PodGone) == []


HARMS = ["reset", "half open", "frozen"]


@pytest.mark.parametrize("how", ["any", *(pytest.param(how, marks=pytest.mark.soak) for how in HARMS)])
def test_cut_streams_lose_no_byte_and_no_job(project: Project, how: str) -> None:
    jobs = count(6, 40)
    chance = random.Random(how)
    with proxied(project.kube.kubeconfig, project.folder) as (proxy, kubeconfig):
        project.write_with_notes(kubeconfig=str(kubeconfig), kube_cpu="400m")
        command = f"{NOTE}; {PRINT % lines_of(OUTPUT_BYTES)}; sleep 0.3"
        words = ["--kube-pods", "2", "--", "-k", "--joblog", "log", command]

        harms = itertools.cycle(HARMS if how == "any" else [how])

        done = 0

        def harm() -> None:
            nonlocal done
            done += 1
            kind = next(harms)
            if kind == "reset":
                proxy.cut(0.7)
            elif kind == "half open":
                proxy.cut_half(0.7)
            else:
                proxy.freeze()
                try:
                    threading.Event().wait(60 if SOAK else 3)
                finally:
                    proxy.thaw()

        with project.started("parallel", *words, ":::", *map(str, range(1, jobs + 1))) as run:
            wait_for(lambda: run.events(JobStarted) or run.process.poll(), "the first job")
            # After a minute the links are dialled anew: in less than 5 s next to nothing would get through.
            pause_s = (3.0, 8.0) if SOAK and how == "frozen" else (0.2, 1.5)
            with again_and_again(harm, lambda: chance.uniform(*pause_s)):
                assert run.wait(300 if not SOAK else 3600) == 0, run.err
            print(f"{how}: {done} times")
            expected = hashlib.sha256(b"".join(printed(number) for number in range(1, jobs + 1)))
            assert hashlib.sha256(run.out).hexdigest() == expected.hexdigest()
            every_job_once(run, project, jobs)
        assert done >= 2
        if how != "frozen":
            assert proxy.cuts >= 2


def test_restarts_of_the_daemons_lose_no_job(project: Project) -> None:
    own = project.kube.own
    jobs = count(150, 500)
    project.write_with_notes()
    lines = b"".join(b"%d\n" % n for n in range(1, jobs + 1))
    words = ["parallel", "--kube-pods", "2", "--procs-per-pod", "2", "--", "--joblog", "log"]
    with project.started(*words, f"{NOTE}; sleep 0.2; echo result {{}}", stdin=lines) as run:
        wait_for(lambda: run.events(JobEnded) or run.process.poll(), "the first job")
        for daemon in ("containerd", "kube-apiserver", "kubelet"):
            own.restart(daemon, away_s=count(2, 10))
            own.wait_ready()
        assert run.wait(300) == 0, run.err
        assert sorted(run.out.split()[1::2]) == sorted(b"%d" % n for n in range(1, jobs + 1))
        every_job_once(run, project, jobs)


def test_way_to_the_cluster_closed_for_a_while_loses_no_job(project: Project) -> None:
    """The API server is frozen, then the user's network is cut."""
    own = project.kube.own
    jobs = count(60, 1000)
    project.write_with_notes()
    lines = b"".join(b"%d\n" % n for n in range(1, jobs + 1))
    words = ["parallel", "--kube-pods", "2", "--", "--joblog", "log"]
    with project.started(*words, f"{NOTE}; sleep 0.2; echo result {{}}", stdin=lines) as run:
        wait_for(lambda: run.events(JobEnded) or run.process.poll(), "the first job")
        for closed in (own.frozen("kube-apiserver"), own.network.cut(1)):
            with closed:
                threading.Event().wait(count(5, 70))
            own.wait_ready()
        assert run.wait(300) == 0, run.err
        assert sorted(run.out.split()[1::2]) == sorted(b"%d" % n for n in range(1, jobs + 1))
        every_job_once(run, project, jobs)


def execs(project: Project) -> int:
    """How many execs the API server has seen since it started."""
    metrics = project.kube.kubectl.text("get", "--raw", "/metrics")
    pattern = r'^apiserver_request_total\{.*subresource="exec".*\} ([0-9.e+]+)$'
    return sum(int(float(number)) for number in re.findall(pattern, metrics, re.MULTILINE))


def test_one_exec_per_worker_and_none_per_job(project: Project) -> None:
    """The tries before a container runs come to nothing; what an agent has answered stays."""
    assert project.kube.own.is_running()  # nobody else uses it
    words = ["parallel", "--kube-pods", "2", "--", "sleep 0.1; echo {}", ":::", *map(str, range(100))]
    with project.started(*words) as run:
        wait_for(lambda: len(run.events(PodReady)) == 2 or run.process.poll(), "the workers")
        wait_for(lambda: bridges(run.task) == 3, "the execs of the workers and the keeper")
        before = execs(project)
        assert run.wait() == 0, run.err
        assert len(run.events(JobEnded)) == 100
    wait_for(lambda: execs(project) - before >= 3, "the end of the execs")
    assert execs(project) - before == 3


def bridges(task: str) -> int:
    return len(carriers(f"WOMM_TASK={task}", command="bridge.pl"))

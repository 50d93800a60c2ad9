"""Few files may be open: the limit is raised where it may be; else jobs wait, and no traceback says so."""

import subprocess

import pytest

from tests.faults.tasks import DEADLINE_S, WOMM, environment, nothing_left
from womm.journal.store import TaskStore

pytestmark = pytest.mark.slow


def limited(folder, limit, pods, jobs, command):
    line = f'ulimit {limit} && seq {jobs} | exec "$@"'
    words = [*WOMM, "parallel", "--kube-pods", str(pods), "--", f"{command}; : {{}}"]
    return subprocess.run(
        ["bash", "-c", line, "bash", *words],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.mark.parametrize(
    "limit, pods, waits", [("-Sn 256", 100, [0]), ("-n 256", 100, [0, 1]), ("-n 80", 40, [1])]
)
def test_jobs_all_run_however_few_files_may_be_open(womm_home, tmp_path, limit, pods, waits):
    jobs = pods
    done = limited(tmp_path, limit, pods, jobs, "ulimit -Sn")
    assert "Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [limit.split()[1]] * jobs
    said = done.stderr.count("files may be open here: jobs wait for each other")
    assert said in waits, done.stderr
    assert "leaves the pool" not in done.stderr
    nothing_left(TaskStore.default().tasks()[-1].task, womm_home.runtime)


def test_agents_that_have_come_up_run_the_jobs_where_no_file_is_left_for_others(womm_home, tmp_path):
    done = limited(tmp_path, "-n 40", 40, 5, "echo done")
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == (0, "done\n" * 5), done.stderr
    nothing_left(TaskStore.default().tasks()[-1].task, womm_home.runtime)

"""Jobs run in workers or not at all: folders, perls and mounts with which the shim might not be found."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import womm
from tests.cli.running import Result, run
from tests.faults.tasks import WOMM, environment
from tests.interop.plain import PLAIN
from tests.link.wires import PERL
from womm.journal.events import JobStarted
from womm.journal.store import TaskStore

pytestmark = pytest.mark.slow

POD = 'echo "pod=${WOMM_POD:+there} {}"'
INPUT = "a\nb\n"
MANNERS = {
    "plain": ((), ("-k", POD, ":::", "a", "b")),
    # A job that does not read its input may get SIGPIPE, with plain GNU parallel, too.
    "pipe": ((), ("-k", "--pipe", "-N1", f"cat >/dev/null; {POD}")),
    "compress": ((), ("-k", "--compress", POD, ":::", "a", "b")),
    "logins": (("--logins",), ("-k", POD, ":::", "a", "b")),
    "onall": ((), ("-k", "--onall", POD, ":::", "a", "b")),
}


def jobs(manner, **env) -> Result:
    options, words = MANNERS[manner]
    return run("-q", "parallel", "--kube-pods", "1", *options, "--", *words, stdin=INPUT, **env)


def in_a_worker(result: Result) -> None:
    assert (result.status, result.err) == (0, "")
    assert [line.split()[0] for line in result.out.splitlines()] == ["pod=there"] * 2
    (task,) = TaskStore.default().tasks()
    assert len([event for event in task.events() if isinstance(event, JobStarted)]) == 2


@pytest.mark.parametrize(
    "manner, name, variable",
    [
        ("plain", "a:b", "TMPDIR"),
        ("pipe", "a:b", "XDG_RUNTIME_DIR"),
        ("compress", "a:b", "XDG_RUNTIME_DIR"),
        ("plain", "it's a\tb", "XDG_RUNTIME_DIR"),
        ("logins", "it's a\tb", "XDG_RUNTIME_DIR"),
        ("onall", "it's a\tb", "XDG_RUNTIME_DIR"),
    ],
)
def test_jobs_run_in_workers_with_a_runtime_folder_that_breaks_paths(
    womm_home, tmp_path, manner, name, variable
):
    folder = womm_home.runtime / name
    folder.mkdir()
    in_a_worker(jobs(manner, **{"XDG_RUNTIME_DIR": None, variable: str(folder)}))


@pytest.mark.parametrize("manner", ["plain", "pipe", "onall"])
def test_jobs_run_in_workers_with_a_perl_that_no_first_line_holds(womm_home, tmp_path, manner):
    perl = tmp_path / "a b" / "perl"
    perl.parent.mkdir()
    shutil.copy(PERL, perl)
    in_a_worker(jobs(manner, PATH=f"{perl.parent}:{os.environ['PATH']}"))


def test_onall_calls_gnu_parallel_whose_path_a_shell_would_take_apart(womm_home, tmp_path):
    """--onall starts GNU parallels of its own, by the name that it was started by."""
    copy = tmp_path / "it's a" / "womm"
    shutil.copytree(Path(womm.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    if not (copy / "vendor").exists():  # an installed womm has it
        (copy / "vendor").mkdir()
        shutil.copy(PLAIN[-1], copy / "vendor" / "parallel")
    in_a_worker(jobs("onall", cwd=tmp_path, PYTHONPATH=str(copy.parent)))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("name", ["XDG_RUNTIME_DIR", "TMPDIR"])
def test_jobs_run_in_workers_where_no_program_may_run_in_the_first_folders(womm_home, tmp_path, name):
    """In a mount namespace of its own: the machine's mounts stay as they are."""
    command = [*WOMM, "-q", "parallel", "--kube-pods", "1", "--", "-k", POD, ":::", "a", "b"]
    mounted = f'mount -t tmpfs -o noexec none {womm_home.runtime} && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", mounted, "sh", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment(**{"XDG_RUNTIME_DIR": None, "TMPDIR": None, name: str(womm_home.runtime)}),
    )
    in_a_worker(Result(done.returncode, done.stdout, done.stderr))


@pytest.mark.parametrize("manner", ["plain", "pipe", "logins", "onall"])
def test_no_job_runs_where_the_shim_cannot_be_started(womm_home, tmp_path, manner):
    """A perl that does not want to be the shim's stands for whatever a machine may forbid."""
    perl = tmp_path / "bin" / "perl"
    perl.parent.mkdir()
    perl.write_text(f'#!/bin/sh\ncase $1 in */womm-*/bin/*) exit 9;; esac\nexec {PERL} "$@"\n')
    perl.chmod(0o755)
    result = jobs(manner, PATH=f"{perl.parent}:{os.environ['PATH']}", WOMM_HANDOVER="shell")
    assert (result.status, result.out) == (254, "")
    said, hint = result.err.splitlines()
    assert said.startswith("womm: GNU parallel's jobs would not run in the workers: it cannot start ")
    assert hint.startswith("womm: hint: ")
    assert os.listdir(womm_home.runtime) == []


def test_runtime_folder_that_goes_away_ends_the_task_and_its_next_job_does_not_run_here(womm_home, tmp_path):
    command = f'echo "pod=${{WOMM_POD:+there}} {{}}"; [ {{}} != a ] || rm -r {womm_home.runtime}/womm-*/bin'
    log = tmp_path / "log"
    words = ("-q", "parallel", "--kube-pods", "1", "--", "--joblog", str(log), command, ":::", "a", "b")
    result = run(*words, WOMM_HANDOVER="shell")
    assert result.status == 254
    assert result.out == "pod=there a\n"
    assert "which it starts for each job, is gone" in result.err
    assert [line.split("\t")[0] for line in log.read_text().splitlines()] == ["Seq", "1"]


@pytest.mark.parametrize(
    ("way", "away"),
    [
        ("shell", "{= $WorkersOnly::shim = ''; $ENV{PATH} =~ s/^[^:]*:// =}"),
        ("direct", "{= $WorkersOnly::shim = ''; *Job::open3_setpgrp = \\&Job::open3_setpgrp_internal =}"),
    ],
)
def test_jobs_that_womm_has_not_seen_fail_the_task(womm_home, tmp_path, way, away):
    """A replacement string may hold any perl: this one takes away all that leads to a worker."""
    words = ("echo", away, "{}", ":::", "a", "b")
    result = run("-q", "parallel", "--kube-pods", "1", "--", *words, WOMM_HANDOVER=way)
    assert result.status == 254
    said, _ = result.err.splitlines()
    assert said.startswith("womm: GNU parallel ended 2 jobs and 2 did not come to womm: ")


def test_job_that_gnu_parallel_would_start_itself_does_not_run(womm_home, tmp_path):
    words = ("echo", "{= *Job::open3_setpgrp = \\&Job::open3_setpgrp_internal =}", "{}", ":::", "a", "b")
    log = tmp_path / "log"
    result = run("-q", "parallel", "--kube-pods", "1", "--", "--joblog", str(log), *words)
    assert (result.status, result.out) == (254, "")
    assert len(log.read_text().splitlines()) == 1

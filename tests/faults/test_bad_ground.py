"""Full disks, folders that go away, programs that are not there: one line, a status, nothing lost."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.tasks import WOMM, environment, nothing_left, started, wait_for, womm
from womm.journal.store import TaskStore

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def lines_of(err):
    """What womm itself said, its first and last words left out."""
    said = [line for line in err.splitlines() if line.startswith("womm: ")]
    return [line for line in said if not re.match(r"womm: (task \w+ (created|deleted)|first job)", line)]


def on_small_disk(state, script):
    """Run a script of sh in which `state` is a disk of 1 MB; the mount ends with it."""
    return subprocess.run(
        ["unshare", "--mount", "sh", "-ec", f"mount -t tmpfs -o size=1m none {state}\n{script}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment(),
        cwd=state.parents[2],
    )


@ROOT_ONLY
def test_disk_full_for_the_journal_at_the_start_is_one_line_and_254(womm_home):
    done = on_small_disk(
        womm_home.state,
        f"head -c 2000000 /dev/zero >{womm_home.state}/full 2>/dev/null || :\n"
        f"{' '.join(WOMM)} parallel --kube-pods 2 -- 'echo ran; touch ran' ::: 1 2",
    )
    assert done.returncode == 254, done.stderr
    assert done.stdout == ""
    said = lines_of(done.stderr)
    assert len(said) <= 2, said
    assert "No space left on device" in said[0]
    assert not (womm_home.state.parents[2] / "ran").exists()
    assert [path for path in womm_home.runtime.iterdir() if path.name.startswith("womm-")] == []


@ROOT_ONLY
def test_disk_full_for_the_journal_in_mid_run_jobs_go_on_and_one_line_says_so(womm_home):
    """Each job's output is kept: that alone fills the disk."""
    done = on_small_disk(
        womm_home.state,
        f"seq 60 | {' '.join(WOMM)} parallel --kube-pods 2 -- -k"
        " 'head -c 40000 /dev/urandom; echo; echo {}'"
        " | tail -c 3",
    )
    assert done.stdout == "60\n", done.stderr
    (told,) = lines_of(done.stderr)
    assert "cannot write the journal" in told
    assert "No space left on device" in told
    assert "jobs go on" in told


def test_state_folder_that_cannot_be_made_is_one_line_and_254(womm_home, tmp_path):
    (tmp_path / "file").touch()
    done = womm(
        tmp_path, "parallel", "--kube-pods", "1", "--", "echo", ":::", "1", XDG_STATE_HOME=f"{tmp_path}/file"
    )
    assert done.returncode == 254
    assert done.stdout == ""
    assert len(lines_of(done.stderr)) <= 2
    assert "Not a directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_journal_deleted_under_a_run_loses_no_job(womm_home, tmp_path):
    command = "echo {}; while [ {} = 1 ] && [ ! -e go ]; do sleep 0.02; done"
    with started(tmp_path, "parallel", "--kube-pods", "2", "--", command, ":::", *"12345") as run:
        task = run.task
        wait_for(lambda: run.out.count(b"\n") >= 3, "some jobs")
        shutil.rmtree(TaskStore.default().root / task)
        (tmp_path / "go").touch()
        assert run.wait() == 0, run.err
        assert sorted(run.out.split()) == [b"1", b"2", b"3", b"4", b"5"]
        assert "Traceback" not in run.err
        nothing_left(task, womm_home.runtime)


def test_folder_deleted_under_a_run_is_the_jobs_failure_and_all_is_cleaned(womm_home, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    command = "if [ {} = 1 ]; then touch there; while [ ! -e ../go ]; do sleep 0.02; done; fi; ls . && pwd"
    words = [*WOMM, "parallel", "--kube-pods", "1", "--", command, ":::", "1", "2", "3"]
    with open(tmp_path / "err", "wb") as err:
        process = subprocess.Popen(
            words, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=err, stdin=subprocess.DEVNULL
        )
    with process:
        try:
            wait_for((folder / "there").exists, "the first job")
            shutil.rmtree(folder)
            (tmp_path / "go").touch()
            process.communicate(timeout=60)
        finally:
            process.kill()
    text = (tmp_path / "err").read_text()
    assert "Traceback" not in text
    assert process.returncode in range(4), text
    nothing_left(TaskStore.default().tasks()[-1].task, womm_home.runtime)


def test_folder_that_is_gone_at_the_start_is_one_line_and_254(womm_home, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    line = f"rmdir {folder}; {' '.join(WOMM)} parallel --kube-pods 1 -- echo ::: 1"
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (254, "")
    assert "womm: the current folder is gone" in done.stderr
    assert "Traceback" not in done.stderr
    assert TaskStore.default().tasks() == []


def without(tmp_path, *names):
    """A PATH with everything of this machine but these programs."""
    folder = tmp_path / "path"
    folder.mkdir()
    for part in os.environ["PATH"].split(os.pathsep):
        for program in Path(part).iterdir() if Path(part).is_dir() else ():
            # A link to nothing is in folders of PATH, too.
            if program.name not in names and not os.path.lexists(folder / program.name):
                (folder / program.name).symlink_to(program)
    return str(folder)


@pytest.mark.parametrize(
    "words", [["parallel", "--kube-pods", "1", "--", "echo", ":::", "1"], ["shell", "true"]]
)
def test_no_perl_is_one_line_and_254(womm_home, tmp_path, words):
    path = without(tmp_path, "perl")
    done = womm(tmp_path, *words, PATH=path)
    assert (done.returncode, done.stdout) == (254, "")
    assert "womm: perl is not there" in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert TaskStore.default().tasks() == []


def test_no_gnu_parallel_is_one_line_and_254(womm_home, tmp_path):
    """womm without the vendored copy, as a wheel that was built without it."""
    package = Path(sys.modules["womm"].__file__ or "").parent
    copy = tmp_path / "copy"
    shutil.copytree(package, copy / "womm", ignore=shutil.ignore_patterns("vendor", "__pycache__"))
    path = without(tmp_path, "parallel")
    done = womm(
        copy, "parallel", "--kube-pods", "1", "--", "echo", ":::", "1", PATH=path, PYTHONPATH=str(copy)
    )
    assert (done.returncode, done.stdout) == (254, "")
    assert "womm: GNU parallel is not there" in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    # moreutils has another program of that name
    (Path(path) / "parallel").write_text("#!/bin/sh\necho moreutils\n")
    (Path(path) / "parallel").chmod(0o755)
    done = womm(
        copy, "parallel", "--kube-pods", "1", "--", "echo", ":::", "1", PATH=path, PYTHONPATH=str(copy)
    )
    assert (done.returncode, done.stdout) == (254, "")
    assert "womm: GNU parallel is not there" in done.stderr


def test_no_room_for_a_jobs_input_fails_that_job_and_names_it(womm_home, tmp_path):
    """The spool's disk is full: seen through a limit on the size of files."""
    line = (
        f"ulimit -f 100; head -c 3000000 /dev/zero | {' '.join(WOMM)} parallel --kube-pods 1 --"
        " --pipe --block 1500k 'sleep 0.5; wc -c'"
    )
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=tmp_path,
        env=environment(WOMM_STDIN_MEMORY="1000"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode in (1, 2), done.stderr
    assert "its input cannot be kept: File too large" in done.stderr
    nothing_left(TaskStore.default().tasks()[-1].task, womm_home.runtime)

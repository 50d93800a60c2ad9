"""`womm finish`: all of a task's processes end, and nobody else's."""

import os
import subprocess
import time
from dataclasses import replace

import pytest

from tests.cli.running import WOMM, environment, run
from tests.cli.tasks import OTHER, TASK, running, started_here, write_task
from tests.journal.samples import STARTED
from tests.soak import count
from womm.journal.events import PodStarted
from womm.journal.observe import this_user
from womm.journal.store import TaskStore
from womm.process import identify, is_alive


def check_nothing_left(task):
    assert task.processes() == []
    assert not task.runtime.exists()
    assert task.record.cleaned()
    assert not task.record.locked()
    assert run("status", "-o", "name").out == ""


def test_finish_a_running_task_lets_its_coordinator_clean(womm_home, tmp_path):
    with running(tmp_path, womm_home.runtime) as task:
        result = run("finish", TASK[:3], cwd=tmp_path)
        assert (result.status, result.out, result.err) == (0, "", f"task {TASK} finished\n")
        assert task.coordinator.wait() == 0
        check_nothing_left(task)
        again = run("finish", TASK, cwd=tmp_path)
        assert (again.status, again.err) == (0, f"task {TASK} was already cleaned\n")


def test_finish_a_coordinator_that_exits_without_cleaning_is_cleaned_after(womm_home, tmp_path):
    with running(tmp_path, womm_home.runtime, manner="rude") as task:
        task.wait_for_processes(5)
        result = run("finish", "last", cwd=tmp_path)
        assert (result.status, result.err) == (0, f"task {TASK} finished\n")
        check_nothing_left(task)


@pytest.mark.parametrize("number", range(count(3, 50)))
def test_finish_an_orphan_ends_all_of_it_and_nothing_else(womm_home, tmp_path, number):
    bystander = subprocess.Popen(["sleep", "300"], env=environment(WOMM_TASK="anotherx"))
    try:
        with running(tmp_path, womm_home.runtime) as task:
            task.orphan()
            below = tmp_path / "below"
            below.mkdir()
            result = run("finish", TASK, cwd=below)  # inside the task's folder
            assert (result.status, result.err) == (0, f"task {TASK} finished\n")
            check_nothing_left(task)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_finish_another_process_with_an_agents_number_lives(womm_home, tmp_path):
    bystander = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        identity = identify(bystander.pid)
        assert identity is not None
        write_task(
            TASK,
            started_here(TASK, str(tmp_path), coordinator_pid=bystander.pid),
            PodStarted(1.0, "pod-0", 1, bystander.pid, "1"),
        )
        assert run("finish", TASK, cwd=tmp_path).status == 0
        assert is_alive(identity)
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.slow
def test_finish_a_deaf_coordinator_needs_force(womm_home, tmp_path):
    with (
        running(tmp_path, womm_home.runtime, manner="deaf") as task,
        running(tmp_path, womm_home.runtime, manner="deaf", task=OTHER) as other,
        subprocess.Popen(
            [*WOMM, "finish", "--force", OTHER],
            cwd=tmp_path,
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        ) as forced,
    ):
        result = run("finish", TASK, cwd=tmp_path)
        assert result.status == 254
        assert f"task {TASK} goes on: its coordinator (pid {task.coordinator.pid})" in result.err
        assert result.err.endswith(f"womm: hint: womm finish --force {TASK}\n")
        assert task.record.locked()
        assert forced.communicate()[1] == f"task {OTHER} finished\n"
        assert forced.returncode == 0
        assert other.processes() == []
        assert other.record.cleaned()


def test_finish_ones_own_task_works_from_any_folder_and_all_spares_other_folders(womm_home, tmp_path):
    here, there = tmp_path / "here", tmp_path / "here too"
    here.mkdir()
    there.mkdir()
    write_task(TASK, started_here(TASK, str(here)))
    assert run("finish", "--all", cwd=there).err == "womm: there is nothing to finish in this folder\n"
    assert run("finish", TASK, cwd=there).err == f"task {TASK} finished\n"


def test_finish_another_users_task_is_refused_without_force(womm_home):
    """In a state folder that machines share."""
    write_task(TASK, replace(STARTED, host="elsewhere", user="so\x1b[31mmebody"))
    result = run("finish", TASK)
    assert result.status == 2
    assert result.err == (
        f"womm: task {TASK} is so\\x1b[31mmebody's\nwomm: hint: womm finish --force {TASK}\n"
    )
    assert run("finish", TASK, "--force").status == 0


def test_finish_a_task_whose_folder_is_gone_works_anywhere(womm_home, tmp_path):
    write_task(TASK, started_here(TASK, str(tmp_path / "gone")))
    assert run("finish", TASK).err == f"task {TASK} finished\n"


def test_finish_another_machines_task_is_refused_without_force(womm_home):
    mine = identify(os.getpid())
    assert mine is not None
    write_task(
        TASK,
        replace(
            STARTED, host="elsewhere", user=this_user(), runtime_dir=str(womm_home.runtime / f"womm-{TASK}")
        ),
        PodStarted(1.0, "pod-0", 1, mine.pid, mine.start),  # not ours: numbers of that machine
    )
    (womm_home.runtime / f"womm-{TASK}").mkdir()
    result = run("finish", TASK)
    assert result.status == 2
    assert f"task {TASK} runs on elsewhere itself: finish it there" in result.err
    result = run("finish", TASK, "--force")
    assert result.status == 0
    assert f"what task {TASK} has left on elsewhere ends by itself there" in result.err
    assert (womm_home.runtime / f"womm-{TASK}").exists()


@pytest.mark.parametrize("kind", ["name", "link", "file"])
def test_finish_a_runtime_folder_that_is_not_womms_stays(womm_home, tmp_path, kind):
    target = tmp_path / "precious"
    (target / "sub").mkdir(parents=True)
    path = tmp_path / (f"womm-{TASK}" if kind != "name" else "womm-abcdefgh")
    if kind == "name":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(target)
    else:
        path.write_text("")
    write_task(TASK, started_here(TASK, str(tmp_path), runtime_dir=str(path)))
    assert run("finish", TASK, cwd=tmp_path).status == 0
    assert path.exists()
    assert (target / "sub").exists()


def test_finish_all_asks_before_it_ends_what_runs(womm_home, tmp_path):
    with running(tmp_path, womm_home.runtime) as task:
        write_task("orphanxx", started_here("orphanxx", str(tmp_path)))
        result = run("finish", "--all", cwd=tmp_path)
        assert result.status == 2
        assert result.err == ("womm: --all would end 1 running task\nwomm: hint: womm finish --all --yes\n")
        assert task.record.locked()
        result = run("finish", "--all", "--yes", cwd=tmp_path)
        assert (result.status, sorted(result.err.splitlines())) == (
            0,
            sorted([f"task {TASK} finished", "task orphanxx finished"]),
        )
        check_nothing_left(task)


@pytest.mark.parametrize("words", [(), ("--all", TASK)])
def test_finish_needs_ids_or_all(womm_home, words):
    assert run("finish", *words).status == 2


def test_finish_one_unknown_id_finishes_none(womm_home, tmp_path):
    write_task(TASK, started_here(TASK, str(tmp_path)))
    result = run("finish", TASK, "nosuchid", cwd=tmp_path)
    assert result.status == 254
    assert "no task has the id 'nosuchid'" in result.err
    assert not TaskStore.default().resolve(TASK).cleaned()


def test_finish_twice_at_once_both_succeed(womm_home, tmp_path):
    with running(tmp_path, womm_home.runtime) as task:
        task.orphan()
        both = [
            subprocess.Popen(
                [*WOMM, "finish", TASK],
                cwd=tmp_path,
                env=environment(),
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        results = [(process.communicate()[1], process.returncode) for process in both]
        assert [status for _, status in results] == [0, 0], results
        check_nothing_left(task)


def test_finish_called_by_a_job_of_the_task_spares_itself(womm_home, tmp_path):
    write_task(TASK, started_here(TASK, str(tmp_path)))
    result = run("finish", TASK, cwd=tmp_path, WOMM_TASK=TASK)
    assert (result.status, result.err) == (0, f"task {TASK} finished\n")


def test_finish_waits_no_longer_than_it_must(womm_home, tmp_path):
    with running(tmp_path, womm_home.runtime):
        begin = time.monotonic()
        run("finish", TASK, cwd=tmp_path)
        assert time.monotonic() - begin < 10

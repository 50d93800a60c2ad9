"""The end of a task whose coordinator died: what is its own goes, and nothing else."""

import os
import signal
import subprocess
from dataclasses import replace

import pytest

from tests.cli.running import environment
from tests.cli.tasks import TASK, running, started_here, write_task
from womm.errors import JournalError
from womm.journal.events import EngineStarted, Note, PodStarted, TaskCleaned
from womm.journal.fold import TaskStatus
from womm.journal.observe import observe
from womm.journal.store import TaskStore
from womm.process import ProcessIdentity, identify, is_alive
from womm.task.cleanup import clean, end_process, is_over, may_be_cleaned, note_cleaned


@pytest.fixture
def bystander():
    """A process of another task."""
    with subprocess.Popen(["sleep", "300"], start_new_session=True, env=environment(WOMM_TASK="x")) as other:
        yield identify(other.pid)
        other.kill()


@pytest.fixture
def written(womm_home):
    """Write the journal of a task of this machine, and observe it."""

    def write(*events, **changes):
        runtime = womm_home.runtime / f"womm-{TASK}"
        started = started_here(TASK, "/", **{"runtime_dir": str(runtime), **changes})
        write_task(TASK, started, *events)
        return observed()

    return write


def observed():
    return observe(TaskStore.default().resolve(TASK))


def test_clean_ends_engine_agents_and_jobs_and_says_nothing(womm_home, tmp_path, bystander):
    with running(tmp_path, womm_home.runtime) as task:
        task.wait_for_processes(5)
        (task.runtime / "socket").touch()
        task.orphan()
        assert not may_be_cleaned(observed())
        assert clean(TaskStore.default(), observed()) == []
        assert task.processes() == []
        assert not task.runtime.exists()
    assert observed().status is TaskStatus.CLEANED
    assert is_alive(bystander)


def test_clean_of_a_task_that_its_coordinator_holds_is_refused(womm_home, tmp_path):
    with running(tmp_path, womm_home.runtime) as task:
        task.wait_for_processes(5)
        with pytest.raises(JournalError, match="still owned by its coordinator"):
            clean(TaskStore.default(), observed())
        assert len(task.processes()) == 5
        assert task.runtime.exists()


def test_clean_spares_processes_that_have_got_the_tasks_numbers(written, bystander):
    old = str(int(bystander.start) - 1)
    task = written(EngineStarted(1.0, bystander.pid, old, ()), PodStarted(1.0, "p", 1, bystander.pid, old))
    assert may_be_cleaned(task)
    assert clean(TaskStore.default(), task) == []
    assert is_alive(bystander)
    assert observed().status is TaskStatus.CLEANED


@pytest.mark.parametrize(
    "name", ["womm-other", "precious", f"womm-{TASK}/precious"], ids=["another", "theirs", "below"]
)
def test_clean_removes_no_folder_that_the_journal_was_made_to_name(written, tmp_path, name):
    """Others may have changed the journal."""
    folder = tmp_path / name
    (folder / "below").mkdir(parents=True)
    clean(TaskStore.default(), written(runtime_dir=str(folder)))
    assert (folder / "below").exists()


def test_clean_follows_no_link_in_the_runtime_folders_place(written, tmp_path):
    (tmp_path / "precious" / "below").mkdir(parents=True)
    link = tmp_path / f"womm-{TASK}"
    link.symlink_to(tmp_path / "precious")
    clean(TaskStore.default(), written(runtime_dir=str(link)))
    assert (tmp_path / "precious" / "below").exists()


def test_clean_of_anothers_machines_task_only_says_what_becomes_of_it(written, bystander, tmp_path):
    folder = tmp_path / f"womm-{TASK}"
    folder.mkdir()
    agent = PodStarted(1.0, "p", 1, bystander.pid, bystander.start)
    task = written(agent, host="elsewhere", runtime_dir=str(folder))
    assert not may_be_cleaned(task)
    assert not is_over(task)
    lines = clean(TaskStore.default(), task)
    assert lines == [f"womm: what task {TASK} has left on elsewhere ends by itself there"]
    assert is_alive(bystander)
    assert folder.exists()
    assert observed().status is TaskStatus.CLEANED


def test_task_is_over_without_processes_and_runtime_folder(written, womm_home):
    task = written()
    assert (may_be_cleaned(task), is_over(task)) == (True, True)
    runtime = womm_home.runtime / f"womm-{TASK}"
    runtime.symlink_to("nowhere")
    assert (may_be_cleaned(task), is_over(task)) == (True, False)
    runtime.unlink()
    started = task.state.started
    assert started is not None
    kubernetes = replace(task, state=replace(task.state, started=replace(started, cluster="kubernetes")))
    assert not is_over(kubernetes)


def test_task_with_a_process_that_carries_its_mark_is_not_over(written):
    task = written()
    with subprocess.Popen(["sleep", "300"], env=environment(WOMM_TASK=TASK)) as job:
        assert not may_be_cleaned(task)
        job.kill()
    assert may_be_cleaned(task)


def test_cleaned_task_is_not_cleaned_again(written):
    task = written(TaskCleaned(2.0))
    assert task.status is TaskStatus.CLEANED
    assert (may_be_cleaned(task), is_over(task)) == (False, False)


def test_end_is_noted_once_and_by_one(written, womm_home):
    task = written()
    (womm_home.runtime / f"womm-{TASK}" / "below").mkdir(parents=True)
    with TaskStore.default().reopen(TASK, on_failure=print):
        assert note_cleaned(TaskStore.default(), task) is None
    noted = note_cleaned(TaskStore.default(), task)
    assert noted is not None
    assert noted.status is TaskStatus.CLEANED
    assert [*womm_home.runtime.iterdir()] == []
    TaskStore.default().remove(TASK)
    assert note_cleaned(TaskStore.default(), task) is None


def test_end_process_signals_only_that_process(bystander):
    end_process(TASK, ProcessIdentity(bystander.pid, "1"), signal.SIGKILL)
    assert is_alive(bystander)
    end_process(TASK, bystander, signal.SIGKILL)
    os.waitpid(bystander.pid, 0)
    end_process(TASK, bystander, signal.SIGKILL)


def test_task_whose_journal_is_held_may_not_be_cleaned(written):
    written()
    with TaskStore.default().reopen(TASK, on_failure=print):
        held = observed()
        assert held.locked
        assert not may_be_cleaned(held)
    assert may_be_cleaned(observed())


@pytest.mark.parametrize("of", ["agent", "engine"])
def test_task_with_a_live_process_in_its_journal_is_not_over(written, bystander, of):
    """Its environment carries no mark."""
    agent = PodStarted(1.0, "p", 1, bystander.pid, bystander.start)
    engine = EngineStarted(1.0, bystander.pid, bystander.start, ())
    assert not may_be_cleaned(written(agent if of == "agent" else engine))


@pytest.mark.parametrize("events", [(), (Note(1.0, "x"),)])
def test_clean_of_a_journal_without_its_start_only_says_that_it_is_over(womm_home, events):
    write_task(TASK, *events)
    task = observed()
    assert not is_over(task)
    assert clean(TaskStore.default(), task) == []
    assert observed().status is TaskStatus.CLEANED


def test_clean_of_a_task_that_never_had_a_runtime_folder(written):
    assert clean(TaskStore.default(), written(runtime_dir="")) == []


def test_agent_has_time_to_end_its_jobs_before_it_is_killed(written, tmp_path):
    """Only it knows those that carry no mark."""
    code = f"trap 'sleep 0.2; echo ended >{tmp_path / 'said'}; exit' TERM; echo; while :; do sleep 0.02; done"
    with subprocess.Popen(["sh", "-c", code], stdout=subprocess.PIPE, start_new_session=True) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()
        who = identify(agent.pid)
        assert who is not None
        clean(TaskStore.default(), written(PodStarted(1.0, "p", 1, who.pid, who.start)))
        assert agent.wait() == 0
    assert (tmp_path / "said").read_text() == "ended\n"

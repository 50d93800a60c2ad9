"""`womm status`: the look that users know, and what processes are really there."""

import json
import time
from dataclasses import replace

import pytest

from tests.cli.running import run
from tests.cli.tasks import TASK as RUNNING
from tests.cli.tasks import running, started_here, write_task
from tests.journal.samples import STARTED, TASK, journal_of
from womm.cli.status import as_table
from womm.journal.events import (
    Note,
    PodStarted,
    ProgramsTraffic,
    ShareKept,
    ShareTraffic,
    ShareUnsent,
    TaskCleaned,
    TaskEnded,
)
from womm.journal.fold import TaskStatus, fold
from womm.journal.observe import Observation
from womm.journal.store import TaskRecord, TaskStore
from womm.task.listing import local_view

SEED = """\
ID        AGE    STATUS     CPU    MEM  HEALTH    PWD                          COMMAND
--------  -----  -------  -----  -----  --------  ---------------------------  ----------------------------------
blhqwudx  50m    RUNNING      1  512Mi  1/1       /home/audrey/proj/supercool  'parallel' '--' 'sleep 1; echo {}'
"""  # noqa: E501

SENT = ShareUnsent(2.0, (), 0, "")


def observation(tmp_path, **changes):
    started = replace(STARTED, **changes)
    record = TaskRecord(TASK, tmp_path, started, started.time)
    return local_view(Observation(record, fold([started]), TaskStatus.RUNNING, True, None, True, 1))


def test_as_table_looks_like_the_first_womms(tmp_path):
    found = observation(tmp_path)
    assert as_table([found], STARTED.time + 3000, all_hosts=False, width=None) == SEED


def test_as_table_totals_are_over_pods(tmp_path):
    found = observation(tmp_path, pods=4, cpu="500m", mem="512Mi")
    row = as_table([found], STARTED.time, all_hosts=True, width=None).splitlines()[2].split()
    assert row[3:7] == ["2", "2Gi", "1/4", "laptop"]


def test_as_table_a_narrow_terminal_cuts_the_command(tmp_path):
    found = observation(tmp_path, argv=("parallel", "x" * 500))
    lines = as_table([found], 0.0, all_hosts=False, width=120).splitlines()
    assert max(map(len, lines)) == 120
    assert lines[2].endswith("...")


def test_status_cuts_the_command_in_a_pipe_and_wide_does_not(womm_home, tmp_path):
    argv = ("parallel", "--", "x" * 500)
    write_task("aaaaaaaa", started_here("aaaaaaaa", "/proj", argv=argv))
    cut, whole = run("status").out.splitlines(), run("status", "-o", "wide").out.splitlines()
    assert len(cut[2]) == 120
    assert cut[2].endswith("...")
    assert whole[2].endswith("x" * 500 + "'")
    assert cut[0] == whole[0]
    assert cut[0].endswith("COMMAND")


def test_status_of_tasks_that_are_over_claims_nothing_and_is_one_line(womm_home):
    traffic, lost = ShareTraffic(2.0, 1, 1, 1, 7), ShareUnsent(2.0, ("out/a",), 14, "No space left on device")
    for task, *events in (("aaaaaaaa",), ("bbbbbbbb", lost), ("cccccccc", lost)):
        write_task(task, started_here(task, "/proj"), traffic, *events, TaskCleaned(3.0))
    result = run("status", "--ended")
    assert [row.split()[2:6] for row in result.out.splitlines()[2:]] == [["CLEANED", "-", "-", "-"]] * 3
    assert result.err == (
        "womm: not all that jobs wrote is in the folder of 2 tasks that have ended (bbbbbbbb, cccccccc):"
        " see `unsent` in womm status --ended -o json\n"
    )
    for task in json.loads(run("status", "-e", "-o", "json").out)["tasks"]:
        assert (task["cpu_millis"], task["mem_bytes"]) == (0, 0)


def test_as_table_nasty_names_stay_on_their_line(tmp_path):
    found = observation(tmp_path, argv=("a\nb", "\udcff"), folder="/tmp/\x1b[31m", cpu="lots")
    text = as_table([found], 0.0, all_hosts=False, width=None)
    assert text.count("\n") == 3
    assert text.replace("\n", "").isprintable()


def test_status_without_tasks_says_so_on_stderr(womm_home):
    result = run("status")
    assert (result.status, result.out) == (0, "")
    assert result.err.startswith("womm: no task uses anything")
    assert result.err.count("\n") == 1
    assert run("status", "--ended").err.startswith("womm: there are no tasks")
    empty = run("status", "-o", "json")
    assert (json.loads(empty.out), empty.err) == ({"version": 1, "tasks": []}, "")
    assert run("status", "-o", "name") == type(empty)(0, "", "")


def test_status_follows_the_processes(womm_home, tmp_path):
    def only(*words):
        (task,) = json.loads(run("status", "-o", "json", *words).out)["tasks"]
        return task["status"], task["ready"], task["pods"]

    with running(tmp_path, womm_home.runtime, manner="rude") as task:
        assert only() == ("RUNNING", 2, 2)
        task.orphan()
        assert only() == ("ORPHANED", 2, 2)
    assert only() == ("ORPHANED", 0, 2)
    with TaskStore.default().reopen(RUNNING, on_failure=print) as journal:
        journal.append(TaskEnded(time.time(), 0, 1, 0))
        assert only() == ("ORPHANED", 0, 2) or only() == ("COMPLETE", 0, 2)
    assert only() == ("COMPLETE", 0, 2)
    with TaskStore.default().reopen(RUNNING, on_failure=print) as journal:
        journal.append(TaskCleaned(time.time()))
    assert json.loads(run("status", "-o", "json").out)["tasks"] == []
    assert only("--ended") == ("CLEANED", 0, 2)
    (task_json,) = json.loads(run("status", "-e", "-o", "json").out)["tasks"]
    assert task_json["ended"]["done"] == 1
    assert run("status", "-e", "-o", "name").out == RUNNING + "\n"


def test_status_tells_what_went_over_a_share(womm_home):
    older = ShareTraffic(1.0, 1, 1, 1, 1)
    write_task("aaaaaaaa", replace(STARTED, host="elsewhere"), older, ShareTraffic(2.0, 3_000_000, 512, 0, 7))
    (task,) = json.loads(run("status", "-A", "-o", "json").out)["tasks"]
    guessed = {"guessed": 0, "used": 0, "wasted": 0}
    assert task["share"] == {"fetched": 3_000_000, "cached": 512, "written": 0, "unwritten": 7} | guessed
    told = "womm: aaaaaaaa: 3 MB fetched, 512 B from the cache, 0 B written back, 7 B still to be written\n"
    assert run("status", "-A").err == told


def test_status_tells_what_was_fetched_of_programs_and_guessed(womm_home):
    event = ProgramsTraffic(1.0, 30_000_000, 0, 5_000_000, 4_000_000, 1_000_000)
    write_task("aaaaaaaa", replace(STARTED, host="elsewhere"), event)
    (task,) = json.loads(run("status", "-A", "-o", "json").out)["tasks"]
    assert (task["programs"]["guessed"], task["programs"]["used"]) == (5_000_000, 4_000_000)
    assert run("status", "-A").err == (
        "womm: aaaaaaaa: programs: 30 MB fetched, 0 B from the cache, 5 MB guessed (4 MB used, 1 MB wasted)\n"
    )


def test_status_names_what_is_not_in_the_folder(womm_home):
    why = "No space left on device"
    event = ShareUnsent(1.0, ("out/a", "caf\udce9\n"), 14, why)
    write_task("aaaaaaaa", replace(STARTED, host="elsewhere"), event)
    (task,) = json.loads(run("status", "-A", "-o", "json").out)["tasks"]
    assert task["unsent"] == {"names": ["out/a", "caf\udce9\n"], "count": 14, "reason": why}
    line = r"womm: aaaaaaaa: what jobs wrote is not in the folder (%s): out/a, caf\xe9\n and 12 more"
    assert run("status", "-A").err == line % why + "\n"


def test_status_names_what_was_changed_here_while_jobs_wrote_to_it(womm_home):
    event = ShareKept(1.0, ("log", "caf\udce9"), ("log.womm-a", "caf\udce9.womm-a"), 12)
    write_task("aaaaaaaa", replace(STARTED, host="elsewhere"), event)
    (task,) = json.loads(run("status", "-A", "-o", "json").out)["tasks"]
    copies = ["log.womm-a", "caf\udce9.womm-a"]
    assert task["kept"] == {"names": ["log", "caf\udce9"], "copies": copies, "count": 12}
    line = r"log (yours is log.womm-a), caf\xe9 (yours is caf\xe9.womm-a) and 10 more"
    head = "womm: aaaaaaaa: changed here while jobs wrote to it, both are kept: "
    assert run("status", "-A").err == head + line + "\n"


@pytest.mark.parametrize(("ends", "words"), [((), "(the coordinator is gone): a\n"), ((SENT,), "")])
def test_status_of_what_was_on_its_way_when_the_coordinator_ended(womm_home, ends, words):
    events = ShareUnsent(1.0, ("a",), 1, ""), *ends
    write_task("aaaaaaaa", replace(STARTED, host="elsewhere"), *events)
    (task,) = json.loads(run("status", "-A", "-o", "json").out)["tasks"]
    assert (task["unsent"] is None) == bool(ends)
    assert run("status", "-A").err.endswith(words)
    assert bool(run("status", "-A").err) == bool(words)


def test_status_other_machines_need_a_flag(womm_home):
    write_task("aaaaaaaa", replace(STARTED, host="elsewhere"), PodStarted(1.0, "p", 1, 1, "1"))
    assert run("status", "-o", "name").out == ""
    result = run("status", "--all-hosts")
    header, _, row = result.out.splitlines()
    assert "HOST" in header
    assert "elsewhere" in row
    assert "1/1" in row  # as far as the journal knows
    assert "ORPHANED" in row


@pytest.mark.parametrize("events", [[], [Note(1.0, "x")]])
def test_status_a_journal_without_its_start_is_shown(womm_home, events):
    write_task("damagedx", *events)
    result = run("status")
    assert result.status == 0
    assert "its journal is damaged" in result.out
    (task,) = json.loads(run("status", "-A", "-o", "json").out)["tasks"]
    assert (task["id"], task["folder"], task["status"]) == ("damagedx", None, "ORPHANED")


def test_status_of_a_task_of_which_nothing_is_left_here_is_cleaned(womm_home, tmp_path):
    """As after a second Ctrl-C, and when the machine was started anew."""
    path = write_task(TASK, started_here(TASK, "/", runtime_dir=str(tmp_path / "gone")), SENT)
    assert run("status", "-o", "name").out == ""
    (task,) = json.loads(run("status", "-e", "-o", "json").out)["tasks"]
    assert (task["status"], task["cpu_millis"]) == ("CLEANED", 0)
    assert TaskStore.default().resolve(TASK).cleaned(), path
    assert run("finish", TASK).err == f"task {TASK} was already cleaned\n"


def test_status_newest_is_last(womm_home):
    for number, task in enumerate(["cccccccc", "aaaaaaaa", "bbbbbbbb"]):
        write_task(task, started_here(task, "/", time=1000.0 + number))
    assert run("status", "-o", "name").out.split() == ["cccccccc", "aaaaaaaa", "bbbbbbbb"]


@pytest.mark.parametrize("words", [("status",), ("logs", "last"), ("finish", "--all"), ("clean",)])
def test_an_unreadable_state_folder_is_one_sentence(womm_home, words):
    (womm_home.state / "womm").mkdir()
    (womm_home.state / "womm" / "tasks").write_text("")
    result = run(*words)
    assert result.status == 254
    assert "cannot list the tasks in" in result.err
    assert result.err.count("\n") == 2
    assert "Traceback" not in result.err


@pytest.mark.parametrize("words", [("status",), ("clean",), ("doctor",)])
def test_without_home_commands_work(womm_home, words):
    result = run(*words, HOME=None)
    assert "Traceback" not in result.err
    assert result.status in {0, 1}


def test_status_in_a_folder_that_is_gone_works(womm_home, tmp_path):
    import subprocess

    from tests.cli.running import WOMM, environment

    gone = tmp_path / "gone"
    gone.mkdir()
    result = subprocess.run(
        ["sh", "-c", 'rmdir "$0"; exec "$@"', str(gone), *WOMM, "status", "-o", "json"],
        cwd=gone,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_journal_of_is_where_status_looks(womm_home):
    journal_of(TaskStore.default(), started_here(TASK, "/"))
    assert run("status", "-o", "name").out == TASK + "\n"

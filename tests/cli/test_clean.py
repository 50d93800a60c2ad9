"""`womm clean`: old journals of cleaned tasks go, all others stay."""

import os
import time

import pytest

from tests.cli.running import run
from tests.cli.tasks import started_here, write_task
from womm.journal.events import TaskCleaned
from womm.journal.store import TaskStore

DAY_S = 86400


@pytest.fixture
def tasks(womm_home):
    """Four tasks, 40, 20, 10 and 0 days old; the third is not cleaned."""
    for task, days in {"aaaaaaaa": 40, "bbbbbbbb": 20, "cccccccc": 10, "dddddddd": 0}.items():
        then = time.time() - days * DAY_S
        cleaned = () if task == "cccccccc" else (TaskCleaned(then),)
        path = write_task(task, started_here(task, "/", time=then), *cleaned)
        os.utime(path, (then, then))


def left():
    return [record.task[0] for record in TaskStore.default().tasks()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "bcd"),
        (("--older-than", "15d"), "cd"),
        (("--older-than", "10m"), "cd"),
        (("--keep", "3"), "bcd"),
        (("--keep", "0"), "c"),
        (("--keep", "4"), "abcd"),
        (("--keep", "1", "--older-than", "30d"), "bcd"),
    ],
)
def test_clean_takes_old_and_cleaned_tasks_only(tasks, words, expected):
    would = run("clean", "--dry-run", *words)
    assert left() == list("abcd")
    result = run("clean", *words)
    gone = 4 - len(expected)
    assert (result.status, result.out) == (0, "")
    assert result.err.startswith(f"womm: {gone} journal{'s' * (gone != 1)} deleted, ")
    assert result.err.endswith(f"; {len(expected)} kept\n")
    assert left() == list(expected)
    assert [line[0] for line in would.out.split()] == sorted(set("abcd") - set(expected))


def test_clean_spares_a_task_that_is_written(womm_home):
    with TaskStore.default().create("aaaaaaaa", on_failure=print) as journal:
        journal.append(started_here("aaaaaaaa", "/", time=1.0))
        journal.append(TaskCleaned(1.0))
        run("clean", "--keep", "0")
        assert left() == ["a"]
    run("clean", "--keep", "0")
    assert left() == []


def test_clean_removes_what_a_crash_left(womm_home):
    store = TaskStore.default()
    for name, age_s in ((".new-aaaaaaaa-1", 2 * 3600), (".new-bbbbbbbb-2", 0)):
        path = store.root / name
        path.mkdir(parents=True)
        os.utime(path, (time.time() - age_s,) * 2)
    run("clean")
    assert [path.name for path in store.unfinished()] == [".new-bbbbbbbb-2"]


def test_clean_without_tasks_says_so(womm_home):
    result = run("clean")
    assert (result.status, result.err) == (0, "womm: 0 journals deleted, 0 bytes; 0 kept\n")


@pytest.mark.parametrize("words", [("--older-than", "soon"), ("--keep", "-1"), ("extra",)])
def test_clean_bad_words_are_usage_errors(womm_home, words):
    assert run("clean", *words).status == 2

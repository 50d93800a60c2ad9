"""The state folder: locks, torn and garbage lines, full disks, names of tasks."""

import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.journal.samples import ALL, JOB_ENDED, STARTED, TASK, Complaints, create, journal_of
from womm.errors import JournalError
from womm.journal.codec import decode, encode
from womm.journal.events import JobEnded, JobStarted, Note, TaskCleaned
from womm.journal.store import JournalReader, TaskStore


@pytest.fixture
def store(tmp_path):
    return TaskStore(tmp_path / "state" / "tasks")


def test_append_events_are_read_back_in_order(store):
    journal_of(store, *ALL)
    assert list(store.read(TASK)) == list(ALL)


def test_append_is_visible_at_once(store):
    with create(store) as journal, JournalReader(store.resolve(TASK)) as reader:
        for number in range(3):
            journal.append(Note(float(number), "x"))
            assert list(reader.read()) == [Note(float(number), "x")]
        assert list(reader.read()) == []


def test_create_files_are_private(store):
    path = journal_of(store, STARTED)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_create_an_id_in_use_is_refused_and_harms_nothing(store):
    path = journal_of(store, STARTED)
    with pytest.raises(JournalError, match=TASK):
        create(store)
    assert list(store.read(TASK)) == [STARTED]
    assert [entry.name for entry in store.root.iterdir()] == [TASK]
    assert path.exists()


def test_create_where_a_file_is_gives_one_sentence(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(JournalError, match=r"cannot make the journal .*Not a directory") as caught:
        create(TaskStore(tmp_path / "state" / "tasks"))
    assert caught.value.hint == "womm doctor"


@pytest.mark.parametrize("name", ["", "../other", "a/b"])
def test_resolve_odd_names_find_nothing(store, name):
    journal_of(store, STARTED)
    with pytest.raises(JournalError, match="no task has the id"):
        store.resolve(name)


def test_resolve_ids_prefixes_and_last(store):
    for number, task in enumerate(["abcdefgh", "abcxxxxx", "zzzzzzzz", "abc"]):
        # The newest is the first by name, and not the one whose file is the newest.
        journal_of(store, replace(STARTED, task=task, time=100.0 - number), task=task)
    assert store.resolve("abcd").task == "abcdefgh"
    assert store.resolve("z").task == "zzzzzzzz"
    assert store.resolve("abc").task == "abc"  # whole ids first
    assert store.resolve("last").task == "abcdefgh"
    assert [record.task for record in store.tasks()] == ["abc", "zzzzzzzz", "abcxxxxx", "abcdefgh"]
    with pytest.raises(JournalError, match="3 tasks have an id that begins with 'ab': abc, abcdefgh"):
        store.resolve("ab")


def test_resolve_last_without_tasks_says_so(store):
    assert store.tasks() == []
    with pytest.raises(JournalError, match="there is no task yet"):
        store.resolve("last")


def test_tasks_one_unreadable_does_not_hide_the_others(store, caplog):
    journal_of(store, STARTED)
    bad = store.root / "unreadab"
    (bad / "journal.jsonl").mkdir(parents=True)  # root may read any file
    (store.root / "stray file").write_text("")
    (store.root / "no journal").mkdir()
    with caplog.at_level(logging.WARNING):
        assert [record.task for record in store.tasks()] == [TASK]
    assert "unreadab" in caplog.text


def test_tasks_an_unlistable_folder_is_one_sentence(tmp_path):
    (tmp_path / "tasks").write_text("")
    with pytest.raises(JournalError, match="cannot list the tasks"):
        TaskStore(tmp_path / "tasks").tasks()


def test_locked_while_open_only(store):
    journal = create(store)
    journal.append(STARTED)
    record = store.resolve(TASK)
    assert record.locked()
    with pytest.raises(JournalError, match="still owned"):
        store.reopen(TASK, on_failure=Complaints())
    journal.close()
    journal.close()
    assert not record.locked()
    with store.reopen(TASK, on_failure=Complaints()) as again:
        assert record.locked()
        again.append(TaskCleaned(9.0))
    assert record.cleaned()
    assert list(record.events()) == [STARTED, TaskCleaned(9.0)]


def test_locked_ends_with_the_process_not_with_its_children(store):
    script = (
        "import subprocess, sys, time\n"
        "from pathlib import Path\n"
        "from womm.journal.store import TaskStore\n"
        "journal = TaskStore(Path(sys.argv[1])).create('abcdefgh', on_failure=print)\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(store.root)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        record = store.resolve("abcdefgh")
        try:
            assert record.locked()
            process.kill()
            process.wait()
            assert not record.locked()
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("junk", [b"\0" * 100, b'{"event":"note"', b"\xff\xfe", b"{}", b"[]"])
def test_reopen_after_a_torn_line_begins_a_new_one(store, junk):
    path = journal_of(store, STARTED)
    with open(path, "ab") as file:
        file.write(junk)
    with store.reopen(TASK, on_failure=Complaints()) as journal:
        journal.append(TaskCleaned(9.0))
    assert list(store.read(TASK)) == [STARTED, TaskCleaned(9.0)]
    assert store.resolve(TASK).cleaned()


def test_read_garbage_in_the_middle_is_skipped(store):
    path = journal_of(store, STARTED)
    with open(path, "ab") as file:
        file.write(b"garbage\n\n" + b"x" * (1 << 19) + b"\n" + encode(JOB_ENDED)[:-1])
    assert list(store.read(TASK)) == [STARTED, JOB_ENDED]  # whole, but for its newline


def test_read_without_jobs_leaves_only_them_out(store):
    journal_of(store, *ALL)
    kept = [event for event in ALL if not event.KIND.startswith("job_")]
    assert list(store.resolve(TASK).events(jobs=False)) == kept


def test_read_a_journal_cut_anywhere_loses_only_the_torn_record(store):
    """The cut is at each of its last 4,096 bytes."""
    jobs = [replace(JOB_ENDED, job=number) for number in range(30)]
    path = journal_of(store, STARTED, *jobs)
    whole = path.read_bytes()
    assert len(whole) > 4096 + 700
    record = store.resolve(TASK)
    for size in range(len(whole), len(whole) - 4097, -1):
        os.truncate(path, size)
        data = whole[:size]
        lines = data.split(b"\n")
        # The last piece is torn, or whole without its newline.
        expected = [event for event in map(decode, lines) if event is not None]
        found = list(record.events())
        assert found == expected
        assert len(found) >= data.count(b"\n")


def test_append_healed_after_a_cut_anywhere_is_read(store):
    path = journal_of(store, STARTED, Note(1.0, "torn"))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for size in range(first, len(whole)):
        path.write_bytes(whole[:size])
        with store.reopen(TASK, on_failure=Complaints()) as journal:
            journal.append(TaskCleaned(9.0))
        found = list(store.read(TASK))
        assert found[0] == STARTED
        assert found[-1] == TaskCleaned(9.0)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from womm.journal.events import Note, TaskCleaned
from womm.journal.store import TaskStore
from tests.journal.samples import STARTED, TASK
told = []
journal = TaskStore(Path(sys.argv[1])).create(TASK, on_failure=told.append)
journal.append(STARTED)
size = journal.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 120, resource.RLIM_INFINITY))
assert journal.output.put(b"x" * 100).size == 100
journal.append(Note(1.0, "y" * 40))
for number in range(5):
    journal.append(Note(2.0, "z" * 500))
assert journal.output.put(b"x" * 100).cut
assert len(told) == 1, told
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append(TaskCleaned(3.0))
journal.close()
print(told[0])
"""


def test_append_on_a_full_disk_goes_on_and_is_told_once(store):
    """A limit of the file's size tears a line as a full disk does."""
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(store.root)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "cannot write the journal" in result.stdout
    assert "File too large" in result.stdout
    raw = (store.root / TASK / "journal.jsonl").read_bytes()
    assert b"zz\n" in raw  # the torn line was ended
    assert list(store.read(TASK)) == [STARTED, Note(1.0, "y" * 40), TaskCleaned(3.0)]


def test_close_in_the_moment_of_a_sync_ends(tmp_path):
    """The flag that wakes the syncing thread is cleared by the sync itself."""
    script = """
import faulthandler, sys, time
from pathlib import Path
from womm.journal.events import TaskCleaned
from womm.journal.store import SYNC_INTERVAL_S, TaskStore

faulthandler.dump_traceback_later(60, exit=True)
sys.setswitchinterval(1e-6)
for number in range(40):
    store = TaskStore(Path(sys.argv[1], str(number)))
    journals = [store.create("abcdefg" + letter, on_failure=print) for letter in "abcdefgh"]
    began = time.monotonic()
    for journal in journals:
        journal.append(TaskCleaned(1.0))
    for index, journal in enumerate(journals):
        while time.monotonic() - began < SYNC_INTERVAL_S - 2e-4 + 6e-5 * index:
            pass
        journal.close()
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=Path(__file__).parents[2])


def test_append_after_close_raises_nothing(store, caplog):
    journal = create(store)
    journal.close()
    journal.append(STARTED)
    journal.sync()
    assert "is closed" in caplog.text


def test_append_from_threads_tears_no_line(store):
    import threading

    with create(store) as journal:

        def write(number):
            for index in range(200):
                journal.append(Note(float(index), str(number) * 300))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(list(store.read(TASK))) == 800


def test_kill_9_of_the_writer_loses_nothing_it_wrote(store):
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from womm.journal.events import Note\n"
        "from womm.journal.store import TaskStore\n"
        "journal = TaskStore(Path(sys.argv[1])).create('abcdefgh', on_failure=print)\n"
        "for number in range(1000): journal.append(Note(1.0, str(number)))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    result = subprocess.run([sys.executable, "-c", script, str(store.root)], check=False)
    assert result.returncode == -signal.SIGKILL
    events = list(store.read("abcdefgh"))
    assert [event.text for event in events if isinstance(event, Note)] == [
        str(number) for number in range(1000)
    ]


def test_remove_takes_all_of_a_task(store):
    path = journal_of(store, STARTED)
    assert store.resolve(TASK).size_bytes() > 0
    store.remove(TASK)
    assert not path.parent.exists()
    with pytest.raises(JournalError, match="cannot remove"):
        store.remove(TASK)


def test_default_follows_the_state_home(womm_home):
    assert TaskStore.default().root == womm_home.state / "womm" / "tasks"


def test_default_without_home_uses_the_password_database(womm_home, monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert TaskStore.default().root.is_absolute()


def test_unfinished_folders_are_no_tasks(store):
    journal_of(store, STARTED)
    debris = store.root / ".new-abcdefgh-1"
    debris.mkdir()
    assert [record.task for record in store.tasks()] == [TASK]
    assert store.unfinished() == [debris]


@pytest.mark.slow
def test_read_100_000_jobs_takes_seconds_and_status_a_tenth(store):
    import time

    from womm.journal.fold import fold

    path = journal_of(store, STARTED)
    with open(path, "ab") as file:
        for number in range(100_000):
            started = JobStarted(1.0, number, number, 1, "pod-0", 1, "wc -l ./file.txt")
            file.write(encode(started) + encode(replace(JOB_ENDED, job=number, seq=number)))
    record = store.resolve(TASK)
    begin = time.process_time()
    state = fold(record.events())
    whole_s = time.process_time() - begin
    begin = time.process_time()
    fold(record.events(jobs=False))
    without_s = time.process_time() - begin
    assert len(state.jobs) == 100_000
    assert all(isinstance(job.ended, JobEnded) for job in state.jobs.values())
    assert whole_s < 10  # 1.5 to 2 s on a quiet machine
    assert without_s < whole_s / 5

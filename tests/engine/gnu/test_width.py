"""The files that tell GNU parallel how many jobs it may run."""

import os

from womm.engine.gnu.width import (
    SLOTS_PER_LOGIN,
    WAITING_LOGIN,
    ChangingFile,
    files_needed,
    login_lines,
    most_jobs,
    width_text,
)


def test_width_is_never_zero_which_would_be_without_limit():
    assert [width_text(slots, None) for slots in (0, 1, 7)] == ["1\n", "1\n", "7\n"]


def test_width_is_at_most_the_limit():
    assert [width_text(slots, 3) for slots in (0, 2, 7)] == ["1\n", "2\n", "3\n"]


def test_logins_none_is_one_that_waits():
    assert login_lines([]) == (f"1/{WAITING_LOGIN}\n", {})


def test_logins_of_a_wide_pod_are_several():
    text, pods = login_lines([("a", 2), ("b", SLOTS_PER_LOGIN + 1)])
    assert text == f"2/a\n{SLOTS_PER_LOGIN}/b\n1/b.1\n"
    assert pods == {"a": "a", "b": "b", "b.1": "b"}


def test_file_changes_its_time_by_a_step_and_only_with_its_text(tmp_path):
    file = ChangingFile(tmp_path / "width", step_s=2)
    file.write("1\n", 100.0)
    file.write("1\n", 200.0)
    assert os.stat(file.path).st_mtime == 100
    file.write("2\n", 100.5)
    assert (file.path.read_text(), os.stat(file.path).st_mtime) == ("2\n", 102)
    assert os.listdir(tmp_path) == ["width"]


def test_jobs_that_fit_and_the_files_that_they_need_agree():
    assert [most_jobs(files_needed(jobs)) for jobs in (1, 4, 5000)] == [1, 4, 5000]
    assert most_jobs(files_needed(5000) - 1) == 4999
    assert most_jobs(20) == 1

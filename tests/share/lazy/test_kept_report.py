"""Files that both sides have changed are named at once, in the journal, and at a task's end."""

from womm.journal.events import ShareKept
from womm.share.lazy.kept_report import KEPT, KeptReport


class Heard:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.noted: list[ShareKept] = []
        self.report = KeptReport(self.said.append, self.noted.append)


def test_task_in_which_nothing_was_kept_says_nothing() -> None:
    heard = Heard()
    assert heard.report.end() == ""
    assert (heard.said, heard.noted) == ([], [])


def test_one_file_is_named_once_and_fails_the_task() -> None:
    heard = Heard()
    heard.report.add("a\x1b", "a\x1b.womm-t1")
    line = "changed here while jobs wrote to it, both are kept: a\\x1b (yours is a\\x1b.womm-t1)"
    assert heard.said == [line]
    assert heard.report.end() == "1 file changed on both sides"
    assert heard.said == [line]
    (event,) = heard.noted
    assert (event.names, event.copies, event.count) == (("a\x1b",), ("a\x1b.womm-t1",), 1)


def test_files_are_named_together_at_the_end_each_with_its_last_copy() -> None:
    heard = Heard()
    for path, copy in (("a", "a.womm-t1"), ("b", "b.womm-t1"), ("a", "a.womm-t1.2")):
        heard.report.add(path, copy)
    assert len(heard.said) == 3
    assert heard.report.end() == "2 files changed on both sides"
    assert heard.said[3:] == [
        "changed here while jobs wrote to it, both are kept: a (yours is a.womm-t1.2), b (yours is b.womm-t1)"
    ]


def test_of_many_files_ten_are_named_to_the_user_and_the_last_hundred_to_the_journal() -> None:
    heard = Heard()
    for number in range(KEPT + 5):
        heard.report.add(f"f{number}", f"f{number}.womm-t1")
    last = heard.noted[-1]
    assert (len(last.names), last.names[0], last.count) == (KEPT, "f5", KEPT + 5)
    assert last.copies == tuple(f"{name}.womm-t1" for name in last.names)
    assert heard.report.end() == f"{KEPT + 5} files changed on both sides"
    assert heard.said[-1].endswith("f9 (yours is f9.womm-t1) and 95 more")

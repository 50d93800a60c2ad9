"""What a copy says of single files, and what it says once only."""

from womm.share.eager.push import PushResult
from womm.share.eager.report import Report
from womm.share.eager.syncback import PullResult


def test_report_of_a_push_names_what_was_left_out() -> None:
    said: list[str] = []
    Report(said.append).pushed(
        PushResult(1, 2, 3, (b"log",), ((b"secret", "Permission denied"),), (b"fifo",))
    )
    assert said == [
        "share: cannot read secret: Permission denied; left out",
        "share: log kept changing while it was read; left out",
        "share: FIFOs, sockets and devices are left out: fifo",
    ]


def test_report_of_a_pull_names_each_file_that_did_not_simply_come() -> None:
    said: list[str] = []
    Report(said.append).brought_back(
        PullResult(
            brought=(b"quiet",),
            conflicts=((b"a", b"a.womm-t1"),),
            refused=((b"b", "Permission denied"),),
            kept_changing=(b"c",),
        )
    )
    assert said == [
        "share: a was changed here and by jobs; theirs is kept as a.womm-t1",
        "share: cannot write b: Permission denied; it is still in the store",
        "share: c kept changing in the store while it was read: not brought back",
    ]


def test_report_says_once_what_is_never_brought_back() -> None:
    said: list[str] = []
    report = Report(said.append)
    report.brought_back(PullResult(own=(b".womm",)))
    report.brought_back(PullResult(own=(b".womm",), outside=(b"x",)))
    report.brought_back(PullResult(own=(b".womm",), outside=(b"x",)))
    assert said == [
        "share: what jobs have made of womm's own files is not brought back: .womm",
        "share: not below a path of share-write, so not brought back: x",
    ]

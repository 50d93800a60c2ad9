"""What a project has learned: kept, merged, forgotten, and of no matter when it is broken."""

import os
import zlib
from pathlib import Path

import pytest

from womm.share import learned
from womm.share.learned import MOST_BLOCKS, TASKS, LearnedFile
from womm.wire.ahead import ABSENT, LISTED, Learned

PERL = Learned(b"usr/bin/perl", 100, 5, (0, 1))
LIB = Learned(b"usr/lib", LISTED, 0)
NONE = Learned(b"etc/ld.so.preload", ABSENT, 0)
ODD = Learned("caf\udce9".encode(errors="surrogateescape"), 1, -5, (0,))


def test_what_was_used_comes_back_in_its_order_for_the_same_project_alone(womm_home):
    LearnedFile.of(Path("/proj"), "programs").save((PERL, LIB, NONE, ODD))
    file = LearnedFile.of(Path("/proj"), "programs")
    assert file.load() == (PERL, LIB, NONE, ODD)
    assert LearnedFile.of(Path("/proj"), "lazy").load() == ()
    assert LearnedFile.of(Path("/other"), "programs").load() == ()
    assert file._path is not None and file._path.stat().st_mode & 0o777 == 0o600


def test_what_later_tasks_do_not_use_is_forgotten_in_time(tmp_path):
    file = LearnedFile(tmp_path / "f")
    file.save((PERL, LIB))
    newer = Learned(b"usr/bin/perl", 200, 6, (0,))
    for number in range(TASKS):
        task = LearnedFile(tmp_path / "f")
        expected = {b"usr/bin/perl", b"usr/lib"} if number < TASKS else {b"usr/bin/perl"}
        assert {item.path for item in task.load()} == expected
        task.save((newer,))
        task.save((newer,))  # a task may save more than once
    assert LearnedFile(tmp_path / "f").load() == (newer,)


@pytest.mark.parametrize(
    "data", [b"", b"x", zlib.compress(b"[9,[]]"), zlib.compress(b"[1,[[1]]]"), zlib.compress(b"{}")]
)
def test_a_broken_file_is_none_and_is_replaced(tmp_path, data):
    (tmp_path / "f").write_bytes(data)
    file = LearnedFile(tmp_path / "f")
    assert file.load() == ()
    file.save((PERL,))
    assert LearnedFile(tmp_path / "f").load() == (PERL,)
    assert os.listdir(tmp_path) == ["f"]


def test_it_is_bounded_and_a_folder_that_cannot_be_written_is_of_no_matter(tmp_path, monkeypatch):
    many = tuple(Learned(b"%d" % number, 1, 1, (0,)) for number in range(MOST_BLOCKS + 5))
    LearnedFile(tmp_path / "f").save(many)
    assert len(LearnedFile(tmp_path / "f").load()) == MOST_BLOCKS
    LearnedFile(tmp_path / "f" / "g").save(many)
    LearnedFile(None).save(many)
    assert LearnedFile(None).load() == ()
    monkeypatch.setattr(learned, "_FILES", 2)
    for name in "abc":
        LearnedFile(tmp_path / name).save((PERL,))
    assert sorted(os.listdir(tmp_path)) == ["b", "c"]

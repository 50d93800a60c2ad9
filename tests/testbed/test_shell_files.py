"""What the shell in the testbed writes down, and how womm reads it. Whole visits are in test_visit."""

import os

import pytest

from womm.testbed import shell_files
from womm.testbed.shell_files import Typed
from womm.testbed.state import State


def record(*rows):
    return b"".join(os.fsencode(field) + b"\0" for row in rows for field in row)


def test_bash_names_a_command_by_the_historys_number():
    rows = [
        ("start", "/p", "bash"),
        ("0", "/p", "    7  of an earlier visit"),
        ("0", "/p", "    7  of an earlier visit"),  # Return alone
        ("2", "/usr", "    8  cd /usr; false"),
        ("0", "/usr", "    9* for i in 1; do\n  x\ndone"),
        ("0", "/usr", "   10  for i in 1; do\n  x\ndone"),  # the same again
        ("start", "/p", "bash"),
        ("0", "/p", ""),
        ("130", "/p", "    1  \xe4\udcff"),
    ]
    assert list(shell_files.typed(record(*rows))) == [
        Typed(2, "/p", "cd /usr; false"),
        Typed(0, "/usr", "for i in 1; do\n  x\ndone"),
        Typed(0, "/usr", "for i in 1; do\n  x\ndone"),
        Typed(130, "/p", "\xe4\udcff"),
    ]


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ("", "0 a", "a"),
        ("0 a", "0 a", ""),
        ("0 a\n1 b", "0 a\n1 b\n2 c\n3 d", "c\nd"),
        ("97 a\n98 b\n99 c", "97 b\n98 c\n99 d", "d"),  # a full history moves on
        ("97 a\n98 b\n99 c", "97 d\n98 e\n99 f", "d\ne\nf"),
        ("0 a", "", ""),
    ],
)
def test_sh_names_a_command_by_the_lines_that_are_new(before, now, new):
    rows = [("start", "/", "sh"), ("0", "/", before), ("0", "/", now)]
    assert [one.text for one in shell_files.typed(record(*rows))] == ([new] if new else [])


def test_record_that_was_cut_gives_what_is_whole():
    whole = record(("start", "/", "bash"), ("0", "/", ""), ("0", "/", "    1  a"))
    for end in range(len(whole)):
        assert list(shell_files.typed(whole[:end])) == []
    assert list(shell_files.typed(b"1\0/\0x\0" + whole)) == [Typed(0, "/", "a")]


def test_files_that_are_links_or_pipes_are_not_read(womm_home, tmp_path):
    state = State.of(tmp_path)
    (tmp_path / "secret").write_text("SECRET=1\0")
    (state.shared / "environ").symlink_to(tmp_path / "secret")
    os.mkfifo(state.shared / "typed")
    found = shell_files.read(state)
    assert (found.variables, found.commands) == ({}, ())

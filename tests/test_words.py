"""Whatever a name holds, what is printed of it is one short line that a terminal survives."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm import words

HOSTILE = (
    b"\x1b]0;title\x07",  # an escape sequence
    b"\x1b[2Jgone",
    b"two\nlines\r",
    b"\xc2\x9b31m",  # CSI in one character (C1)
    b"\xff\xfe",  # no UTF-8
    "\u202etxt.exe".encode(),  # turns the direction
    "\u2066\u200b\ufeff".encode(),
    "\u2028\u2029".encode(),
)


@given(st.text(), st.integers(10, 300))
def test_name_any_text_is_one_harmless_short_line(text, width):
    assert words.printable(text).isprintable()
    assert words.line(text).isprintable()
    assert len(words.name(text, width)) <= width


@given(st.binary())
def test_name_any_bytes_is_one_harmless_line(name):
    assert words.name(name).isprintable()


@pytest.mark.parametrize("name", HOSTILE)
def test_name_hostile_is_shown_escaped(name):
    shown = words.name(name)
    assert shown.isprintable()
    assert "\\" in shown


def test_printable_plain_text_is_unchanged():
    assert words.printable("a b/ä 日本") == "a b/ä 日本"
    assert words.printable("a\n\x1b[31m\udcff\ud800") == r"a\n\x1b[31m\xff\ud800"
    assert words.printable(b"a\xff") == r"a\xff"


def test_name_too_long_loses_its_middle():
    shown = words.name("/first/" + "x" * 5000 + "/last.txt")
    assert len(shown) == words.NAME_WIDTH
    assert shown.startswith("/first/x")
    assert " ... " in shown
    assert shown.endswith("x/last.txt")


def test_shortened_keeps_what_fits():
    assert words.shortened("12345", 5) == "12345"
    assert words.shortened("123456", 5) == "12..."


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (12345, "12,345 files")]
)
def test_counted_has_the_right_plural(number, text):
    assert words.counted(number, "file") == text


def test_counted_takes_another_plural():
    assert words.counted(1, "job runs", "jobs run") == "1 job runs"
    assert words.counted(3, "job runs", "jobs run") == "3 jobs run"


def _raised(*chain: BaseException) -> BaseException:
    """Return the last of these as it is when each was raised from the one before it."""
    for before, exc in itertools.pairwise(chain):
        exc.__cause__ = before
    return chain[-1]


@pytest.mark.parametrize(
    ("exc", "text"),
    [
        (FileNotFoundError(2, "No such file or directory", "/x"), "No such file or directory"),
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 6443)"), "Connection refused"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1)"), "Connection refused"),
        (ValueError(("Aborted.", 1), PermissionError(13, "Permission denied")), "Permission denied"),
        (
            _raised(FileNotFoundError(2, "No such file"), ValueError("('Connection aborted.', ...)")),
            "No such file",
        ),
        (ValueError("its own words"), "its own words"),
        (ValueError(), "ValueError"),
    ],
)
def test_cause_is_in_the_systems_words(exc, text):
    assert words.cause(exc) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_600, "1 MB"),
        (1_234_567_890, "1.23 GB"),
        (5 << 40, "5.5 TB"),
    ],
)
def test_bytes_are_shown_in_the_largest_unit_that_they_fill(count, text):
    assert words.shown_bytes(count) == text

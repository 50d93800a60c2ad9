"""GNU parallel's options as Getopt::Long reads them for womm."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.link.wires import PERL
from womm.engine import gnu
from womm.engine.gnu.options import (
    FIXED_WIDTH,
    LIVE,
    NEEDS_LOGINS,
    ONLY_ELSEWHERE,
    PRINT_ONLY,
    REFUSED,
    REFUSED_ELSEWHERE,
    read_options,
)
from womm.errors import UsageError

READER = Path(gnu.__file__).with_name("options.pl")


@pytest.mark.parametrize(
    ("words", "given", "command", "ended"),
    [
        (["-k", "--", "-x"], ("-k",), ("-x",), True),
        (["--tagstring", "--", "-k", "x"], ("--tagstring", "--", "-k"), ("x",), False),
        (["--tagstring", "--", "--", "x"], ("--tagstring", "--"), ("x",), True),
        (["--tagstring", "--", "x"], ("--tagstring", "--"), ("x",), False),
        (["--", "--", "x"], (), ("--", "x"), True),
        (["--eof", "--", "x"], ("--eof",), ("x",), True),
        (["x", "--", "y"], (), ("x", "--", "y"), False),
        ([], (), (), False),
    ],
)
def test_end_of_options_is_told_from_an_options_value(words, given, command, ended):
    options = read_options(words, PERL)
    assert (options.given, options.command, options.ended) == (given, command, ended)


@pytest.fixture
def user(womm_home, monkeypatch):
    """The user's configuration folder of GNU parallel, which has no option yet."""
    folder = womm_home.home / ".parallel"
    folder.mkdir()
    monkeypatch.delenv("PARALLEL_HOME", raising=False)
    return folder


def names(options):
    return [f"{name}={value}" if value else name for name, value in options.found]


def test_options_come_from_four_places_and_the_arguments_win(user, monkeypatch):
    (user / "config").write_text("--jobs 1 --tag\n")
    (user / "mine").write_text("--jobs 2\n")
    monkeypatch.setenv("PARALLEL", "--jobs 3 -k")
    options = read_options(["-J", "mine", "-j4", "echo", "x"], PERL)
    assert [value for name, value in options.found if name == "jobs"] == ["2", "3", "4"]
    assert options.last("jobs") == "4"
    assert not options.has("tag")  # a profile takes the place of the usual file
    assert options.has("no-such", "keep-order")
    assert not options.has("no-such")
    assert (options.last("no-such"), options.command) == (None, ("echo", "x"))
    usual = read_options(["echo"], PERL)
    assert (usual.last("jobs"), usual.has("tag")) == ("3", True)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["-kj8"], ["keep-order=1", "jobs=8"]),
        (["--max-a", "8"], ["max-args=8"]),
        (["--jobs=8"], ["jobs=8"]),
        (["--jl", "a=b c"], ["joblog=a=b c"]),
        (["-iX"], ["replace=X"]),
    ],
)
def test_options_are_read_as_getopt_long_does(user, words, found):
    options = read_options([*words, "echo"], PERL)
    assert [name for name in found if name not in names(options)] == []
    assert (options.given, options.command) == (tuple(words), ("echo",))


@pytest.mark.parametrize("value", ["\udcff", "a\nb", "o x=y", "\u00e9", "'\"$x"])
def test_values_and_words_are_the_bytes_that_the_user_gave(user, value):
    options = read_options(["--joblog", value, "echo", value], PERL)
    assert options.last("joblog") == value
    assert options.command == ("echo", value)


@pytest.mark.parametrize("words", [["--no-such-option"], ["--jobs"]])
def test_words_that_gnu_parallel_refuses_are_a_usage_error_of_one_line(user, words):
    with pytest.raises(UsageError, match=r"^GNU parallel's options: ") as caught:
        read_options(words, PERL)
    assert "\n" not in caught.value.message
    assert caught.value.hint == "womm parallel -- --help"


def test_profile_that_can_be_read_only_once_is_refused(user, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with (
        subprocess.Popen(["sh", "-c", 'echo --tag >"$0"', tmp_path / "fifo"]),
        pytest.raises(UsageError, match="fifo can be read only once") as caught,
    ):
        read_options(["-J", str(tmp_path / "fifo"), "echo"], PERL)
    assert caught.value.hint == f"cat {tmp_path / 'fifo'} >profile, then --profile ./profile"


def test_users_settings_for_perl_do_not_reach_the_reader(user, tmp_path, monkeypatch):
    (tmp_path / "Getopt").mkdir()
    (tmp_path / "Getopt" / "Long.pm").write_text('die "another module\\n";\n')
    monkeypatch.setenv("PERL5LIB", str(tmp_path))
    monkeypatch.setenv("PERL5OPT", "-MNoSuchModule")
    monkeypatch.chdir(tmp_path)
    assert read_options(["-k", "echo"], PERL).has("keep-order")


def test_something_else_is_done_meanwhile_and_its_error_leaves_no_process(user):
    done = []
    read_options(["echo"], PERL, lambda: done.append(1))
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        read_options(["echo"], PERL, lambda: 1 // 0)


def test_each_option_with_a_meaning_is_one_of_gnu_parallels():
    known = {word.partition("=")[0].partition(":")[0] for word in READER.read_text().split()}
    known = {name for word in known for name in word.split("|")}
    for table in (REFUSED, REFUSED_ELSEWHERE, PRINT_ONLY, NEEDS_LOGINS, LIVE, FIXED_WIDTH, ONLY_ELSEWHERE):
        assert [name for name in table if name not in known] == []
    assert set(REFUSED) >= ONLY_ELSEWHERE

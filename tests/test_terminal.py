"""The terminal of `womm shell`: what reaches the pod's, which shell is in it, and whose the keys are."""

import os
import select
import subprocess
import sys
import time

import pexpect
import pytest

from tests.cli.running import environment
from tests.faults.tasks import WOMM
from tests.trusting import accept
from womm import terminal


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"LANG": "de_DE.UTF-8"}, "de_DE.utf8"),
        ({"LANG": "C", "LC_CTYPE": "en_US.utf8", "LC_ALL": ""}, "en_US.utf8"),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "ca_ES.UTF-8@valencia"}, "ca_ES.utf8@valencia"),
        ({"LANG": "C.UTF-8"}, "C.utf8"),
        ({"LANG": "de_DE.ISO-8859-1"}, ""),
        ({"LANG": "de_DE.nonsense"}, ""),
        ({"LANG": "../../tmp.UTF-8"}, ""),
        ({"LANG": "C"}, ""),
        ({}, ""),
    ],
)
def test_locale_folder_is_glibcs_name_of_a_utf8_one(env, folder):
    assert terminal.locale_folder(env) == folder


def test_passed_are_the_variables_that_programs_draw_by():
    env = {"TERM": "tmux-256color", "COLORTERM": "", "HOME": "/home/me", "TERM_PROGRAM": "x"}
    assert terminal.passed(env) == {b"TERM": b"tmux-256color"}


def start(run, here, tmp_path, programs=("bash", "sh"), **env):
    """Run what `start_words` gives, with stand-ins that say what they are; return what is printed."""
    for name in programs:
        (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@" LANG=$LANG\n')
        (tmp_path / name).chmod(0o755)
    _, *words = terminal.start_words(here, run)
    done = subprocess.run(
        ["/bin/sh", *words], env={"PATH": str(tmp_path), **env}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_start_for_people_is_bash_where_there_is_one(tmp_path):
    assert start([], {}, tmp_path) == "bash LANG="
    (tmp_path / "bash").unlink()
    assert start([], {}, tmp_path, ["sh"]) == "sh LANG="


def test_start_runs_what_was_asked_for(tmp_path):
    assert start([b"sh", b"-c", b"a  'b'"], {}, tmp_path) == "sh -c a  'b' LANG="


@pytest.mark.skipif(not os.path.isdir("/usr/lib/locale/C.utf8"), reason="glibc's C.utf8 is elsewhere here")
def test_start_sets_a_locale_that_is_there_and_no_other(tmp_path):
    assert start([], {"LANG": "xx_XX.UTF-8"}, tmp_path) == "bash LANG=C.utf8"
    assert start([], {"LANG": "xx_XX.UTF-8"}, tmp_path, LANG="POSIX") == "bash LANG=POSIX"
    assert start([], {"LANG": "de_DE.ISO-8859-1"}, tmp_path) == "bash LANG="


_READER = """
import os, sys, threading
from womm.terminal import Input, raw
room = threading.Event()
room.set()
def feed(data):
    os.write(1, b"got " + data.strip() + b"\\n")
    room.set()
with raw():
    reader = Input(feed, print, room)
    reader.start()
    os.write(1, b"reads\\n")
    while sys.argv[1:] != ["at once"] and not os.path.exists("stop"):
        threading.Event().wait(0.01)
    reader.stop()
os.write(1, b"stopped\\n")
while not os.path.exists("typed"):
    threading.Event().wait(0.01)
reader.join(10)
assert not reader.is_alive()
"""


def test_input_that_is_stopped_leaves_the_keys_to_who_comes_next(tmp_path):
    """As a shell whose program has ended."""
    line = f'{sys.executable} -c "$READER"; read line; echo "left: $line"'
    child = pexpect.spawn(
        "/bin/sh", ["-c", line], cwd=str(tmp_path), env=environment(READER=_READER), timeout=60, echo=False
    )
    child.expect_exact("reads")
    child.send("one\r")
    child.expect_exact("got one")
    (tmp_path / "stop").touch()
    child.expect_exact("stopped")
    child.send("two\r")
    deadline = time.monotonic() + 10
    while not select.select([], [child.child_fd], [], 0)[1] and time.monotonic() < deadline:
        time.sleep(0.01)
    (tmp_path / "typed").touch()
    child.expect_exact("left: two")
    child.expect(pexpect.EOF)
    child.close()


def in_a_shell(folder, **env):
    child = pexpect.spawn(
        WOMM[0],
        [*WOMM[1:], "shell"],
        cwd=str(folder),
        env=environment(TERM="xterm-256color", COLORTERM="truecolor", PS1="> ", **env),
        timeout=60,
        encoding="utf-8",
    )
    return child


@pytest.mark.slow
def test_shell_without_a_project_says_that_it_is_on_this_machine(womm_home, tmp_path):
    child = in_a_shell(tmp_path, SHELL="/bin/bash")
    child.expect(r"womm: task \w+ created: 1 worker process on this machine \(no .womm here:")
    child.sendline('echo "$TERM $COLORTERM"; exit 3')
    child.expect_exact("xterm-256color truecolor")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 3


@pytest.mark.slow
def test_shell_takes_what_was_typed_before_it_began(womm_home, tmp_path):
    child = in_a_shell(tmp_path)
    child.sendline("echo ty''ped; exit")
    child.expect_exact("typed\r\n")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


@pytest.mark.slow
@pytest.mark.parametrize("words", [("echo here",), ("echo", "here")])
def test_shell_for_scripts_says_it_only_where_no_project_does(womm_home, tmp_path, words):
    def run(*options):
        done = subprocess.run(
            [*WOMM, *options, "shell", "--", *words],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout == "here\n"
        return done.stderr

    assert "1 worker process on this machine (no .womm here: the built-in local cluster)\n" in run()
    assert run("-q") == ""
    (tmp_path / ".womm").write_text('version = 1\ncluster = "local"\n')
    accept(tmp_path)
    assert run() == ""

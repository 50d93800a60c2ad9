"""Descriptors of the caller: GNU parallel and the workers of this machine have them, and none of womm's."""

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.cli.running import environment
from tests.interop.plain import PLAIN

pytestmark = pytest.mark.slow

WOMM = (sys.executable, "-m", "womm", "-q", "parallel", "--kube-pods", "2", "--")


@dataclass(frozen=True, slots=True)
class Done:
    status: int
    out: str
    err: str


def script(folder, parallel, text, stdin=""):
    """Run a script of bash in which `parallel` is one of the two."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["bash", "-c", f'parallel() {{ {shlex.join(parallel)} "$@"; }}\n{text}'],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment(),
        timeout=120,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "text",
    [
        "parallel -k echo :::: <(seq 2)",
        "parallel -k echo :::: <(seq 2) <(seq 3)",
        "exec 5< <(seq 4); parallel -k -a /dev/fd/5 echo",
        "exec 5< <(seq 4); parallel -k -a /proc/self/fd/5 echo",
        "exec 12< <(seq 4); parallel -k echo :::: /dev/fd/12",
        "parallel -k --pipe -N2 'cat; echo' < <(seq 4)",
        "exec 3>&1; parallel -j1 'echo {} >&3' ::: a b",
        "exec 3>&1; parallel -j1 --pipe -N1 'cat >&3' < <(seq 3)",
        "exec 9>lock; parallel -k 'flock 9 && echo {}' ::: a b",
        "exec 4<>file; parallel -j1 'echo {} >&4' ::: a b; cat file",
        "parallel -k --joblog >(cut -f1,7,9 >log; mv log done) echo ::: a b;"
        " until [ -e done ]; do sleep 0.05; done; cat done",
        "parallel -k -J <(echo --tag) echo ::: a b",
        "parallel -J <(printf '%s\\n' '# a comment' '-k --tag' '--colsep ,') echo {2} ::: a,b c,d",
        "parallel -J /dev/fd/5 --version 5< <(echo --tag) | head -n 1",
        # A reader has its end when all is over, and not before.
        "exec 7> >(cat >seen; echo end >>seen; mv seen end); parallel -j1 'echo {} >&7' ::: a b; exec 7>&-;"
        " until [ -e end ]; do sleep 0.05; done; cat end",
    ],
)
def test_descriptors_of_the_caller_are_as_with_plain_gnu_parallel(womm_home, tmp_path, text):
    expected = script(tmp_path / "plain", PLAIN, text)
    assert script(tmp_path / "womm", WOMM, text) == expected
    assert expected.status == 0
    assert expected.out


def test_jobs_have_the_callers_descriptors_and_none_of_womms(womm_home, tmp_path):
    """Also in a worker that was started anew while others' output was held."""
    kill = "[ {#} != 2 ] || [ -e killed ] || { touch killed; kill -9 $PPID; }"
    text = f"exec 5</dev/zero 11>/dev/null 30<>file; parallel -j1 '{kill}; ls /proc/$$/fd; : {{}}' ::: a b c"
    done = script(tmp_path / "womm", WOMM, text)
    assert done.status == 0, done.err
    assert (tmp_path / "womm" / "killed").exists()
    names = sorted({"0", "1", "2", "5", "11", "30"})
    assert [sorted(done.out.split()[part : part + 6]) for part in (0, 6, 12)] == [names] * 3


def test_gnu_parallel_has_no_descriptor_of_womms(womm_home, tmp_path):
    jobs = "for fd in /proc/$PARALLEL_PID/fd/*; do readlink $fd; done; : {}"
    text = f"exec 5</dev/zero; parallel -j2 '{jobs}' ::: a b"
    done = script(tmp_path / "womm", WOMM, text)
    assert done.status == 0
    opened = done.out.splitlines()
    assert opened.count("/dev/zero") == 2
    # And the one end of the socket on which it hands its jobs over.
    assert len({path for path in opened if path.startswith("socket:")}) == 1
    for path in opened:
        own = ("/dev/", "pipe:", "/tmp/par", "/tmp/fif", "socket:")
        assert path.startswith(own) or path.endswith("/parallel"), path


def test_command_in_womm_shell_has_the_callers_descriptors(womm_home, tmp_path):
    done = subprocess.run(
        ["bash", "-c", 'exec 3>&1; "$@"', "bash", sys.executable, "-m", "womm", "shell", "echo hi >&3"],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "hi\n"), done.stderr


def test_profile_of_a_fifo_is_refused_since_it_could_not_be_read_twice(womm_home, tmp_path):
    done = script(tmp_path / "w", WOMM, "mkfifo f; echo --tag >f & parallel -J ./f echo ::: a")
    assert done.status == 2
    assert "can be read only once" in done.err
    assert os.listdir(womm_home.runtime) == []

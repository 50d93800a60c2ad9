"""Workers as GNU parallel's logins: for --onall and the like, and with `womm parallel --logins`."""

import re

import pytest

from tests.interop.plain import JOBLOG, Pair, same

pytestmark = pytest.mark.slow

POD = re.compile(r"[a-z]{8}-\d+")


@pytest.mark.parametrize(
    "line",
    [
        "-k echo ::: a 'b c' \"it's\" '$HOME'",
        "-k --tag 'echo {}; echo e{} >&2; exit {#}' ::: a b",
        "-k --pipe -N 20 wc -l",
        "-k --pipe --block 100 cat",
        "-k --results out 'echo {}' ::: a b",
        "-k --compress echo ::: a",
        "-k --line-buffer 'echo {}; echo {}' ::: a",
        "-k --retries 3 'echo {} >>tries; [ $(wc -l <tries) = 3 ]' ::: a",
        "-k --halt now,fail=1 'exit {}' ::: 0 7 0",
        "-k --wd sub 'pwd; cat inner; :' ::: a",
        "-k --env FOO 'echo \"$FOO\"; :' ::: a",
        "-k --dry-run echo ::: a",
        "-k -0 printf [%s] {} ::: 'a\nb'",
        "-k ::: 'exit 1' 'exit 100' 'exit 101' 'exit 137' 'exit 255'",
    ],
)
def test_output_through_logins_is_as_plain(pair: Pair, line: str) -> None:
    numbers = b"".join(b"%d\n" % number for number in range(50))
    pair.files = {"sub/inner": b"inner\n"}
    pair.env = {"FOO": "bar 'baz'\nqux"}
    expected, got = pair.both(line, 1, numbers, ["--logins"])
    assert (got.stdout, got.stderr, got.status) == (
        expected.stdout,
        expected.stderr,
        expected.status,
    )
    assert got.tree == expected.tree
    assert [(log.seq, log.exitval, log.signal) for log in got.joblog] == [
        (log.seq, log.exitval, log.signal) for log in expected.joblog
    ]


def test_host_in_the_joblog_names_the_pod(pair: Pair) -> None:
    pair.fill()
    script = "echo $WOMM_POD; touch here.{}; until [ $(ls here.* | wc -l) = 3 ]; do sleep 0.05; done"
    ran = pair.womm(["-k", "--joblog", JOBLOG, script, ":::", *"abc"], 3, None, ["--logins"])
    hosts = [log.host for log in ran.joblog]
    assert ran.stdout.decode().split() == hosts
    assert len(set(hosts)) == 3
    assert all(POD.fullmatch(host) for host in hosts)


def test_signal_of_a_job_is_logged_as_a_status(pair: Pair) -> None:
    """As through every sshlogin of GNU parallel's: 128 and the signal."""
    pair.fill()
    ran = pair.womm(["--joblog", JOBLOG, "-k", ":::", "kill -9 $$", "exit 3"], 1, None, ["--logins"])
    assert [(log.exitval, log.signal) for log in ran.joblog] == [(137, 0), (3, 0)]
    assert ran.status == 2


def test_procs_per_pod_are_slots_of_a_login(pair: Pair) -> None:
    """More than nine are several logins, and still the same pod."""
    pair.fill()
    script = "touch here.{}; until [ $(ls here.* | wc -l) = 12 ]; do sleep 0.05; done; echo $WOMM_POD"
    jobs = [str(number) for number in range(12)]
    ran = pair.womm([script, ":::", *jobs], 1, None, ["--logins", "--procs-per-pod", "12"])
    assert len(ran.stdout.split()) == 12
    assert len(set(ran.stdout.split())) == 1


def test_onall_runs_every_argument_on_every_pod(pair: Pair) -> None:
    pair.fill()
    ran = pair.womm("--onall --tag 'echo $WOMM_POD {}' ::: a b", 3)
    lines = sorted(line.split() for line in ran.stdout.splitlines())
    assert len(lines) == 6
    # The tag names the login, as the joblog does.
    assert all(line[-2] in line[0] for line in lines)
    assert {(line[-2], line[-1]) for line in lines} == {
        (pod, argument) for pod in {line[-2] for line in lines} for argument in (b"a", b"b")
    }
    assert ran.status == 0


def test_nonall_runs_the_command_on_every_pod(pair: Pair) -> None:
    pair.fill()
    ran = pair.womm("--nonall 'echo $WOMM_POD; exit 3'", 3)
    assert len(set(ran.stdout.split())) == 3
    assert ran.status == 3


def test_files_are_where_transfer_and_return_want_them(pair: Pair) -> None:
    """In one and the same folder there is nothing to copy, and nothing may be lost."""
    pair.files = {"in/a": b"A\n", "in/b": b"B\n", "base": b"base\n"}
    pair.fill()
    line = "-k --transferfile {} --return {}.out --basefile base 'cat base {} | tee {}.out' ::: in/a in/b"
    ran = pair.womm(line, 2)
    assert ran.stdout == b"base\nA\nbase\nB\n"
    assert ran.status == 0
    assert {name: ran.tree[name] for name in ("in/a", "in/b", "in/a.out", "base")} == {
        "in/a": b"A\n",
        "in/b": b"B\n",
        "in/a.out": b"base\nA\n",
        "base": b"base\n",
    }


def test_transferred_files_in_another_folder_are_returned(pair: Pair) -> None:
    pair.files = {"in/a": b"A\n", "in/b": b"B\n", "base": b"base\n"}
    pair.fill()
    other = pair.folder.parent / "other"
    other.mkdir()
    words = ["-k", "--wd", str(other), "--transferfile", "{}", "--return", "{}.out"]
    script = "cat base {} >{}.out; pwd"
    ran = pair.womm([*words, "--basefile", "base", script, ":::", "in/a", "in/b"], 2)
    assert ran.stdout.decode().split() == [str(other)] * 2
    assert ran.status == 0
    made = {"in": None, "in/a.out": b"base\nA\n", "in/b.out": b"base\nB\n"}
    assert ran.tree == {**pair.files, **made}


def test_same_words_in_both_modes_print_the_same(pair: Pair) -> None:
    line = "-k 'echo {} $PARALLEL_SEQ; umask; :' ::: a b c"
    pair.fill()
    direct = pair.womm(line)
    pair.fill()
    through_logins = pair.womm(line, 1, None, ["--logins"])
    same(direct, through_logins)

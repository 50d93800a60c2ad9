"""How jobs end and what it makes of the run: exit statuses, signals, --halt, --retries, --timeout."""

import signal

import pytest

from tests.interop.plain import PLAIN, WOMM, Pair, same, same_but_order

pytestmark = pytest.mark.slow


def test_ends_of_jobs_are_logged_as_plain_logs_them(pair: Pair) -> None:
    ends = ["exit 0", "exit 1", "exit 100", "exit 101", "exit 137", "exit 255"]
    ends += ["kill -9 $$", "kill -15 $$"]
    expected, got = pair.both(["-k", ":::", *ends])
    same(expected, got)
    logged = [(log.exitval, log.signal) for log in got.joblog]
    assert logged == [(0, 0), (1, 0), (100, 0), (101, 0), (137, 0), (255, 0), (0, 9), (0, 15)]
    assert got.status == 7


def test_signal_that_ends_a_job_is_as_plain(pair: Pair) -> None:
    """All but ALRM, which plain GNU parallel leaves ignored in its jobs, and those that stop."""
    numbers = sorted({*range(1, 65)} - {14, 17, 18, 19, 20, 21, 22, 23, 28, 32, 33})
    expected, got = pair.both(["-k", "kill -{} $$", ":::", *map(str, numbers)], 2)
    same(expected, got)
    assert (got.joblog[7].signal, got.joblog[8].signal) == (8, 9)


@pytest.mark.parametrize(("failing", "status"), [(0, 0), (3, 3), (100, 100), (150, 101)])
def test_run_exits_with_the_number_of_failed_jobs(pair: Pair, failing: int, status: int) -> None:
    stdin = b"1\n" * failing + b"0\n" * 2
    expected, got = pair.both("exit", 4, stdin)
    same_but_order(expected, got)
    assert got.status == status


@pytest.mark.parametrize("status", [7, 101, 254, 255])
def test_halt_now_exits_with_the_status_of_the_job(pair: Pair, status: int) -> None:
    expected, got = pair.both(f"-k --halt now,fail=1 'echo {{}}; exit {{}}' ::: 0 {status} 0")
    same(expected, got)
    assert got.status == status
    assert len(got.joblog) == 2


HALT = [
    "soon,fail=1",
    "soon,fail=2",
    "now,fail=2",
    "now,success=1",
    "soon,success=2",
    "now,done=3",
    "soon,done=1",
    "now,fail=30%",
    "soon,fail=50%",
    "soon,success=40%",
    "now,done=50%",
    "never",
    "2",
    "-1",
    "-2",
    "nonsense",
]


@pytest.mark.parametrize("halt", HALT)
def test_halt_is_as_plain(pair: Pair, halt: str) -> None:
    same(*pair.both(f"-k --halt {halt} 'echo {{}}; exit {{}}' ::: 0 3 0 5 0 0 1 0"))


@pytest.mark.parametrize(
    ("halt", "ends"), [("now,fail=1", "exit 7"), ("now,success=1", "true"), ("2", "exit 7")]
)
def test_halt_now_ends_the_jobs_that_run(pair: Pair, halt: str, ends: str) -> None:
    jobs = [
        "touch up; sleep 60",
        f"until [ -e up ]; do sleep 0.05; done; echo out; {ends}",
        "echo never",
    ]
    expected, got = pair.both(["--halt", halt, ":::", *jobs], 2)
    assert got.status == expected.status == (7 if "exit" in ends else 0)
    assert got.stdout == expected.stdout == b"out\n"
    assert got.stderr == expected.stderr
    assert "up" in got.tree
    assert [log for log in got.joblog if log.seq == 2] == [log for log in expected.joblog if log.seq == 2]


def test_halt_soon_waits_for_the_jobs_that_run(pair: Pair) -> None:
    jobs = [
        "touch up; until [ -e failed ]; do sleep 0.05; done; sleep 1; echo whole",
        "until [ -e up ]; do sleep 0.05; done; touch failed; exit 7",
        "echo never",
    ]
    expected, got = pair.both(["-k", "--halt", "soon,fail=1", ":::", *jobs], 2)
    same(expected, got)
    assert (got.status, got.stdout) == (7, b"whole\n")


TRY = "echo {} >>tries.{}; echo try; [ $(wc -l <tries.{}) -ge {} ]"


@pytest.mark.parametrize("option", ["--retries 3", "--retries 1", "--retries 0", "--retries 3 --tag"])
def test_retries_are_as_plain(pair: Pair, option: str) -> None:
    """Job N succeeds at its Nth try; with --retries 3 the fourth job fails, 0 is without limit."""
    expected, got = pair.both([*f"-k {option}".split(), TRY, ":::", "1", "2", "3", "4"])
    same(expected, got)
    assert got.tree["tries.1"] == b"1\n"


def test_retries_of_a_killed_job_are_as_plain(pair: Pair) -> None:
    line = "-k --retries 2 'echo >>tries; [ $(wc -l <tries) = 2 ] || kill -9 $$; echo {}' ::: a"
    expected, got = pair.both(line)
    same(expected, got)
    assert got.status == 0


@pytest.mark.parametrize("option", ["--timeout 0.03m -u", "--timeout 2 --retries 2"])
def test_timeout_is_as_plain(pair: Pair, option: str) -> None:
    line = f"-k {option} 'echo begun; [ {{}} = 0 ] || exec sleep {{}}; echo ended' ::: 60 0"
    expected, got = pair.both(line)
    same(expected, got)
    assert got.joblog[0].exitval == -1


def test_timeout_in_percent_is_as_plain(pair: Pair) -> None:
    expected, got = pair.both("-k --timeout 1000% 'sleep {}; echo {}' ::: 0.05 0.05 0.05 60")
    assert (got.stdout, got.status) == (expected.stdout, expected.status)
    assert [log.exitval for log in got.joblog] == [log.exitval for log in expected.joblog]


def test_timeout_kills_a_job_that_ignores_term(pair: Pair) -> None:
    script = "trap '' TERM; sleep 60 & wait; wait; sleep 60"
    words = ["-k", "--timeout", "1", "--term-seq", "TERM,100,KILL,25", script, ":::", ""]
    expected, got = pair.both(words)
    assert got.joblog == expected.joblog
    assert (got.stdout, got.stderr, got.status) == (
        expected.stdout,
        expected.stderr,
        expected.status,
    )


def test_memory_of_tries_does_not_mix_streams(pair: Pair) -> None:
    """Only the last try's output is printed, stderr in its place."""
    line = "-k --retries 3 'echo out{}; echo err{} >&2; exit 1' ::: a b"
    same(*pair.both(line))


@pytest.mark.parametrize(
    "line",
    [
        "no-such-command-anywhere {} ::: a",
        "./not-executable ::: a",
        "'echo (' ::: a",
        "cd no-such-folder ::: a",
        "'exit 256; {}' ::: a",
        "-a commands",
        "--colsep ':' --nonsense-option echo ::: a",
        "-j 1 -n 0.5 echo ::: a",
        "--tmpdir no/such/folder echo ::: a",
        "--wd no/such/folder/{} pwd ::: a",
        "--results /dev/null/x echo ::: a",
        "--block 1x --pipe cat",
        "--halt now,fail=x echo ::: a",
        "--retries x echo ::: a",
        "--timeout x echo ::: a",
        "--pipepart cat",
        "--pipepart -a nothing cat",
        "--tee cat ::: a",
        "--filter '1 +' echo ::: a",
        "echo {= s/ =} ::: a",
        "--load x echo ::: a",
        "--rpl x echo ::: a",
        "-X -s 5 echo ::: abcdefghij",
    ],
)
def test_mistake_gives_the_status_of_plain(pair: Pair, line: str) -> None:
    """Who finds the mistake, womm or GNU parallel, may differ: then its status is 2 or 254."""
    pair.files = {"not-executable": b"echo hi\n", "commands": b"false\nno-such-command-x\n"}
    expected, got = pair.both("-k " + line)
    if got.said:
        assert got.status in (2, 254)
        assert expected.status != 0
        assert got.stdout == b""
    else:
        same(expected, got)


def test_output_of_a_full_reader_is_as_plain(pair: Pair) -> None:
    """The reader of stdout goes away early: no traceback, no job left."""
    for program in ([*PLAIN, "-j1"], [*WOMM, "--kube-pods", "1", "--"]):
        pair.fill()
        shell = '"$@" 2>err | head -n 1; echo ${PIPESTATUS[0]} >status'
        words = [*program, "-k", "yes {} | head -n 100000", ":::", "a", "b"]
        ran = pair.run(["bash", "-c", shell, "bash", *words])
        assert ran.stdout == b"a\n"
        assert b"Traceback" not in (ran.tree["err"] or b"")


def test_hangup_lets_running_jobs_finish(pair: Pair) -> None:
    """As plain GNU parallel does after SIGHUP: no new jobs, the running ones end by themselves."""
    line = "-k 'kill -HUP $PARALLEL_PID; sleep 0.3; echo {}' ::: a b"
    expected, got = pair.both(line)
    assert (got.stdout, got.joblog) == (expected.stdout, expected.joblog)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL

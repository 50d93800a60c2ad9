"""-k prints every job, whatever an earlier run has done: plain GNU parallel loses output there."""

import random
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from tests.interop.plain import PLAIN, WOMM
from tests.link.wires import PERL
from tests.soak import count
from womm.engine.gnu.start import start_words

HEADING = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
GUARDED = [*start_words(PERL, Path(PLAIN[-1])), "--will-cite", "-j", "8"]


def logged(path: Path, done: Iterable[int], failed: Iterable[int] = (), command: str = "echo {}") -> None:
    """Write the joblog of an earlier run."""
    lines = dict.fromkeys(done, 0) | dict.fromkeys(failed, 1)
    path.write_text(
        HEADING
        + "".join(
            f"{seq}\t:\t1360490623.067\t     3.445\t0\t0\t{status}\t0\t{command.format(seq)}\n"
            for seq, status in lines.items()
        )
    )


def run(folder: Path, words: Sequence[str], stdin: str = "") -> tuple[str, str, int]:
    done = subprocess.run(words, cwd=folder, input=stdin, capture_output=True, text=True, check=False)
    return done.stdout, done.stderr, done.returncode


def seqs(path: Path) -> list[int]:
    return sorted({int(line.split("\t")[0]) for line in path.read_text().splitlines()[1:]})


LATE_FIRST = "sleep 0.$((6/{})); echo {}"
"""The first job ends last: the others wait for their turn to be printed."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--resume", "1 3 5"),
        ("--resume --line-buffer", "1 3 5"),
        ("--resume --tag", "1\t1 3\t3 5\t5"),
        ("--resume-failed", "1 3 5 6"),
        ("--resume --files", "1 3 5"),
        ("--retry-failed", "6"),
    ],
)
def test_gap_in_the_joblog_loses_no_output(tmp_path, options, expected):
    logged(tmp_path / "log", [2, 4], [6])
    given = [] if "--retry" in options else [LATE_FIRST, ":::", *"123456"]
    out, err, status = run(tmp_path, [*GUARDED, "-k", "--joblog", "log", *options.split(), *given])
    if "--files" in options:
        out = "".join(Path(name).read_text() for name in out.split())
    assert (out.split("\n"), err, status) == ([*expected.split(" "), ""], "", 0)
    assert set(seqs(tmp_path / "log")) >= ({2, 4, 6} if "--retry" in options else {1, 2, 3, 4, 5, 6})


@pytest.mark.slow
def test_retry_failed_with_jobs_done_between_prints_all(tmp_path):
    logged(tmp_path / "log", [2, 4], [1, 3, 5], LATE_FIRST.replace("{}", "{0}"))
    assert run(tmp_path, [*GUARDED, "-k", "--joblog", "log", "--retry-failed"]) == ("1\n3\n5\n", "", 0)


@pytest.mark.slow
def test_gap_in_the_results_loses_no_output_and_no_line_of_the_joblog(tmp_path):
    run(tmp_path, [*GUARDED, "--results", "out", "echo {}", ":::", "2", "4"])
    line = ["-k", "--line-buffer", "--joblog", "log", "--results", "out", "--resume", LATE_FIRST]
    out, err, status = run(tmp_path, [*GUARDED, *line, ":::", *"12345"])
    assert (out, err, status) == ("out/1/1/stdout\nout/1/3/stdout\nout/1/5/stdout\n", "", 0)
    assert seqs(tmp_path / "log") == [1, 3, 5]


@pytest.mark.slow
def test_gap_with_pipe_loses_no_block(tmp_path):
    logged(tmp_path / "log", [2, 4])
    line = ["--pipe", "-N1", "-k", "--joblog", "log", "--resume", "sleep 0.$((6/{#})); cat"]
    assert run(tmp_path, [*GUARDED, *line], "1\n2\n3\n4\n5\n") == ("1\n3\n5\n", "", 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(count(2, 100)))
def test_random_gaps_and_times_print_what_was_not_done_in_order(tmp_path, seed):
    chance = random.Random(seed)
    total = chance.randrange(5, 40)
    done = [seq for seq in range(1, total + 1) if chance.random() < 0.4]
    logged(tmp_path / "log", chance.sample(done, len(done)))
    jobs = [
        f"sleep 0.{chance.randrange(4)}; echo {seq}; exit {chance.randrange(2)}"
        for seq in range(1, total + 1)
    ]
    mode = chance.choice([[], ["--line-buffer"], ["--retries", "2"], ["--compress"]])
    line = [*GUARDED, "-k", *mode, "--joblog", "log", "--resume", "sh -c {}", ":::", *jobs]
    out, err, _ = run(tmp_path, line)
    rest = [seq for seq in range(1, total + 1) if seq not in done]
    assert [int(number) for number in out.split()] == rest, (mode, err)
    assert seqs(tmp_path / "log") == list(range(1, total + 1))


@pytest.mark.slow
def test_womm_with_a_gap_in_the_joblog_prints_all(tmp_path, womm_home):
    logged(tmp_path / "log", [3])
    command = 'sleep $(({} == 4 ? 0 : 1)); echo "$WOMM_POD" >>pods; echo {}'
    words = [*WOMM, "--kube-pods", "4", "--", "-k", "--joblog", "log", "--resume", command, ":::", *"1234"]
    assert run(tmp_path, words) == ("1\n2\n4\n", "", 0)
    assert len((tmp_path / "pods").read_text().split()) == 3
    assert seqs(tmp_path / "log") == [1, 2, 3, 4]


@pytest.mark.slow
def test_unknown_gnu_parallel_is_refused_only_with_k_and_resume(tmp_path, womm_home):
    """A later GNU parallel may print in another way: what is mended must be there."""
    (tmp_path / "bin").mkdir()
    other = tmp_path / "bin" / "parallel"
    other.write_bytes(Path(PLAIN[-1]).read_bytes().replace(b"print_earlier_jobs", b"print_in_another_way"))
    other.chmod(0o755)
    from womm.engine.gnu.options import read_options
    from womm.engine.gnu.plan import check_order
    from womm.errors import UsageError

    for words, refused in [
        (["-k", "--resume", "--joblog", "log", "echo"], True),
        (["-k", "--retry-failed", "--joblog", "log"], True),
        (["-k", "--resume-failed", "--nok", "--joblog", "log", "echo"], False),
        (["-k", "echo"], False),
        (["--resume", "--joblog", "log", "echo"], False),
    ]:
        options = read_options(words, PERL)
        check_order(options, Path(PLAIN[-1]))
        if refused:
            with pytest.raises(UsageError, match="may lose output"):
                check_order(options, other)
        else:
            check_order(options, other)
    # Without what is replaced it runs as it is.
    line = [*start_words(PERL, other), "--will-cite", "-k", "echo", ":::", "1", "2"]
    assert run(tmp_path, line) == ("1\n2\n", "", 0)

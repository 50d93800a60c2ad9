"""What cannot work through workers is refused in a sentence; nothing of it ever runs here."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.plain import PLAIN, WOMM, Pair, Ran, words
from womm.engine.gnu import options as gnu_parallel

pytestmark = pytest.mark.slow

REFUSED = [
    "--semaphore",
    "--id x",
    "--semaphoretimeout=3",
    "--fg",
    "--bg",
    "--wait",
    "--tmux",
    "--tmuxpane",
    "--sshlogin host",
    "-S host",
    "-S4/:",
    "--sshloginfile hosts",
    "--slf ..",
    "--filter-hosts",
    "--hgrp",
    "-M",
    "--ssh rsh",
    "--tty",
    "-o",
    "--cleanup",
    "--trc {}.out",
    "--memsuspend 1G",
    "--sql csv:///x",
    "--sqlmaster csv:///x",
    "--sqlworker csv:///x",
    "--sqlandworker csv:///x",
    "--hashbang",
    "--shebang-wrap",
    # Shortened, bundled, with =, among others.
    "-kS host",
    "-k --tag --tmux",
    "-j 2 --line-buffer --sshlogin=host",
    # Of this machine, or what womm itself uses.
    "-j +2",
    "-j -1",
    "-j +50%",
    "-j width-file",
]


def refused(ran: Ran) -> None:
    """One or two lines that say why, nothing run, status 2."""
    lines = ran.said.splitlines()
    assert ran.status == 2
    assert (ran.stdout, ran.stderr) == (b"", b"")
    assert 1 <= len(lines) <= 2
    assert len(lines[0].split()) > 6
    assert b"Traceback" not in ran.said
    assert "ran" not in ran.tree


@pytest.mark.parametrize("option", REFUSED)
def test_option_is_refused_with_a_reason(pair: Pair, option: str) -> None:
    pair.fill()
    given = words(option)
    ran = pair.run([*WOMM, "--kube-pods", "1", "--", *given, "touch", ":::", "ran"])
    refused(ran)


def test_every_refused_option_has_a_case() -> None:
    """By the name that GNU parallel's own parser gives it."""
    perl = PLAIN[0]
    tried: set[str] = set()
    for option in REFUSED:
        found = gnu_parallel.read_options([str(word) for word in words(option)], perl)
        tried.update(name for name, _ in found.found)
    assert set(gnu_parallel.REFUSED) <= tried


@pytest.fixture(params=["PARALLEL", "config", "XDG config", "profile", "profile in config"])
def elsewhere(request: pytest.FixtureRequest, pair: Pair) -> Iterator[tuple[str, list[str]]]:
    """Puts options where GNU parallel finds them besides the arguments."""
    home = Path(os.environ["HOME"])
    (home / ".config" / "parallel").mkdir(parents=True)
    yield (
        request.param,
        {
            "PARALLEL": [],
            "config": [str(home / ".parallel" / "config")],
            "XDG config": [str(home / ".config" / "parallel" / "config")],
            "profile": [str(home / ".parallel" / "mine"), "-J", "mine"],
            "profile in config": [str(home / ".parallel" / "mine"), "--profile=mine"],
        }[request.param],
    )


@pytest.mark.parametrize("option", ["--semaphore", "--sshlogin=:"])
def test_option_from_elsewhere_is_refused(pair: Pair, elsewhere: tuple[str, list[str]], option: str) -> None:
    pair.fill()
    where, place = elsewhere
    if where == "PARALLEL":
        pair.env["PARALLEL"] = option
    else:
        Path(place[0]).write_text(f"# a comment\n  {option}\n")
    ran = pair.run([*WOMM, "--kube-pods", "1", "--", *place[1:], "touch", ":::", "ran"])
    refused(ran)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--kube-pods", "2", "touch", ":::", "ran"], b"--"),
        (["--", "touch", ":::", "ran"], b"--kube-pods"),
        (["--kube-pods", "--", "touch", ":::", "ran"], b"--kube-pods"),
        (["--kube-pods=x", "--", "touch", ":::", "ran"], b"kube-pods"),
        (["--kube-pods", "0", "--", "touch", ":::", "ran"], b"kube-pods"),
        (["--kube-pods", "2", "--", "--kube-cpu", "2", "touch", ":::", "ran"], b"--kube-cpu"),
        (["--kube-pods", "2", "--", "--async", "touch", ":::", "ran"], b"--async"),
        (["--kube-pods", "2", "--async", "--", "touch", ":::", "ran"], b"--async"),
        (["--kube-pods", "2", "--", "--no-such-option", "touch", ":::", "ran"], b"no-such-option"),
        (["--kube-pods", "2", "--", "-a", "nothing", "touch"], b"nothing"),
        (["--kube-pods", "2", "--", "--joblog", "no/folder/log", "touch", ":::", "ran"], b"no/folder"),
    ],
)
def test_wrong_command_line_is_explained(pair: Pair, words: list[str], says: bytes) -> None:
    pair.fill()
    ran = pair.run([*WOMM, *words])
    assert ran.status == 2
    assert says in ran.said
    assert (ran.stdout, ran.stderr) == (b"", b"")
    assert "ran" not in ran.tree


# A job that tells where it runs, also from a child process.
WHERE = 'echo "in ${WOMM_POD:-no worker}"; sh -c "echo in \\${WOMM_POD:-no worker}"; : {}'


@pytest.mark.parametrize(
    "option",
    [
        "",
        "--logins",
        "--onall",
        "--nonall",
        "--pipe -N1",
        "--cat --pipe -N1",
        "--fifo --pipe -N1",
        "--pipepart -a input --block 2",
        "--compress",
        "--line-buffer",
        "--limit true",
        "-X",
        "--tee --pipe -j2",
        "--retries 2",
        "--wd sub",
        "--nice 5",
        "--transfer --return {}.out --bf input",
        "--filter 1",
        "--tmpdir sub",
    ],
)
def test_every_job_runs_in_a_worker(pair: Pair, option: str) -> None:
    pair.files = {"input": b"a\nb\n", "sub/x": b"", "a": b"", "b": b""}
    pair.fill()
    given = option.split()
    options = [given.pop(0)] if given[:1] == ["--logins"] else []
    script = WHERE
    if "--pipe" in option:
        named = "--cat" in given or "--fifo" in given
        script += f"; cat {'{}' if named else ''} >/dev/null"
    inputs = [] if "-a" in given or option == "--nonall" else [":::", "a", "b"]
    if "--pipe" in given and "--tee" not in given:
        inputs = []
    if "--return" in given:
        script += "; touch {}.out"
    if option == "--nonall":
        script = script.replace("{}", "")
    ran = pair.womm([*given, script, *inputs], 2, b"a\nb\n", options)
    lines = set(ran.stdout.splitlines())
    assert ran.status == 0
    assert lines
    assert all(line.startswith(b"in ") and line[-2:] in (b"-0", b"-1") for line in lines), lines

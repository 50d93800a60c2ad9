"""Output that nobody takes: the reader is gone, or the disk is full."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.running import WOMM, environment
from tests.interop.plain import PLAIN

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
FULL = "No space left on device"

pytestmark = pytest.mark.usefixtures("womm_home")


def bash(script: str, cwd: Path, *, prefix: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    """Run a script in which `womm` is this womm and `plain` plain GNU parallel."""
    functions = f'womm() {{ {" ".join(WOMM)} "$@"; }}\nplain() {{ {" ".join(PLAIN)} --will-cite "$@"; }}\n'
    return subprocess.run(
        [*prefix, "bash", "-c", functions + script],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
def test_reader_that_is_gone_ends_parallel_as_it_ends_plain(tmp_path):
    script = "seq 3000 | {} echo | head -n 1; echo ${{PIPESTATUS[1]}}"
    plain = bash(script.format("plain -j 2"), tmp_path)
    womm = bash(script.format("womm parallel --kube-pods 2 --"), tmp_path)
    assert plain.stdout.splitlines()[1] == womm.stdout.splitlines()[1] == "141"
    told = [
        line for line in womm.stderr.splitlines() if " created: " not in line and " deleted: " not in line
    ]
    assert told == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("womm -q shell -- 'seq 100000' | head -n 1", "141"),
        ("womm -q shell -- 'echo hi' | true", "141"),
        # as in plain sh: it does not hear of it
        ("""womm -q shell -- 'trap "" PIPE; seq 100000; exit 3' | head -n 1""", "3"),
    ],
)
def test_reader_that_is_gone_ends_shell_as_it_ends_sh(tmp_path, line, expected):
    done = bash(f"{line} >&2; echo ${{PIPESTATUS[0]}}", tmp_path)
    assert done.stdout == f"{expected}\n", done.stderr
    assert "womm:" not in done.stderr


@pytest.mark.slow
def test_shell_whose_output_is_not_taken_says_so_and_fails(tmp_path):
    """The command prints more than can be on its way."""
    done = bash("womm -q shell -- 'seq 10000000; touch ended' >/dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (
        254,
        f"womm: cannot write to stdout: {FULL}: the command is ended\n",
    )
    assert not (tmp_path / "ended").exists()


@pytest.mark.slow
def test_shell_with_descriptors_that_do_not_block_loses_nothing(tmp_path):
    """Another program may have made them so; it is a property of the pipe, not of the process."""
    (stdin, to_stdin), (from_stdout, stdout) = os.pipe(), os.pipe()
    os.set_blocking(stdin, False)
    os.set_blocking(stdout, False)
    words = [*WOMM, "shell", "--", "cat; touch there; seq 200000"]
    with subprocess.Popen(words, stdin=stdin, stdout=stdout, cwd=tmp_path, env=environment()) as process:
        os.close(stdin)
        os.close(stdout)
        with open(from_stdout, "rb") as out:
            # Before this it has looked for input and found none.
            os.write(to_stdin, b"early\n")
            assert out.readline() == b"early\n"
            os.write(to_stdin, b"late\n")
            os.close(to_stdin)
            assert out.readline() == b"late\n"
            while not (tmp_path / "there").exists():
                os.sched_yield()
            assert len(out.read()) == sum(len(str(n)) + 1 for n in range(1, 200001))
    assert process.returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        "parallel --help",
        "parallel --citation",
        "completion bash",
        "cluster-setup -n x",
        "doctor",
    ],
)
def test_full_disk_is_told_as_stdouts(tmp_path, words):
    done = bash(f"womm {words} >/dev/full", tmp_path)
    assert (done.returncode, done.stderr) == (254, f"womm: cannot write to stdout: {FULL}\n")


def test_reader_that_is_gone_ends_every_command_with_141_and_no_word(tmp_path):
    commands = ["doctor", "cluster-setup -n x", "completion bash"]
    lines = [f"womm {words} | true; echo ${{PIPESTATUS[0]}}" for words in commands]
    done = bash("\n".join(lines), tmp_path)
    assert (done.stdout.split(), done.stderr) == (["141"] * len(commands), "")


@ROOT_ONLY
@pytest.mark.slow
def test_full_runtime_folder_is_named_and_not_stdout(tmp_path, womm_home):
    runtime = womm_home.runtime / "tiny"
    runtime.mkdir()
    script = (
        f"mount -t tmpfs -o size=16k none {runtime}; export XDG_RUNTIME_DIR={runtime}\n"
        "WOMM_HANDOVER=shell womm parallel --kube-pods 1 -- echo ::: 1"
    )
    done = bash(script, tmp_path, prefix=("unshare", "--mount"))
    assert (done.returncode, done.stdout) == (254, "")
    assert f"{runtime}/womm-" in done.stderr
    assert f": {FULL}\nwomm: hint: df -h {runtime}" in done.stderr
    assert "stdout" not in done.stderr
    assert "Traceback" not in done.stderr

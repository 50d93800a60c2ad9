"""What a command imports is what the user waits for: the lists are held here."""

import subprocess
import sys

import pytest

from tests.cli.running import environment

# Everything of ours that `womm --help` may import; anything more is a decision to take here.
OURS = {"womm", "womm.cli", "womm.cli.main", "womm.errors", "womm.signals", "womm.words"}
THIRD_PARTY = {"click"}
# Slow, or of no use before a task starts.
NEVER = {
    "asyncio",
    "asyncssh",
    "concurrent.futures",
    "docker",
    "http.client",
    "kubernetes",
    "logging",
    "multiprocessing",
    "pathlib",
    "platformdirs",
    "ssl",
    "subprocess",
    "tomllib",
    "urllib.request",
}

_PRINT_MODULES = """
import sys
before = set(sys.modules)
from womm.cli.main import run
status = run(sys.argv[1:])
sys.stdout.flush()
print(*(set(sys.modules) - before), file=sys.stderr)
sys.exit(status)
"""


def imported(*words, status=0, **env):
    """Return the modules that a command line, ending with `status`, adds to those of a bare interpreter."""
    result = subprocess.run(
        [sys.executable, "-c", _PRINT_MODULES, *words],
        capture_output=True,
        text=True,
        check=False,
        env=environment(**env),
    )
    assert result.returncode == status, result.stderr
    return set(result.stderr.splitlines()[-1].split())


def packages(modules):
    names = {name.partition(".")[0] for name in modules}
    return {name for name in names if name not in sys.stdlib_module_names and name[0] != "_"}


def test_help_imports_only_the_list():
    modules = imported("--help")
    assert {name for name in modules if name.partition(".")[0] == "womm"} == OURS
    assert packages(modules) == THIRD_PARTY | {"womm"}
    assert not modules & NEVER


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("clean",),
        *((name, "--help") for name in ("status", "logs", "setup", "cluster-setup", "doctor")),
    ],
    ids=" ".join,
)
def test_commands_that_read_import_no_coordinator(words, womm_home):
    modules = imported(*words)
    # backports.zstd, of the kept output, is 2 ms.
    assert packages(modules) <= THIRD_PARTY | {"womm", "platformdirs", "backports"}
    assert not modules & {"asyncio", "asyncssh", "kubernetes", "docker", "ssl"}
    ours = {name for name in modules if name.startswith("womm.task.")}
    assert ours <= {"womm.task.listing", "womm.task.targets"}
    for layer in ("engine", "dispatch", "cluster", "link"):
        assert f"womm.{layer}" not in modules


def test_setup_imports_no_client_before_its_first_question(womm_home):
    """What the question needs is the same as what the line about a missing answer needs."""
    modules = imported("setup", "--yes", status=2)
    assert packages(modules) <= THIRD_PARTY | {"womm", "platformdirs", "yaml", "cython_runtime"}
    assert not modules & {"asyncio", "concurrent.futures", "ssl", "urllib.request"}


def test_completing_a_command_imports_no_command(womm_home):
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "womm"],
        env=environment(_WOMM_COMPLETE="bash_complete", COMP_WORDS="womm st", COMP_CWORD="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "plain,status\n"
    assert "womm.cli.main" in result.stderr
    assert "womm.cli.status" not in result.stderr
    assert "womm.journal" not in result.stderr

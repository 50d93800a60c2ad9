"""The front door: help, suggestions, exit statuses, streams that are closed or full."""

import importlib
import os
import signal
import subprocess
import sys

import click
import pytest

import womm
from tests.cli.running import ROOT, WOMM, environment, run
from womm.cli.main import COMMANDS, cli


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("-q", "--help")])
def test_help_names_every_command_and_two_examples(words):
    result = run(*words)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("Usage: womm [OPTIONS] COMMAND")
    for name, (_, text) in COMMANDS.items():
        assert f"  {name}" in result.out
        assert text in result.out
    assert result.out.count("womm parallel --kube-pods") == 1
    assert "womm logs last --failed" in result.out


@pytest.mark.parametrize("name", COMMANDS)
def test_command_help_has_examples_and_the_line_of_the_list(name):
    command = importlib.import_module(COMMANDS[name][0]).command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.get_short_help_str(100) == COMMANDS[name][1]
    result = run(name, "--help")
    assert (result.status, result.err) == (0, "")
    assert result.out.count(f"womm {name}") >= 3  # usage and two examples


def test_every_option_has_help():
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        for param in command.params:
            assert isinstance(param, click.Argument) or param.help, (name, param)


def test_version_is_one_line():
    result = run("--version")
    python = ".".join(map(str, sys.version_info[:3]))
    assert result.out.startswith(f"womm {womm.__version__}, Python {python}, ")
    assert "GNU parallel" in result.out
    assert result.out.count("\n") == 1
    assert (result.status, result.err) == (0, "")


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (
            ("stauts",),
            ["womm: No such command 'stauts'. Did you mean 'status'?", "womm: hint: womm --help"],
        ),
        (("xyzzy",), ["womm: No such command 'xyzzy'.", "womm: hint: womm --help"]),
        (("--quite",), None),
        (("status", "--endet"), None),
        (("status", "extra"), None),
        (("logs",), None),
        (("finish", "--al"), None),
    ],
)
def test_usage_errors_are_two_lines_and_status_2(words, lines):
    result = run(*words)
    assert result.status == 2
    assert result.out == ""
    told = result.err.splitlines()
    assert lines is None or told == lines
    assert len(told) == 2
    assert told[0].startswith("womm: ")
    assert told[1].startswith("womm: hint: womm ")
    assert told[1].endswith(" --help")


def test_womm_error_is_one_line_and_a_hint(womm_home):
    result = run("logs", "nosuchid")
    assert result.status == 254
    assert result.err == "womm: no task has the id 'nosuchid'\nwomm: hint: womm status --ended\n"


def test_debug_shows_the_traceback(womm_home):
    result = run("--debug", "logs", "nosuchid")
    assert result.status == 254
    assert "Traceback" in result.err
    assert result.err.endswith("womm: no task has the id 'nosuchid'\nwomm: hint: womm status --ended\n")


def test_quiet_says_errors_only(womm_home):
    assert run("status").err != ""
    assert run("-q", "status").err == ""
    assert run("-q", "logs", "nosuchid").err != ""


@pytest.mark.parametrize("words", [("--help",), ("status", "--help"), ("status", "-o", "json")])
def test_full_stdout_is_told(words, womm_home):
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [*WOMM, *words], stdout=full, stderr=subprocess.PIPE, env=environment(), check=False
        )
    assert result.returncode == 254
    assert result.stderr == b"womm: cannot write to stdout: No space left on device\n"


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("status", "-o", "json")])
def test_broken_pipe_is_quiet(words, womm_home):
    read, write = os.pipe()
    os.close(read)
    try:
        result = subprocess.run(
            [*WOMM, *words], stdout=write, stderr=subprocess.PIPE, env=environment(), check=False
        )
    finally:
        os.close(write)
    assert (result.returncode, result.stderr) == (128 + signal.SIGPIPE, b"")


def test_called_as_a_plugin_usage_shows_it(tmp_path):
    script = tmp_path / "kubectl-womm"
    script.write_text(f"#!{sys.executable}\nfrom womm.__main__ import entry\nentry()\n")
    script.chmod(0o700)
    result = subprocess.run(
        [script, "status", "--help"], capture_output=True, text=True, env=environment(), check=True
    )
    assert result.stdout.startswith("Usage: kubectl womm status")
    result = subprocess.run(
        [script, "status", "-x"], capture_output=True, text=True, env=environment(), check=False
    )
    assert result.stderr.endswith("womm: hint: kubectl womm status --help\n")


def test_names_outside_the_terminals_encoding_are_escaped(womm_home):
    result = run("logs", "caf\u00e9", PYTHONIOENCODING="iso8859-7", PYTHONUTF8="0")
    assert result.status == 254
    assert "caf\\xe9" in result.err


def test_module_and_script_are_the_same():
    result = subprocess.run(
        [sys.executable, "-m", "womm", "--version"], cwd=ROOT, capture_output=True, check=True
    )
    assert result.stdout.decode() == run("--version").out


INTERRUPTED_IMPORT = """
class Interrupted:
    def __set_name__(self, owner, name):
        raise KeyboardInterrupt

class Import:
    attribute = Interrupted()
"""


@pytest.mark.parametrize("module", ["click", "platformdirs"])
def test_ctrl_c_that_an_import_makes_another_exception_of_is_quiet(womm_home, tmp_path, module):
    """What a Ctrl-C raises in a `__set_name__` Python 3.11 makes a RuntimeError."""
    (tmp_path / f"{module}.py").write_text(INTERRUPTED_IMPORT)
    result = run("status", PYTHONPATH=str(tmp_path))
    assert (result.status, result.out, result.err) == (130, "", "")

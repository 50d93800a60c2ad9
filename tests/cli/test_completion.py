"""Completion, by the shells themselves: those that are installed, bash always."""

import shutil
import subprocess
import sys

import pytest

from tests.cli.running import environment, run
from tests.cli.tasks import started_here, write_task
from womm.journal.events import TaskCleaned

BASH = r"""
eval "$(womm completion bash)"
COMP_WORDS=({words}) COMP_CWORD={cword}
_womm_completion womm
printf '%s\n' "${{COMPREPLY[@]}}"
"""
# zsh completes at a line editor only; its function is run with compadd and _describe as stand-ins.
ZSH = r"""
autoload -Uz compinit; compinit -u -d "$HOME/zcompdump"
eval "$(womm completion zsh)"
compadd() {{ while [[ $1 != -a ]]; do shift; done; shift; print -l -- ${{(P)1}} }}
_describe() {{ shift 2; print -l -- ${{${{(P)1}}%%:*}} }}
words=({words}) CURRENT=$(({cword} + 1))
_womm_completion
"""
FISH = 'womm completion fish | source; complete --do-complete "{line}"'
SHELLS = [shell for shell in ("bash", "zsh", "fish") if shutil.which(shell)]


@pytest.fixture
def path(tmp_path):
    """Return a PATH with `womm` on it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "womm"
    script.write_text(f"#!{sys.executable}\nfrom womm.__main__ import entry\nentry()\n")
    script.chmod(0o755)
    return f"{folder}:{environment()['PATH']}"


@pytest.fixture
def tasks(womm_home):
    write_task("aaaaaaaa", started_here("aaaaaaaa", "/", time=1.0), TaskCleaned(2.0))
    argv = ("parallel", "--", "evil\n: 'x' \x1b")
    write_task("abbbbbbb", started_here("abbbbbbb", "/", time=2.0, argv=argv))


def complete(shell, path, *words):
    """Return what the shell offers for the last word."""
    if shell == "fish":
        script = FISH.format(line=" ".join(words))
    else:
        quoted = " ".join(f"'{word}'" for word in words)
        script = {"bash": BASH, "zsh": ZSH}[shell].format(words=quoted, cword=len(words) - 1)
    result = subprocess.run(
        [shell, "-c", script],
        env=environment(PATH=path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    return [line.partition("\t")[0] for line in result.stdout.splitlines()]


def test_bash_is_here():
    assert "bash" in SHELLS


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_of_commands_options_and_ids(shell, path, tasks):
    assert complete(shell, path, "womm", "st") == ["status"]
    assert complete(shell, path, "womm", "status", "--all-h") == ["--all-hosts"]
    ids = complete(shell, path, "womm", "logs", "a")
    # fish sorts; the others show the newest first.
    assert (sorted(ids) if shell == "fish" else ids[::-1]) == ["aaaaaaaa", "abbbbbbb"]
    assert complete(shell, path, "womm", "logs", "la") == ["last"]
    assert complete(shell, path, "womm", "finish", "a") == ["abbbbbbb"]
    assert complete(shell, path, "womm", "status", "-o", "js") == ["json"]


def test_completion_with_a_broken_state_folder_is_silent(path, womm_home):
    (womm_home.state / "womm").mkdir()
    (womm_home.state / "womm" / "tasks").write_text("")
    assert complete("bash", path, "womm", "logs", "a") == [""]


@pytest.mark.parametrize("words", [(), ("tcsh",)])
def test_completion_of_another_shell_names_those_there_are(words):
    result = run("completion", *words)
    assert result.status == 2
    assert result.err.count("\n") == 2
    assert all(shell in result.err for shell in ("bash", "zsh", "fish"))

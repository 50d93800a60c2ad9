"""What a new task takes from where womm is called."""

import os

import pytest

from tests.cli.running import run
from womm.cli.surroundings import current_folder, find_perl, pod_shell
from womm.errors import EngineError, ProjectError
from womm.settings import Settings


def test_current_folder_that_is_gone_is_named(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    assert current_folder() == gone
    gone.rmdir()
    with pytest.raises(ProjectError, match="the current folder is gone"):
        current_folder()


def test_perl_that_is_not_there_says_what_to_install(monkeypatch):
    assert os.access(find_perl(), os.X_OK)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineError) as raised:
        find_perl()
    assert raised.value.hint == "apt-get install perl-base"


@pytest.mark.slow
def test_programs_of_this_machine_are_told_in_spite_of_quiet(tmp_path, womm_home):
    words = ["-q", "parallel", "--kube-pods", "1", "--image", "here", "--here-roots", "none"]
    words += ["--kubeconfig", f"{tmp_path}/none", "--", "echo", ":::", "1"]
    first, second = (run(*words, cwd=tmp_path, PATH="/usr/bin:/bin").err for _ in range(2))
    assert "pods see " in first and f"{tmp_path}/none" in first
    assert "pods see " not in second


def test_shell_of_pods_is_sh_unless_the_settings_name_one(monkeypatch):
    monkeypatch.setenv("PARALLEL_SHELL", "/bin/bash")
    assert pod_shell(Settings(cluster="kubernetes")) == "/bin/sh"
    assert pod_shell(Settings(cluster="kubernetes", shell="/bin/zsh")) == "/bin/zsh"


def test_shell_of_local_workers_must_quote_as_sh_does(monkeypatch):
    monkeypatch.setenv("PARALLEL_SHELL", "/usr/bin/fish")
    monkeypatch.setenv("SHELL", "/bin/sh")
    assert os.path.basename(pod_shell(Settings())) != "fish"

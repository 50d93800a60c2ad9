"""Credential plugins: which program runs, where, and with what seal. No cluster is needed."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Home
from tests.trusting import accept
from womm.cluster.kubernetes.client import KubeClient, Target
from womm.errors import ClusterError
from womm.named import seal

VERSION = "client.authentication.k8s.io/v1"
ANSWER = {"apiVersion": VERSION, "kind": "ExecCredential", "status": {"token": "t"}}


@pytest.fixture
def cwd(tmp_path: Path, womm_home: Home, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a stranger's, with programs of the plugins' names."""
    folder = tmp_path / "cwd"
    (folder / "bin").mkdir(parents=True)
    for name in ("plugin", "bin/plugin"):
        program(folder / name, f"touch {tmp_path}/stranger; exit 1")
    (folder / "module.py").write_text(f"open({str(tmp_path / 'stranger')!r}, 'w')\n")
    monkeypatch.chdir(folder)
    return folder


def program(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def config(path: Path, command: str, *args: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": {"apiVersion": VERSION, "command": command, "args": args}}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path.write_text(json.dumps(content))
    return path


def read(target: Target) -> None:
    async def main() -> None:
        await (await KubeClient.connect(target)).close()

    asyncio.run(main())


def test_plugin_with_a_slash_is_that_of_the_kubeconfigs_folder(cwd: Path, tmp_path: Path) -> None:
    path = config(tmp_path / "kube/config", "bin/plugin", "arg")
    program(tmp_path / "kube/bin/plugin", f"echo $PWD $1 >{tmp_path}/ran; echo '{json.dumps(ANSWER)}'")
    read(Target(kubeconfig=str(path)))
    assert (tmp_path / "ran").read_text() == f"{tmp_path}/kube arg\n"
    assert not (tmp_path / "stranger").exists()


def test_plugin_without_a_slash_is_never_the_current_folders(
    cwd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config(tmp_path / "kube/config", "plugin")
    monkeypatch.setenv("PATH", f":.:bin:{os.environ['PATH']}")
    with pytest.raises(ClusterError, match="credential plugin plugin: No such file or directory"):
        read(Target(kubeconfig=str(path)))
    program(tmp_path / "good/plugin", f"echo '{json.dumps(ANSWER)}'")
    monkeypatch.setenv("PATH", f":.:bin:{tmp_path}/good:{os.environ['PATH']}")
    read(Target(kubeconfig=str(path)))
    assert not (tmp_path / "stranger").exists()


def test_plugin_that_is_a_python_module_is_not_the_current_folders(
    cwd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)  # the run's own
    path = config(tmp_path / "kube/config", "python3", "-m", "module")
    (tmp_path / "kube/module.py").write_text(f"print({json.dumps(ANSWER)!r})\n")
    read(Target(kubeconfig=str(path)))
    assert not (tmp_path / "stranger").exists()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "no ExecCredential"),
        ("[]", "no ExecCredential"),
        ('{"status": 3}', "no ExecCredential"),
        (json.dumps({**ANSWER, "status": []}), f"no ExecCredential of {VERSION}"),
        (json.dumps({**ANSWER, "apiVersion": "v1"}), f"no ExecCredential of {VERSION}"),
        (json.dumps({**ANSWER, "status": {}}), "neither a token nor a certificate"),
    ],
)
def test_plugin_that_answers_something_else_is_told(cwd: Path, tmp_path: Path, answer: str, why: str) -> None:
    path = config(tmp_path / "kube/config", "./plugin")
    program(tmp_path / "kube/plugin", f"echo '{answer}'")
    with pytest.raises(ClusterError, match=why):
        read(Target(kubeconfig=str(path)))


def test_sealed_kubeconfig_is_not_read_when_it_has_changed_until_that_is_accepted(
    cwd: Path, tmp_path: Path
) -> None:
    """A journal names it, perhaps years later."""
    project = tmp_path / "proj"
    path = config(project / "k", "./plugin")
    program(project / "plugin", f"touch {tmp_path}/ran; echo '{json.dumps(ANSWER)}'")
    target = Target(kubeconfig=str(path), seal=seal(str(path)))
    read(target)
    (tmp_path / "ran").unlink()
    program(project / "plugin", f"touch {tmp_path}/ran; : changed; echo '{json.dumps(ANSWER)}'")
    with pytest.raises(ClusterError, match="has changed since you accepted it") as raised:
        read(target)
    assert raised.value.hint == "womm trust"
    assert not (tmp_path / "ran").exists()
    (project / ".womm").write_text('version = 1\nkubeconfig = "k"\n')
    accept(project)
    read(target)
    assert (tmp_path / "ran").exists()

"""womm on another machine: another host name, another state folder, the same cluster."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.cluster.kubernetes.project import Project
from tests.faults.tasks import DEADLINE_S, WOMM, environment

HOST = "desktop"
_AS_HOST = ["unshare", "--uts", "sh", "-c", f'hostname {HOST} && exec "$@"', "sh"]


@dataclass(frozen=True)
class Machine:
    """A user's machine. `state`: where it keeps its journals; `own_name`: it is called HOST; `more`: of
    its environment."""

    state: Path
    user: str = ""
    own_name: bool = True
    more: Mapping[str, str] = field(default_factory=dict)

    def words(self, *words: str) -> list[str]:
        if self.own_name and os.geteuid():
            pytest.skip("only root can give a process a host name of its own")
        return [*(_AS_HOST if self.own_name else ()), *WOMM, *words]

    @property
    def env(self) -> Mapping[str, str]:
        named = {"LOGNAME": self.user} if self.user else {}
        return environment(XDG_STATE_HOME=str(self.state), **named, **self.more)

    def womm(self, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of womm there, in `folder`."""
        return subprocess.run(
            self.words(*words),
            capture_output=True,
            text=True,
            cwd=folder,
            env=self.env,
            timeout=DEADLINE_S,
            check=False,
        )


def unreachable(project: Project) -> Path:
    """Return a kubeconfig like the project's, but for the API server, which is not there."""
    config = yaml.safe_load(project.kube.kubeconfig.read_text())
    for named in config["clusters"]:
        named["cluster"]["server"] = "https://127.0.0.1:1"
    path = project.folder / "unreachable.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path

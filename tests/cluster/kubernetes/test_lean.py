"""The official client is imported without its synchronous half, and without a home folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import womm

HALF = ("kubernetes.client", "kubernetes.watch", "kubernetes.stream", "requests", "oauthlib")


def python(code: str, *inside: str, **env: str) -> str:
    usual = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(womm.__file__).parents[1])}
    done = subprocess.run(
        [*inside, sys.executable, "-c", code],
        env={**usual, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_client_of_womm_runs_the_asynchronous_half_alone(tmp_path: Path) -> None:
    code = "import sys, json, womm.cluster.kubernetes.client\nprint(json.dumps([*sys.modules]))"
    modules = json.loads(python(code, HOME=str(tmp_path)))
    assert "kubernetes.aio.client" in modules
    assert [name for name in HALF if name in modules] == []


def test_modules_of_the_package_are_those_of_the_official_client(tmp_path: Path) -> None:
    code = """
import womm.cluster.kubernetes.lean
import kubernetes, kubernetes.aio.client
print(kubernetes.aio.client.V1Pod().to_dict()["kind"], kubernetes.__spec__.name, kubernetes.__path__[0])
"""
    kind, name, folder = python(code, HOME=str(tmp_path)).split()
    assert (kind, name) == ("None", "kubernetes")
    assert (Path(folder) / "aio").is_dir()


def test_package_that_is_imported_already_stays_as_it_is(tmp_path: Path) -> None:
    code = """
import kubernetes
before = kubernetes
import womm.cluster.kubernetes.lean, sys
print(sys.modules["kubernetes"] is before and bool(kubernetes.client))
"""
    assert python(code, HOME=str(tmp_path)) == "True\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_user_without_a_home_can_import_the_client_and_gets_none() -> None:
    """A uid without an entry, as in many containers."""
    code = """
import os, pathlib
try:
    print(pathlib.Path.home())
except RuntimeError:
    import womm.cluster.kubernetes.client
    print("none", os.getuid(), "HOME" in os.environ)
"""
    assert python(code, "unshare", "--user", "--map-user=61234") == "none 61234 False\n"

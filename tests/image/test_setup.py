"""`womm setup` with a share: the file server's image gets into the registry, and its digest into `.womm`."""

import tomllib

import pytest

from tests.cli.running import run
from tests.image.dockerd import BASE


@pytest.mark.slow
def test_setup_builds_and_pushes_the_file_server_once_and_writes_its_digest(
    makes_images, kube_cluster, womm_home, tmp_path
):
    folder = tmp_path / "proj"
    folder.mkdir()
    env = {"KUBECONFIG": str(kube_cluster.kubeconfig), **makes_images}
    prefix = f"{kube_cluster.registry}/first-user/"
    words = ["--image", "tools", "--prefix", prefix, "--share", "lazy", "--fileserver-base", BASE, "--yes"]
    result = run("setup", *words, cwd=folder, **env)
    assert (result.status, result.out) == (0, ""), result.err
    assert "is not in the registry: it is built and pushed" in result.err
    found = tomllib.loads((folder / ".womm").read_text())
    assert (found["share"], found["prefix"]) == ("lazy", prefix)
    assert found["fileserver-image"].startswith(f"{prefix}womm-fileserver@sha256:")
    again = run("setup", "--share", "eager", "--yes", cwd=folder, **env)
    assert again.status == 0, again.err
    assert "built" not in again.err
    assert tomllib.loads((folder / ".womm").read_text()) == {**found, "share": "eager"}

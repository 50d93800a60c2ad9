"""`womm setup` from the first question to `.womm`, with a real docker and a real registry.

womm/setup/image_story.py has its own tests; here it is one step of the story. No cluster is there: the
kubeconfig leads to a closed port, as for a user who may not read nodes.
"""

import json
import sys
import tomllib
from contextlib import contextmanager

import pexpect
import pytest

from tests.cli.running import WOMM, environment, run
from tests.image import registry as registries

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def registry():
    with registries.running() as found:
        yield found


@pytest.fixture
def project(own_docker, womm_home, tmp_path, monkeypatch):
    """A new project's folder, with a script."""
    config = tmp_path / "kubeconfig"
    content = {
        "current-context": "lab",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "lab", "context": {"cluster": "c", "namespace": "research"}}],
    }
    config.write_text(json.dumps(content))
    monkeypatch.setenv("KUBECONFIG", str(config))
    monkeypatch.setenv("DOCKER_HOST", own_docker.host)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    folder = tmp_path / "proj"
    folder.mkdir()
    return folder


def written(folder):
    return tomllib.loads((folder / ".womm").read_text())


@contextmanager
def asking(folder, *words):
    child = pexpect.spawn(
        WOMM[0], [*WOMM[1:], "setup", *words], cwd=folder, env=environment(), encoding="utf-8", timeout=120
    )
    child.logfile_read = sys.stdout
    try:
        yield child
    finally:
        child.close(force=True)


def answer(child, question, typed):
    child.expect_exact(question)
    child.expect_exact("> ")
    child.sendline(typed)


def test_setup_in_one_line_writes_an_image_by_digest_that_counts(project, bases, registry):
    base, prefix = bases.debian(), f"{registry.host}/line/"
    words = ["--share", "none", "--base", base, "--prefix", prefix, "--yes"]
    result = run("setup", *words, "--run", "echo kept >/kept", "--env", "MODE=fast", cwd=project)
    assert (result.status, result.out) == (0, ""), result.err
    found = written(project)
    assert found["image"].startswith(f"{prefix}womm-image:proj-")
    assert "@sha256:" in found["image"]
    assert (found["base"], found["prefix"], found["share"]) == (base, prefix, "none")
    assert (found["context"], found["namespace"]) == ("lab", "research")
    assert "womm: try it: womm shell\n" in result.err
    assert run("trust", cwd=project).err == f"womm: {project}/.womm is accepted\n"
    # Another run keeps it all; one with a command goes on from the image.
    before = (project / ".womm").read_bytes()
    assert run("setup", "--yes", cwd=project).status == 0
    assert (project / ".womm").read_bytes() == before
    again = run("setup", "--run", "cat /kept && echo more >/more", "--yes", cwd=project)
    assert again.status == 0, again.err
    assert "kept\n" in again.err
    assert written(project) == {**found, "image": written(project)["image"]}
    assert written(project)["image"] != found["image"]


def test_setup_as_a_new_user_types_it(project, bases, registry, womm_home):
    base, prefix = bases.debian(), f"{registry.host}/typed/"
    with asking(project) as child:
        answer(child, f"How do you want to share {project} to your cloud?", "4")
        answer(child, "In which namespace", "")
        answer(child, "Which pull secret", "")
        answer(child, "What is the docker hub name for the base image", base)
        answer(child, "What is a prefix of a docker image name", prefix)
        child.expect_exact("# ")
        child.sendline("echo kept >/kept; exit")
        answer(child, "Does it work? y/n", "y")
        child.expect(r"womm: the prefix .* is remembered in (.*)config\.toml")
        child.expect_exact("womm: written; see if all is well: womm doctor")
        child.expect(pexpect.EOF)
    found = written(project)
    assert (found["base"], found["prefix"]) == (base, prefix)
    config = womm_home.config / "womm" / "config.toml"
    assert tomllib.loads(config.read_text()) == {"prefix": prefix}
    with asking(project) as child:
        answer(child, "Do you want to change your share, cluster or base image? y/n", "")
        answer(child, "Do you want to edit your image? y/n", "n")
        child.expect_exact("womm doctor")
        child.expect(pexpect.EOF)
    assert written(project) == found
    assert run("clear-prefix", cwd=project).status == 0
    assert tomllib.loads(config.read_text()) == {}


def test_setup_whose_file_server_fails_names_the_image_that_it_has_pushed(project, bases, registry):
    base, prefix = bases.debian(), f"{registry.host}/half/"
    words = ["--share", "lazy", "--base", base, "--prefix", prefix, "--run", "echo kept >/kept", "--yes"]
    result = run("setup", *words, "--fileserver-base", f"{registry.host}/none:1", cwd=project)
    assert result.status == 254
    found = written(project)
    assert found["image"].startswith(f"{prefix}womm-image:proj-")
    assert (found["share"], "fileserver-image" in found) == ("lazy", False)
    assert run("trust", cwd=project).err == f"womm: {project}/.womm is accepted\n"
    next_one = run("setup", "--fileserver-image", "files:1", "--yes", cwd=project)
    assert next_one.status == 0, next_one.err
    assert written(project) == {**found, "fileserver-image": "files:1"}

"""`womm setup` from the first question to `.womm`, with a real docker and a real registry.

How the image is made has its own tests, in test_image_story.py; here it is one step of the story.
"""

import tomllib

import pexpect
import pytest

from tests.cli.running import run
from tests.setup.projects import answer

pytestmark = pytest.mark.slow


def test_setup_as_a_new_user_types_it_and_again(project, womm_home):
    prefix = project.prefix
    with project.asking("setup") as child:
        answer(child, f"How do you want to share {project.folder} to your cloud?", "4")
        answer(child, "In which namespace", "")
        answer(child, "Which pull secret", "")
        answer(child, "What is the docker hub name for the base image", project.base)
        answer(child, "What is a prefix of a docker image name", prefix.rstrip("/"))
        child.expect_exact("# ")
        child.sendline("echo kept >/kept; exit")
        answer(child, "Does it work? y/n", "")
        child.expect("womm: the prefix .* is remembered in .*womm clear-prefix")
        child.expect_exact("womm: written; see if all is well: womm doctor")
        child.expect(pexpect.EOF)
    found = project.written
    assert found["image"].startswith(f"{prefix}womm-image:proj-")
    assert (found["base"], found["prefix"], found["share"]) == (project.base, prefix, "none")
    assert (found["context"], found["namespace"]) == ("lab", "research")
    assert run("trust", cwd=project.folder).err == f"womm: {project.folder}/.womm is accepted\n"
    config = womm_home.config / "womm" / "config.toml"
    assert tomllib.loads(config.read_text()) == {"prefix": prefix}
    # Nothing is edited, nothing is changed.
    with project.asking("setup") as child:
        answer(child, "Do you want to change your share, cluster or base image? y/n", "")
        answer(child, "Do you want to edit your image? y/n", "n")
        child.expect_exact("womm doctor")
        child.expect(pexpect.EOF)
    assert project.written == found
    # The image is edited; a comment stays.
    dotfile = project.folder / ".womm"
    dotfile.write_text(dotfile.read_text() + "# mine\n")
    project.accept()
    with project.asking("setup") as child:
        answer(child, "Do you want to change your share, cluster or base image? y/n", "")
        answer(child, "Do you want to edit your image? y/n", "")
        child.expect_exact("# ")
        child.sendline("cat /kept; echo more >/more; exit")
        answer(child, "Does it work? y/n", "")
        child.expect_exact("womm doctor")
        child.expect(pexpect.EOF)
    assert project.written == {**found, "image": project.image}
    assert project.image != found["image"]
    assert dotfile.read_text().endswith("# mine\n")
    assert project.run_in_image("cat /kept /more") == b"kept\nmore\n"


def test_setup_whose_file_server_fails_names_the_image_that_it_has_pushed(project):
    words = ["--share", "lazy", "--run", "echo kept >/kept", "--fileserver-base"]
    result = project.setup(*words, f"{project.proxy.host}/none:1", PIP_NO_INDEX="1")
    assert result.status == 254
    found = project.written
    assert found["image"].startswith(f"{project.prefix}womm-image:proj-")
    assert (found["share"], "fileserver-image" in found) == ("lazy", False)
    assert project.womm("trust").err == f"womm: {project.folder}/.womm is accepted\n"
    assert project.womm("setup", "--fileserver-image", "files:1", "--yes").status == 0
    assert project.written == {**found, "fileserver-image": "files:1"}


def test_setup_by_its_own_settings_finds_the_network_of_the_testbed(project, womm_home):
    result = project.setup("--run", "true", WOMM_TESTBED_NETWORK="womm-no-such-network")
    assert result.status == 254
    assert "womm-no-such-network" in result.err
    assert not (project.folder / ".womm").exists()

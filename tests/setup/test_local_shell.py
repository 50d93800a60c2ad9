"""`womm shell --local`: the project's image here, with the folder in it; what changed is kept, or dropped."""

import subprocess
from dataclasses import replace

import pytest

from tests.cli.running import WOMM, environment
from tests.setup.projects import NOTHING, Project, answer

pytestmark = pytest.mark.slow


@pytest.fixture
def made(project: Project) -> Project:
    """A project with an image."""
    result = project.setup("--run", "echo 1 >/first", "--env", "MODE=fast")
    assert result.status == 0, result.err
    return project


def shell(project: Project, *words: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    command = [*WOMM, "shell", "--local", *words]
    return subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        check=False,
        cwd=project.folder,
        env=environment(),
        timeout=120,
    )


def test_command_runs_byte_for_byte_in_the_folder_and_its_status_is_womms(made: Project) -> None:
    data = bytes(range(256)) * 1000
    done = shell(made, "--", "cat; pwd >&2; echo $MODE >mode; cat /first >&2; exit 7", stdin=data)
    assert (done.returncode, done.stdout) == (7, data)
    assert done.stderr.decode() == f"{made.folder}\n1\n"
    assert (made.folder / "mode").read_text() == "fast\n"
    below = made.folder / "src"
    below.mkdir()
    assert made.womm("shell", "--local", "--", "pwd", cwd=below).out == f"{below}\n"
    several = shell(made, "--", "printf", "%s\n", "a  b", "$MODE")
    assert (several.returncode, several.stdout) == (0, b"a  b\n$MODE\n")


def test_what_changes_without_a_terminal_is_dropped_and_told(made: Project) -> None:
    image = made.image
    done = shell(made, "--", "echo 2 >/second")
    assert done.returncode == 0
    assert b"womm: 1 file changed in the container, 2 B: dropped" in done.stderr
    assert made.image == image
    assert made.left() == NOTHING


def test_what_changes_is_kept_if_the_user_says_so(made: Project) -> None:
    image, before = made.image, made.proxy.uploaded
    with made.asking("shell", "--local") as child:
        child.expect_exact("testbed:")
        child.sendline("echo 2 >/second; export COLOUR=blue; exit 3")
        child.expect_exact("changed in the image")
        answer(child, "Keep this in the image of the project? y/n", "y")
        child.expect_exact("womm: saved variable: COLOUR=blue")
        child.expect_exact("names the new image")
        child.wait()
        assert child.exitstatus == 3
    assert made.image != image
    assert made.proxy.uploaded - before < 20_000
    assert made.run_in_image("cat /first /second; echo $MODE $COLOUR") == b"1\n2\nfast blue\n"
    accepted = made.womm("trust")
    assert "is accepted" in accepted.err
    assert shell(made, "--", "echo $COLOUR").stdout == b"blue\n"


def test_what_changes_is_dropped_if_the_user_says_so(made: Project) -> None:
    image = made.image
    with made.asking("shell", "--local", "--", "touch /second") as child:
        answer(child, "Keep this in the image of the project? y/n", "")
        child.expect_exact("womm: it is dropped")
        child.wait()
        assert child.exitstatus == 0
    assert made.image == image
    assert made.left() == NOTHING


def test_testbed_that_a_setup_has_left_is_not_removed(made: Project) -> None:
    other = replace(made, base=made.inspect(made.base)["Id"])
    with other.asking("setup", *other.words) as child:
        child.expect_exact("testbed:")
        child.sendline("touch /kept")
        child.expect_exact("testbed:")
        child.sendline("exit")
        child.expect_exact("Does it work? y/n")
        child.sendcontrol("c")
        child.expect_exact("stays: the next womm setup goes on in it")
    done = shell(made, "--", "true")
    assert done.returncode == 254
    assert b"womm: hint: womm setup goes on in it" in done.stderr
    assert len(made.left()["containers"]) == 1
    assert other.setup().status == 0
    assert made.run_in_image("ls /kept") == b"/kept\n"


def test_options_of_pods_and_a_folder_without_an_image_are_refused(project: Project) -> None:
    result = project.womm("shell", "--local", "--kube-cpu", "2", "--share", "lazy")
    assert result.status == 2
    assert "--kube-cpu and --share: of pods, and --local starts none" in result.err
    result = project.womm("shell", "--local")
    assert result.status == 2
    assert result.err.endswith("womm: hint: womm setup\n")


def test_image_that_a_setup_could_not_push_is_not_replaced(made: Project) -> None:
    made.proxy.refuse("POST", 403)
    assert made.setup("--run", "echo 3 >/third").status == 254
    made.proxy.answers.clear()
    with made.asking("shell", "--local", "--", "touch /second") as child:
        child.expect_exact("a setup that did not finish has left its image")
        child.wait()
        assert child.exitstatus == 254
    assert made.setup().status == 0
    assert made.run_in_image("cat /third") == b"3\n"

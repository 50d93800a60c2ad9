"""The image of `womm setup`, with a real docker and a real registry: what is in it, what a failure leaves."""

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.image import dockerd
from tests.image.bases import CONFIGURED, Bases
from tests.image.sockets import wire
from tests.setup.projects import NOTHING, Project
from tests.soak import count

pytestmark = pytest.mark.slow

TOOL = "#!/bin/sh\necho from the tool: $MODE\n"
MB = 1_000_000
UNKNOWN = '{"errors": [{"code": "BLOB_UPLOAD_UNKNOWN", "message": "blob upload unknown to registry"}]}'


def set_up(project: Project, *words: str) -> None:
    result = project.setup(*words)
    assert (result.status, result.out) == (0, ""), result.err


# ---- what gets into the image


def test_commands_and_a_variable_become_one_layer_that_is_named_by_its_digest(project: Project) -> None:
    (project.folder / "tool").write_text(TOOL)
    install = "install -m 755 tool /usr/local/bin/tool"
    result = project.setup("--run", install, "--env", "MODE=fast")
    assert result.status == 0, result.err
    assert f"womm: running {install}\n" in result.err
    assert "/usr/local/bin" in result.err
    assert "womm: saved variable: MODE=fast\n" in result.err
    name, _, digest = project.image.partition("@")
    assert name == f"{project.prefix}womm-image:{project.tag}"
    assert digest == project.proxy.registry.digest("me/womm-image", project.tag)
    assert project.run_in_image("tool") == b"from the tool: fast\n"
    assert project.written["base"] == project.base
    recipe = (project.folder / ".womm.d/Dockerfile").read_text()
    assert f"RUN {install}" in recipe or "# " in recipe
    assert 'ENV MODE="fast"' in recipe
    assert project.record.image == ""


def test_configuration_is_the_bases_but_for_env_and_labels(project: Project, bases: Bases) -> None:
    text = f"FROM {bases.debian()}\n" + "\n".join(CONFIGURED) + "\n"
    configured = replace(project, base=bases.built("debian-configured", text))
    result = configured.setup("--run", "touch /made", "--env", "MODE=fast")
    assert result.status == 0, result.err
    assert "has volumes, and no image keeps what you put there: /data\n" in result.err
    before, after = (configured.inspect(name)["Config"] for name in (configured.base, configured.image))
    env, labels = after.pop("Env"), after.pop("Labels")
    old_env, old_labels = before.pop("Env"), before.pop("Labels")
    for config in (before, after):
        for key in ("NetworkDisabled", "Image", "Hostname", "Domainname"):  # of no meaning in an image
            config.pop(key, None)
    assert after == before
    assert sorted(env) == sorted([*old_env, "MODE=fast"])
    own = {key: value for key, value in labels.items() if key not in old_labels}
    assert own.pop("womm.version")
    assert own == {
        "womm.testbed": "",
        "org.opencontainers.image.title": "proj",
        "org.opencontainers.image.base.name": configured.base,
    }


def test_second_setup_goes_on_from_the_image_and_pushes_its_own_change_alone(project: Project) -> None:
    size = count(MB, 10 * MB)
    blob = project.folder / "blob"
    if size > MB:  # an image of 1 GB
        blob.write_bytes(os.urandom(1000 * MB))
        set_up(project, "--run", "cp blob /blob0", "--env", "MODE=fast")
    else:
        set_up(project, "--run", "echo 1 >/first", "--env", "MODE=fast")
    (project.folder / ".womm").write_text((project.folder / ".womm").read_text() + "# mine\n")
    project.accept()
    first, before = project.image, project.proxy.uploaded
    blob.write_bytes(os.urandom(size))
    set_up(project, "--run", "cp blob /blob")
    assert size < project.proxy.uploaded - before < size * 1.02 + 20_000
    assert project.image != first
    assert project.run_in_image("wc -c </blob; echo $MODE") == b"%d\nfast\n" % size
    assert (project.folder / ".womm").read_text().endswith("# mine\n")


def test_nothing_changed_pushes_nothing_and_writes_the_same(project: Project) -> None:
    set_up(project, "--run", "touch /made", "--env", "MODE=fast")
    before = (project.folder / ".womm").read_bytes()
    recipe = (project.folder / ".womm.d/Dockerfile").read_bytes()
    project.proxy.requests.clear()
    begun = time.monotonic()
    result = project.setup("--env", "MODE=fast")
    print(f"nothing changed: {time.monotonic() - begun:.2f} s")
    assert result.status == 0, result.err
    assert "nothing has changed: the image stays" in result.err
    assert {method for method, _ in project.proxy.requests} <= {"GET", "HEAD"}
    assert (project.folder / ".womm").read_bytes() == before
    assert (project.folder / ".womm.d/Dockerfile").read_bytes() == recipe


def test_base_that_no_registry_has_is_pushed_as_it_is(project: Project) -> None:
    set_up(project)
    assert project.image.startswith(f"{project.prefix}womm-image:{project.tag}@sha256:")
    assert project.inspect(project.image)["Id"] == project.inspect(project.base)["Id"]
    assert not (project.folder / ".womm.d").exists()


def test_base_of_a_registry_is_named_by_its_digest_and_nothing_is_pushed(project: Project) -> None:
    name = f"{project.proxy.host}/bases/debian"
    with project.client() as client:
        client.images.get(project.base).tag(name, "12")
        list(client.images.push(name, "12", stream=True))
        client.images.remove(f"{name}:12")
    project.proxy.requests.clear()
    set_up(replace(project, base=f"{name}:12"))
    digest = project.proxy.registry.digest("bases/debian", "12")
    assert (project.image, project.written["base"]) == (f"{name}:12@{digest}", f"{name}:12")
    assert not project.proxy.pushed()


def test_dockerfile_is_built_and_pushed(project: Project) -> None:
    (project.folder / "Dockerfile").write_text(
        f"FROM {project.base}\nCOPY tool /usr/local/bin/\nENV MODE=fast\n"
    )
    tool = project.folder / "tool"
    tool.write_text(TOOL)
    tool.chmod(0o755)
    words = ["--share", "none", "--prefix", project.prefix, "--dockerfile", "Dockerfile", "--yes"]
    result = project.womm("setup", *words)
    assert result.status == 0, result.err
    assert project.run_in_image("tool") == b"from the tool: fast\n"
    assert "base" not in project.written


def test_dockerfile_whose_image_must_not_be_pushed_is_told_in_a_line(project: Project, bases: Bases) -> None:
    token = "ghp_" + os.urandom(18).hex()
    for content, said in (
        (f"FROM {bases.busybox()}\n", "workers need perl"),
        (f"FROM {project.base}\nENV DEPLOY_TOKEN={token}\n", "1 thing looks like a secret"),
    ):
        (project.folder / "Dockerfile").write_text(content)
        words = ["--share", "none", "--prefix", project.prefix, "--dockerfile", "Dockerfile", "--yes"]
        result = project.womm("setup", *words)
        assert result.status == 254
        assert said in result.err
        assert token not in result.err
        assert project.left() == NOTHING
        assert project.proxy.pushed() == []


# ---- failures


def failed(project: Project, *words: str) -> str:
    """Return what a setup that fails says: no traceback, a message and a hint."""
    result = project.setup(*words)
    assert (result.status, result.out) == (254, ""), result.err
    assert "Traceback" not in result.err
    assert not (project.folder / ".womm").exists()
    return result.err


@pytest.mark.parametrize(
    ("status", "told"),
    [(401, "wants a login"), (403, "no right to push there")],
)
def test_registry_that_refuses_keeps_the_image_for_the_next_setup(
    project: Project, status: int, told: str
) -> None:
    project.proxy.refuse("POST", status)
    said = failed(project, "--run", "echo kept >/kept")
    assert told in said
    assert "womm: the image is kept here as" in said
    assert project.left() == NOTHING
    project.proxy.answers.clear()
    again = project.setup()
    assert again.status == 0, again.err
    assert "an earlier setup did not finish with its image" in again.err
    assert project.run_in_image("cat /kept") == b"kept\n"
    assert "kept" in (project.folder / ".womm.d/Dockerfile").read_text()


@pytest.mark.soak  # docker tries for a minute
def test_push_that_breaks_off_goes_on_with_the_next_setup(project: Project) -> None:
    (project.folder / "blob").write_bytes(os.urandom(3 * MB))
    project.proxy.refuse("PATCH", 404, UNKNOWN)
    said = failed(project, "--run", "cp blob /blob")
    assert "womm: the image is kept here as" in said
    project.proxy.answers.clear()
    set_up(project)
    assert project.run_in_image("wc -c </blob") == b"3000000\n"


def test_registry_that_is_away_is_told_in_a_line(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        prefix = f"127.0.0.1:{taken.getsockname()[1]}/me/"
        result = project.womm("setup", "--share", "none", "--base", project.base, "--prefix", prefix, "--yes")
    assert result.status == 254
    assert "cannot be reached" in result.err
    set_up(project)  # with another prefix


def test_bases_that_do_not_do_are_told_in_a_line(project: Project, bases: Bases) -> None:
    for base, told in (
        (f"{project.proxy.host}/none:1", "there is no such image"),
        (bases.foreign(), "does not run here: it is for linux/arm64"),
        (bases.without_shell(), "has no shell (sh)"),
    ):
        assert told in failed(replace(project, base=base))
        assert project.left() == NOTHING


def test_command_that_fails_is_named_and_leaves_nothing(project: Project) -> None:
    said = failed(project, "--run", "touch /made", "--run", "exit 7", "--run", "touch /never")
    assert "the command has ended with status 7: exit 7\n" in said
    assert project.left() == NOTHING
    assert project.record == type(project.record)()


def test_container_that_somebody_removes_is_told_in_a_line(project: Project) -> None:
    process = project.start("--run", "echo begun >begun; sleep 600")
    wait_for_file(project.folder / "begun")
    with project.client() as client:
        (container,) = client.containers.list()
        container.remove(force=True, v=True)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 254, err
    assert "is gone" in err or "has stopped" in err
    set_up(project, "--run", "touch /made")


def test_engine_that_goes_away_is_told_in_a_line(project: Project) -> None:
    with wire(project.runtime, project.docker.host) as leading:
        process = project.start("--run", "echo begun >begun; sleep 600", DOCKER_HOST=leading.host)
        wait_for_file(project.folder / "begun")
        leading.cut()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 254, err
    assert "gone" in err
    assert "Traceback" not in err
    set_up(project, "--run", "touch /made")  # it finds the container by its label


@pytest.mark.soak
def test_full_disk_of_the_engine_is_told_in_a_line(project: Project) -> None:
    with dockerd.running(disk="600m") as small:
        base = Bases(small).debian()
        there = replace(project, base=base, docker=small)
        # A commit needs the room of the change once more.
        result = there.setup("--run", "head -c 230M /dev/zero >/big", DOCKER_HOST=small.host)
        assert result.status == 254
        assert "the disk of the container engine is full" in result.err
        assert "Traceback" not in result.err
        assert there.left() == NOTHING
        again = there.setup("--run", "touch /made", DOCKER_HOST=small.host)
        assert again.status == 0, again.err


def test_womm_file_that_changes_meanwhile_stays_as_it_is(project: Project) -> None:
    set_up(project, "--run", "touch /made")
    before = (project.folder / ".womm").read_bytes()
    result = project.setup("--run", "echo '# mine' >>.womm; touch /more")
    assert result.status == 254
    assert ".womm has changed while womm setup worked" in result.err
    assert (project.folder / ".womm").read_bytes() == before + b"# mine\n"
    project.accept()
    set_up(project)
    assert b"# mine" in (project.folder / ".womm").read_bytes()
    assert project.run_in_image("ls /made /more") == b"/made\n/more\n"


# ---- Ctrl-C


def interrupted(process: "subprocess.Popen[str]") -> str:
    """Type Ctrl-C; return what womm says. Python misses one that comes just before it waits, so again."""
    for _ in range(4):
        os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=20)[1]
    raise AssertionError("womm does not hear of Ctrl-C")


def test_ctrl_c_in_a_command_leaves_nothing(project: Project) -> None:
    process = project.start("--run", "echo begun >begun; sleep 600")
    wait_for_file(project.folder / "begun")
    err = interrupted(process)
    assert process.returncode == 130, err
    assert err.endswith("womm: interrupted\n")
    assert project.left() == NOTHING


def test_ctrl_c_in_a_push_keeps_the_image(project: Project) -> None:
    project.proxy.hold_after(1)
    (project.folder / "blob").write_bytes(os.urandom(3 * MB))
    process = project.start("--run", "cp blob /blob")
    project.proxy.wait_for(1)
    err = interrupted(process)
    assert process.returncode == 130, err
    assert "womm: the image is kept here as" in err
    assert project.left() == NOTHING
    project.proxy.go_on()
    set_up(project)
    assert project.run_in_image("wc -c </blob") == b"3000000\n"


def test_ctrl_c_at_a_question_keeps_the_testbed(project: Project) -> None:
    with project.dialogue() as child:
        child.sendline("touch /made; export MODE=fast")
        child.expect_exact("testbed:")
        child.sendline("exit")
        child.expect_exact("Does it work? y/n")
        child.sendcontrol("c")
        child.expect_exact("stays: the next womm setup goes on in it")
        child.wait()
        assert child.exitstatus == 130
    assert "status 7" in failed(project, "--run", "exit 7")
    assert len(project.left()["containers"]) == 1
    result = project.setup()
    assert result.status == 0, result.err
    assert "this one goes on in it" in result.err
    assert project.run_in_image("ls /made; echo $MODE") == b"/made\nfast\n"


def wait_for_file(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"no {path}"
        time.sleep(0.02)

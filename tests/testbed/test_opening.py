"""How a testbed comes and goes: mounts, network, a killed setup's container, and all that can be wrong."""

import json
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.image.bases import PATH, busybox_layer
from tests.soak import count
from womm.errors import ImageError
from womm.image.bases import LABEL, find
from womm.image.commit import commit, labels
from womm.image.daemon import connect
from womm.image.endpoint import Endpoint
from womm.image.progress import Progress
from womm.testbed import leftovers
from womm.testbed.container import Change
from womm.testbed.opening import opened
from womm.testbed.state import State

pytestmark = pytest.mark.slow


def test_testbed_has_the_folder_at_its_own_path_and_the_shells_files_outside_the_image(beds):
    (beds.project / "seen").write_text("by both")
    (beds.state.shared / "rc").write_text("of the shell")
    with beds.open() as testbed:
        assert testbed.folder == beds.project
        assert testbed.run(["cat", "seen"], cwd=str(beds.project)).out == b"by both"
        assert testbed.run(["cat", "/dev/womm/rc"]).out == b"of the shell"
        testbed.run(["touch", "/dev/womm/history"])
        assert testbed.changes() == []
    assert beds.state.history.exists()


@pytest.mark.parametrize("tried", [False, True])
def test_host_root_is_at_mnt_where_the_engine_can_mount_it_else_there_is_a_word(beds, tried):
    """tried: womm believes that the engine can, and the engine refuses where / is not shared."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    is_shared = any(line.split()[4] == "/" and " shared:" in line for line in mounts)
    can = is_shared and (tried or beds.daemon.can_mount_host)
    daemon = replace(beds.daemon, can_mount_host=tried or beds.daemon.can_mount_host)
    with beds.open(daemon=daemon) as testbed:
        assert (testbed.run(["test", "-d", "/mnt/proc"]).status == 0) == can
        assert testbed.run(["touch", "/mnt/womm-test"]).status != 0
        assert testbed.changes() == []
    assert [line.startswith("the testbed has no /mnt: docker") for line in beds.said] == [True] * (not can)


def test_volumes_of_the_image_go_with_the_testbed(beds):
    before = beds.volumes()
    with beds.open(beds.bases.configured()):
        assert len(beds.volumes()) == len(before) + 1
    assert beds.volumes() == before


def test_testbed_goes_when_the_block_fails(beds):
    with pytest.raises(KeyboardInterrupt), beds.open():
        raise KeyboardInterrupt
    assert beds.containers() == []


def test_kept_testbed_is_gone_on_in_with_its_changes(beds):
    with beds.open() as testbed:
        testbed.run(["touch", "/made"])
        testbed.keep()
    assert beds.containers() == [testbed.name]
    beds.daemon.client.api.stop(testbed.name)  # as at a restart of the machine
    with beds.open() as again:
        assert again.name == testbed.name
        assert again.run(["test", "-e", "/made"]).status == 0


def test_testbed_of_a_killed_setup_is_gone_on_in_and_removed_at_the_end(beds):
    name = beds.killed("echo work > /made")
    with beds.open() as testbed:
        assert testbed.name == name
        assert testbed.run(["cat", "/made"]).out == b"work\n"
    assert f"an interrupted setup left the testbed {name}: this one goes on in it" in beds.said


def test_testbed_of_a_killed_setup_that_was_of_another_image_is_removed(beds):
    name = beds.killed()
    with beds.open(beds.bases.configured()) as testbed:
        assert testbed.name != name
        assert beds.containers() == [testbed.name]
    assert [line for line in beds.said if line.startswith(f"{name} is removed")]


def test_network_of_the_setting_is_used_and_a_killed_setups_is_kept_with_a_word(beds):
    name = beds.killed()
    with beds.open(network="host"):
        pass
    assert [line for line in beds.said if line.startswith("its network stays") and name in line]
    with beds.open(network="host") as testbed:
        found = beds.daemon.client.api.inspect_container(testbed.id)
        assert found["HostConfig"]["NetworkMode"] == "host"


def test_network_that_does_not_exist_is_one_line_that_names_the_setting(beds):
    with pytest.raises(ImageError) as refused, beds.open(network="no-such"):
        pass
    assert refused.value.message == "docker has no network no-such, which testbed-network names"
    assert refused.value.hint == "docker network ls"


def test_image_without_a_shell_is_one_line_and_what_to_do(beds):
    name = beds.bases.without_shell()
    with pytest.raises(ImageError) as refused, beds.open(name):
        pass
    assert refused.value.message == f"{name} has no shell (sh), which the testbed and every job need"
    assert "--base debian:12" in (refused.value.hint or "")


def test_image_of_another_architecture_is_one_line_that_names_both(beds):
    name = beds.bases.foreign()
    with pytest.raises(ImageError) as refused, beds.open(name):
        pass
    assert refused.value.message.startswith(
        f"{name} does not run here: it is for linux/arm64, and docker has"
    )


def test_engine_on_another_machine_gives_a_testbed_without_a_folder(beds):
    with beds.open(daemon=replace(beds.daemon, is_remote=True)) as testbed:
        assert testbed.folder is None
        assert not testbed.has_shell_folder
        assert testbed.run(["ls", "/dev/womm"]).status != 0
        assert testbed.run(["ls", str(beds.project)]).status != 0
    assert "the testbed does not have this folder" in beds.said[0]


@pytest.mark.parametrize("folder", ["/", "/usr"])
def test_folder_that_would_hide_the_images_programs_is_refused(beds, folder):
    state = State(Path(folder), beds.state.folder)
    with (
        pytest.raises(ImageError, match="at its own path"),
        opened(beds.daemon, beds.base(), state, say=beds.said.append),
    ):
        pass


def test_containers_that_are_not_womms_are_never_touched(beds):
    """One of an image of ours, one with our label and another name, one with our name and no label."""
    api = beds.daemon.client.api
    name = leftovers.name_of(beds.state.hash, "0123")
    command = ["sleep", "60"]
    theirs = [
        api.create_container(beds.bases.busybox(), command, labels={LABEL: ""}),
        api.create_container(beds.bases.busybox(), command, labels={LABEL: name}),
        api.create_container(beds.bases.busybox(), command, name=name),
    ]
    try:
        beds.killed()
        with beds.open():
            pass
        listed = {one["Id"] for one in api.containers(all=True)}
        assert {one["Id"] for one in theirs} <= listed
    finally:
        for one in theirs:
            api.remove_container(one["Id"], force=True)


def test_testbed_and_its_image_are_the_same_by_podman(own_podman, womm_home, tmp_path, capfd):
    said: list[str] = []
    with connect("podman", endpoints=[Endpoint(own_podman, "DOCKER_HOST")]) as daemon:
        api = daemon.client.api
        changes = [
            f"ENV {PATH}",
            'ENTRYPOINT ["/bin/echo", "a b"]',
            'CMD ["c"]',
            "LABEL a=b",
            "WORKDIR /work",
        ]
        made = json.loads(api.import_image_from_data(busybox_layer(), changes=changes))
        api.tag(made["id"], "localhost/podman-base", "1")
        base, state = find(daemon, "localhost/podman-base:1", Progress(said.append)), State.of(tmp_path)
        with state.locked(), opened(daemon, base, state, say=said.append) as testbed:
            found = testbed.run(
                ["sh", "-c", "id -u; pwd; cat; exit 3"], stdin=b"x" * 300_000, cwd=str(tmp_path)
            )
            assert (found.status, found.out) == (3, f"0\n{tmp_path}\n".encode() + b"x" * 300_000)
            assert testbed.run(["no-such-program"]).status == 127
            assert testbed.stream(["sh", "-c", "echo one; echo two >&2"]) == 0
            assert testbed.changes() == []
            testbed.run(["touch", "/new"])
            assert testbed.changes() == [Change("A", "/new")]
            values = {"MODE": "a 'b' \"c\" $HOME", "QUOTED": '"x"'}
            commit(
                daemon,
                testbed.id,
                base,
                "localhost/podman-made:1",
                variables=values,
                labels=labels(base, "my project"),
                comment=testbed.name,
            )
        again = find(daemon, "localhost/podman-made:1", Progress(said.append))
        assert (again.is_ours, again.name, again.digest) == (True, "localhost/podman-base:1", "")
        same = ("User", "Entrypoint", "Cmd", "WorkingDir", "Volumes")
        assert [again.config[name] for name in same] == [base.config[name] for name in same]
        env = dict(entry.split("=", 1) for entry in again.config["Env"])
        assert env.items() >= {**values, "PATH": PATH.removeprefix("PATH=")}.items()
        assert again.config["Labels"].items() >= {"a": "b", LABEL: ""}.items()
        assert api.containers(all=True) == []
    assert capfd.readouterr().err == "one\ntwo\n"


def test_kill_at_any_instant_leaves_nothing_after_the_next_setup(beds):
    tag, images = "womm-test-killed", beds.daemon.client.images
    chance = random.Random(16)
    for _ in range(count(2, 50)):
        with beds.child("head -c 1000 /dev/urandom > /made", tag=tag) as child:
            time.sleep(chance.uniform(0.2, 1.6))
            child.send_signal(signal.SIGKILL)
        with beds.open():
            pass
        assert beds.containers() == []
    for image in images.list(tag):
        images.remove(image.id, noprune=True)

"""Programs in a testbed: their bytes, their status, and a container or an engine that goes away."""

import json
import os
import select

import pytest

from tests.image.sockets import wire
from womm.errors import ImageError
from womm.image.daemon import connect
from womm.image.endpoint import Endpoint
from womm.testbed.container import Change

pytestmark = pytest.mark.slow


def test_run_gives_status_output_and_errors_apart(testbed):
    found = testbed.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert (found.status, found.out, found.err) == (7, b"out\n", b"err\n")


def test_run_passes_more_input_and_output_than_any_pipe_holds(testbed):
    data = os.urandom(3 << 20)
    assert testbed.run(["cat"], stdin=data).out == data
    assert testbed.run(["sh", "-c", "exec cat <&-; exit 3"], stdin=data).status != 0  # it reads nothing
    assert testbed.run(["sh", "-c", "exit 3"], stdin=data).status == 3


def test_first_bytes_of_short_programs_are_never_lost(testbed):
    """They may come together with the headers of the answer."""
    for number in range(10):
        assert testbed.run(["echo", str(number)]).out == f"{number}\n".encode()


def test_output_comes_in_pieces_as_it_is_written(testbed):
    sizes = []
    finished = testbed.output(["head", "-c", "30000000", "/dev/zero"], lambda data: sizes.append(len(data)))
    assert finished.status == 0
    assert sum(sizes) == 30_000_000
    assert max(sizes) <= 65536


def test_program_that_is_not_there_is_a_status_as_in_a_shell(testbed):
    found = testbed.run(["no-such-program"])
    assert (found.status in {126, 127}, found.out, b"no-such-program" in found.err) == (True, b"", True)
    assert testbed.run(["true"], cwd="/no/such/folder").status in {126, 127}


def test_programs_are_roots_whatever_user_the_image_names(beds):
    with beds.open(beds.bases.configured()) as testbed:
        script = 'id -u; pwd; echo "$GREETING/$MODE"; echo x > made-by-root'
        found = testbed.run(["sh", "-c", script], env={"MODE": "a b=c"}, cwd=str(beds.project))
        assert found.out.decode().split("\n") == ["0", str(beds.project), "hello  world/a b=c", ""]
        assert testbed.base.volumes == ("/data",)
    assert (beds.project / "made-by-root").read_text() == "x\n"


def test_proxies_of_dockers_configuration_are_there_and_do_not_get_into_the_image(beds, tmp_path):
    config = tmp_path / "docker-config" / "config.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"proxies": {"default": {"httpProxy": "http://name:word@proxy:3128"}}}))
    endpoints = [Endpoint(beds.daemon.host, "DOCKER_HOST")]
    with connect("docker", endpoints=endpoints) as daemon, beds.open(daemon=daemon) as testbed:
        assert testbed.run(["sh", "-c", "echo $http_proxy"]).out == b"http://name:word@proxy:3128\n"
        assert "3128" not in json.dumps(daemon.client.api.inspect_container(testbed.id))


def test_stream_shows_both_outputs_on_stderr_as_they_come(testbed, capfd):
    assert testbed.stream(["sh", "-c", "echo one; echo two >&2; printf three; exit 5"]) == 5
    assert capfd.readouterr() == ("", "one\ntwo\nthree")


def test_status_waits_for_a_program_that_has_closed_its_output(testbed):
    assert testbed.run(["sh", "-c", "exec >&- 2>&-; sleep 0.3; exit 9"]).status == 9


def test_changes_are_what_the_user_did_without_mount_points(testbed):
    assert testbed.changes() == []
    testbed.run(["sh", "-c", "mkdir /opt; echo a > /opt/new; rm /etc/os-release; chmod 700 /work"])
    found = testbed.changes()
    expected = {("A", "/opt"), ("A", "/opt/new"), ("C", "/etc"), ("D", "/etc/os-release"), ("C", "/work")}
    assert set(found) == {Change(kind, path) for kind, path in expected}


def test_container_that_is_removed_under_us_is_one_line(beds):
    with beds.open() as testbed, testbed.start(["sh", "-c", "echo up; sleep 60"]) as process:
        while not process.read():
            select.select([process], [], [])
        beds.daemon.client.api.remove_container(testbed.id, force=True)
        process.pump(b"", lambda *_: None)
        for fails in (process.wait, testbed.changes, lambda: testbed.run(["true"])):
            with pytest.raises(ImageError, match="is gone: another program has removed it") as gone:
                fails()
            assert testbed.name in gone.value.message and "\n" not in gone.value.message


def test_container_that_is_stopped_under_a_command_is_one_line(beds):
    with beds.open() as testbed:
        with pytest.raises(ImageError, match="has stopped"):
            testbed.output(
                ["sh", "-c", "echo up; sleep 60"], lambda _: beds.daemon.client.api.kill(testbed.id)
            )
        with pytest.raises(ImageError, match="has stopped"):
            testbed.run(["true"])


def test_engine_that_goes_away_is_one_line_and_the_next_setup_goes_on(beds, place):
    with wire(place, beds.daemon.host) as engine:
        endpoints = [Endpoint(engine.host, "DOCKER_HOST")]
        with connect("docker", endpoints=endpoints) as daemon:
            with (
                pytest.raises(ImageError, match="the container engine has gone away") as gone,
                beds.open(daemon=daemon) as testbed,
            ):
                testbed.run(["touch", "/made"])
                with testbed.start(["sleep", "60"]) as process:
                    engine.cut()
                    process.pump(b"", lambda *_: None)
                    process.wait()
            assert "\n" not in gone.value.message
    assert "may stay until the next womm setup" in beds.said[-1]
    assert beds.containers() == [testbed.name]
    with beds.open() as again:
        assert again.name == testbed.name
        assert again.run(["test", "-e", "/made"]).status == 0

"""The cheap look for a container engine."""

import json
import socket

import pytest

from womm.setup.nearby import may_be_there


@pytest.fixture
def engine(place):
    """The address of a socket at which somebody listens."""
    with socket.socket(socket.AF_UNIX) as listener:
        path = place / "engine.sock"
        listener.bind(str(path))
        listener.listen()
        yield path


def test_engine_of_the_environment_is_there_only_while_it_listens(engine, place):
    assert may_be_there({"DOCKER_HOST": f"unix://{engine}"}, 1000)
    assert not may_be_there({"DOCKER_HOST": f"unix://{place}/none"}, 1000)
    engine.unlink()
    engine.touch()
    assert not may_be_there({"DOCKER_HOST": f"unix://{engine}"}, 1000)


def test_engine_on_the_network_may_be_there(womm_home):
    assert may_be_there({"DOCKER_HOST": "tcp://192.0.2.1:2375"}, 1000)
    assert may_be_there({"DOCKER_CONTEXT": "lab"}, 1000)


def test_engine_of_a_context_may_be_there(womm_home):
    folder = womm_home.home / ".docker"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"currentContext": "lab"}))
    assert may_be_there({}, 1000)
    (folder / "config.json").write_text("{")
    assert may_be_there({}, 1000)


def test_rootless_engine_is_found_in_the_runtime_folder(womm_home, engine):
    engine.rename(engine.with_name("docker.sock"))
    assert may_be_there({"XDG_RUNTIME_DIR": str(engine.parent)}, 1000)

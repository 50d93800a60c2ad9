"""Requests whose answer is a stream of events, and how such a stream ends early."""

import pytest

from tests.image import sockets
from tests.image.registry import Proxy
from womm.errors import ImageError
from womm.image.daemon import connect
from womm.image.endpoint import Endpoint
from womm.image.stream import error_of, events


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"error": "short", "errorDetail": {"message": "long"}}, "long"),
        ({"error": "short"}, "short"),
        ({"errorDetail": "strange", "error": "short"}, "short"),
        ({"status": "Pushed"}, ""),
    ],
)
def test_error_of_an_event_is_found(event, error):
    assert error_of(event) == error


@pytest.mark.slow
def test_request_that_is_refused_gives_its_error_as_an_event(daemon):
    with events(daemon, "/images/none/push", "x cannot be pushed", params={"tag": "1"}) as stream:
        found = [error_of(event) for event in stream]
    assert len(found) == 1 and "X-Registry-Auth" in found[0]


@pytest.mark.slow
def test_engine_that_dies_within_a_stream_is_told(own_docker, place, proxy: Proxy, pusher):
    repository = pusher.image(proxy.host, 1_000_000)
    proxy.hold_after(500_000)
    with (
        sockets.wire(place, own_docker.host) as wire,
        connect("docker", endpoints=[Endpoint(wire.host, "DOCKER_HOST")]) as daemon,
        pytest.raises(ImageError, match="x cannot be pushed: the container engine has gone away"),
        events(
            daemon,
            f"/images/{repository}/push",
            "x cannot be pushed",
            params={"tag": "1"},
            headers={"X-Registry-Auth": "e30="},
        ) as stream,
    ):
        for event in stream:
            if event.get("status") == "Pushing":
                wire.cut()

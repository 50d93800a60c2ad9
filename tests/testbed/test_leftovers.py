"""What a killed setup leaves in the engine, and what only looks like it."""

import pytest

from womm.image.commit import commit, labels
from womm.testbed import leftovers
from womm.testbed.state import Record

pytestmark = pytest.mark.slow


def test_sweep_removes_a_killed_setups_container_and_leaves_another_projects(beds):
    name = beds.killed()
    leftovers.sweep(beds.daemon, "00000000", beds.said.append)
    assert (beds.containers(), beds.said) == ([name], [])
    leftovers.sweep(beds.daemon, beds.state.hash, beds.said.append)
    assert beds.containers() == []
    assert beds.said == [f"{name} is removed: an interrupted setup left it"]
    beds.state.save(Record())


def test_sweep_removes_an_image_of_ours_without_a_tag_and_leaves_the_users_own(beds):
    """The user's is made of a container of our image, so it has our labels."""
    api, base = beds.daemon.client.api, beds.base()
    with beds.open() as testbed:
        testbed.run(["touch", "/ours"])
        options = {"variables": {}, "labels": labels(base, "x"), "comment": testbed.name}
        ours = commit(beds.daemon, testbed.id, base, "womm-test-swept:1", **options)
    container = api.create_container("womm-test-swept:1", ["true"])["Id"]
    theirs = api.commit(container)["Id"]
    api.remove_container(container)
    api.remove_image("womm-test-swept:1", noprune=True, force=True)
    assert theirs in beds.dangling()
    leftovers.sweep(beds.daemon, beds.state.hash, beds.said.append)
    assert theirs in beds.dangling()
    api.remove_image(theirs, noprune=True)
    leftovers.sweep(beds.daemon, "00000000", beds.said.append)
    assert ours in beds.dangling()
    leftovers.sweep(beds.daemon, beds.state.hash, beds.said.append)
    assert ours not in beds.dangling()

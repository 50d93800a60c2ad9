"""A commit keeps the base's configuration, whatever the testbed's container runs."""

from collections.abc import Iterator

import pytest

import womm
from womm.errors import ImageError
from womm.image.bases import BASE_DIGEST, BASE_NAME, LABEL, find, inspect
from womm.image.commit import COMMENT, commit, holder, labels
from womm.image.progress import Progress

pytestmark = pytest.mark.slow
REPOSITORY = "womm-test-commit"


class Committer:
    """Makes containers as testbeds are made, and images of them."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.containers = []

    def base(self, name):
        return find(self.daemon, name, Progress(print))

    def inspect(self, image_id):
        return self.daemon.client.api.inspect_image(image_id)

    def container(self, base):
        config = {"Image": base.id, "Labels": {LABEL: "womm-testbed-x"}, **holder(base)}
        if base.config.get("Healthcheck"):
            config["Healthcheck"] = {"Test": ["NONE"]}
        made = self.daemon.client.api.create_container_from_config(config)["Id"]
        self.containers.append(made)
        self.daemon.client.api.start(made)
        return made

    def commit(self, base, container=None, **variables):
        return commit(
            self.daemon,
            container or self.container(base),
            base,
            f"{REPOSITORY}:1",
            variables=variables,
            labels=labels(base, "my project"),
            comment="womm-testbed-x",
        )

    def remove_containers(self):
        while self.containers:
            self.daemon.client.api.remove_container(self.containers.pop(), v=True, force=True)


@pytest.fixture
def committer(daemon) -> Iterator[Committer]:
    found = Committer(daemon)
    yield found
    found.remove_containers()
    for image in daemon.client.images.list(REPOSITORY):
        daemon.client.images.remove(image.id, force=True)  # and the images without a tag that it has grown on
    assert not daemon.client.images.list(filters={"dangling": True})


def comparable(config):
    """A configuration without what a commit may change; no command and an empty one are the same."""
    left = {name: value for name, value in config.items() if name not in {"Env", "Labels"}}
    return left | {name: left.get(name) or None for name in ("Entrypoint", "Cmd")}


@pytest.mark.parametrize("name", ["plain", "busybox", "entrypoint", "configured", "debian"])
def test_config_is_the_bases_but_for_environment_and_labels(committer, bases, name):
    base = committer.base(getattr(bases, name)())
    made = committer.base(committer.commit(base, MODE="fast", GREETING="new $HOME 'x'"))
    assert comparable(made.config) == comparable(base.config)
    before = dict(entry.split("=", 1) for entry in base.config["Env"] or ())
    after = dict(entry.split("=", 1) for entry in made.config["Env"])
    assert after == {**before, "MODE": "fast", "GREETING": "new $HOME 'x'"}
    assert list(after)[: len(before)] == list(before)
    own = {BASE_NAME: base.name, LABEL: "", "womm.version": womm.__version__}
    own["org.opencontainers.image.title"] = "my project"
    own |= {BASE_DIGEST: base.digest} if base.digest else {}
    assert made.config["Labels"] == {**(base.config["Labels"] or {}), **own}


def test_second_edit_is_the_same_but_for_its_new_variable_and_goes_on_from_the_first(committer, bases):
    first = committer.base(committer.commit(committer.base(bases.configured()), MODE="fast"))
    second = committer.base(committer.commit(first, MORE="1"))
    assert comparable(second.config) == comparable(first.config)
    assert second.config["Env"] == [*first.config["Env"], "MORE=1"]
    assert (second.name, second.is_ours) == (bases.configured(), True)
    layers = [committer.inspect(one.id)["RootFS"]["Layers"] for one in (first, second)]
    assert layers[1][: len(layers[0])] == layers[0]


def test_commit_has_one_tag_and_the_testbeds_name_as_its_comment(committer, bases):
    found = committer.inspect(committer.commit(committer.base(bases.busybox())))
    assert found["RepoTags"] == [f"{REPOSITORY}:1"]
    assert found["Comment"] == f"{COMMENT}womm-testbed-x"


def test_image_that_loses_its_tag_goes_where_nobody_needs_it(committer, bases):
    first = committer.commit(committer.base(bases.busybox()))
    second = committer.commit(committer.base(bases.configured()))
    assert inspect(committer.daemon, first) is None
    user = committer.daemon.client.api.create_container(second, ["true"])["Id"]
    committer.containers.append(user)
    third = committer.commit(committer.base(bases.busybox()))
    assert inspect(committer.daemon, second) is not None  # a container of the user's has it
    committer.remove_containers()
    committer.daemon.client.images.remove(second, noprune=True)
    child = committer.commit(committer.base(third))
    assert inspect(committer.daemon, third) is not None  # the next one has grown on it
    assert committer.inspect(child)["Parent"] == third
    committer.remove_containers()
    committer.daemon.client.images.remove(child, noprune=True)
    committer.daemon.client.images.remove(third, noprune=True)


def test_image_of_the_users_that_loses_the_tag_stays(committer, bases):
    daemon, theirs = committer.daemon, bases.built("theirs", f"FROM {bases.busybox()}\nENV X=1\n")
    daemon.client.images.get(theirs).tag(REPOSITORY, "1")
    found = daemon.client.images.get(theirs).id
    daemon.client.images.remove(theirs, noprune=True)
    committer.commit(committer.base(bases.busybox()))
    assert inspect(daemon, found) is not None
    daemon.client.images.remove(found, noprune=True)


def test_commit_of_a_container_that_is_gone_is_one_line(committer, bases):
    base = committer.base(bases.busybox())
    with pytest.raises(ImageError, match=f"the testbed cannot be kept as {REPOSITORY}:1: No such container"):
        committer.commit(base, "0" * 64)

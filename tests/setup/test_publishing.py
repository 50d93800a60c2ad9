"""Names of images, and the comparison with the nodes."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from womm.errors import ImageError
from womm.image.bases import Base
from womm.image.daemon import Daemon
from womm.setup import publishing
from womm.testbed.state import State

BASE = Base(
    id="sha256:1",
    name="debian:12",
    digest="",
    config={},
    architecture="amd64",
    os="linux",
    volumes=(),
    is_ours=False,
)
DAEMON = Daemon(None, "docker", "1", "unix:///s", "tests", (1, 41), False, False, "amd64", False)


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("supercool", "supercool"),
        ("My project, 2nd", "My-project-2nd"),
        (".hidden", "hidden"),
        ("ÄÖ", "project"),
        ("x" * 200, "x" * 60),
        ("a\nb\udcff", "a-nb-xff"),
    ],
)
def test_tag_is_the_folders_name_made_safe_and_a_hash_of_its_path(womm_home, name: str, begins: str) -> None:
    found = publishing.target("registry.example.org/me/", State.of(Path("/home/me", name)))
    assert found.repository == "registry.example.org/me/womm-image"
    assert re.fullmatch(rf"{re.escape(begins)}-[0-9a-f]{{8}}", found.tag)
    assert found.tag != publishing.target("registry.example.org/me/", State.of(Path("/home/you", name))).tag
    assert len(found.tag) <= 128


def test_base_is_pinned_where_a_registry_has_it() -> None:
    @dataclass
    class Case:
        name: str
        digest: str
        pinned: str

    for case in (
        Case("debian:12", "", ""),
        Case("debian:12", "sha256:2", "debian:12@sha256:2"),
        Case("debian@sha256:2", "sha256:2", "debian@sha256:2"),
    ):
        assert publishing.pinned(_base(name=case.name, digest=case.digest)) == case.pinned


def test_image_for_other_nodes_is_refused_before_the_work() -> None:
    said: list[str] = []
    for nodes in (None, frozenset[str](), {"amd64"}):
        publishing.check_architecture(DAEMON, BASE, nodes, said.append)
    assert said == []
    publishing.check_architecture(DAEMON, BASE, {"amd64", "arm64"}, said.append)
    assert said == ["womm: debian:12 is for amd64: nodes of arm64 cannot run it"]
    with pytest.raises(ImageError, match="debian:12 is for amd64, and the nodes of the cluster are arm64"):
        publishing.check_architecture(DAEMON, BASE, {"arm64"}, said.append)


def _base(**changes: Any) -> Base:
    return replace(BASE, **changes)

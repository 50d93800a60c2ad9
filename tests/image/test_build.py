"""An image from the user's Dockerfile, by the engine's own builder."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from womm.errors import ImageError
from womm.image.bases import LABEL, inspect
from womm.image.build import build
from womm.image.daemon import Daemon
from womm.image.progress import Progress

pytestmark = pytest.mark.slow
REPOSITORY = "womm-test-build"


@dataclass
class Maker:
    """Builds Dockerfiles in a folder."""

    daemon: Daemon
    folder: Path
    said: list[str] = field(default_factory=list)

    def __call__(self, text, **options):
        (self.folder / "Dockerfile").write_text(text)
        options |= {"labels": {"org.example.of": "the test"}, "progress": Progress(self.said.append)}
        return build(self.daemon, self.folder / "Dockerfile", REPOSITORY, "1", **options)


@pytest.fixture
def make(daemon, tmp_path):
    yield Maker(daemon, tmp_path)
    for image in daemon.client.images.list(REPOSITORY):
        daemon.client.images.remove(image.id, force=True)
    daemon.client.images.prune({"dangling": True})


def test_image_is_built_with_our_labels_and_without_what_is_ignored(make, daemon, bases, tmp_path):
    for name in ("wanted", "unwanted"):
        (tmp_path / name).write_text(name)
    (tmp_path / ".dockerignore").write_text("# a comment\nunwanted\n")
    made = make(f"FROM {bases.busybox()}\nCOPY . /context\nRUN ls /context\n", network="none")
    found = daemon.client.api.inspect_image(made)
    assert found["RepoTags"] == [f"{REPOSITORY}:1"]
    assert found["Config"]["Labels"] == {"org.example.of": "the test", LABEL: ""}
    assert "wanted" in make.said and "unwanted" not in make.said
    assert found["Config"]["Cmd"] == ["sh"]


def test_image_of_the_build_before_goes(make, daemon, bases):
    first = make(f"FROM {bases.busybox()}\nENV X=1\n")
    second = make(f"FROM {bases.busybox()}\nENV X=2\n")
    assert inspect(daemon, first) is None
    assert make(f"FROM {bases.busybox()}\nENV X=2\n") == second


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("RUN false", "returned a non-zero code: 1"),
        ("NONSENSE", "unknown instruction: NONSENSE"),
        ("COPY missing /", "missing"),
    ],
)
def test_failure_is_one_line_with_the_builders_reason(make, bases, line, words):
    with pytest.raises(ImageError, match="Dockerfile cannot be built") as refused:
        make(f"FROM {bases.busybox()}\n{line}\n", network="none")
    assert words in refused.value.message and "\n" not in refused.value.message


def test_dockerfile_that_needs_buildkit_is_refused_with_the_command_that_builds_it(make, bases):
    with pytest.raises(ImageError, match="BuildKit") as refused:
        make(f"FROM {bases.busybox()}\nRUN --mount=type=cache,target=/x true\n")
    assert "docker build -t" in (refused.value.hint or "")


def test_dockerfile_that_is_not_there_is_one_line(daemon, tmp_path):
    with pytest.raises(ImageError, match=r"none cannot be built: .*/none cannot be read: No such file"):
        build(daemon, tmp_path / "none", REPOSITORY, "1", labels={}, progress=Progress(print))

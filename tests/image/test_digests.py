"""Digests of images: which are kept, and how long."""

import os
from pathlib import Path

import pytest

from womm.image.digests import ImageDigests

SHA = "sha256:" + "0a" * 32
OTHER = "sha256:" + "0b" * 32


@pytest.mark.parametrize(
    ("image", "image_id", "expected"),
    [
        ("python:3.13-slim", f"docker.io/library/python@{SHA}", f"python@{SHA}"),
        ("python", f"docker-pullable://python@{SHA}", f"python@{SHA}"),
        ("me/py:1", f"docker.io/me/py@{SHA}", f"me/py@{SHA}"),
        ("host:5000/py:1", f"host:5000/py@{SHA}", f"host:5000/py@{SHA}"),
        ("python:3.13", f"mirror.example/python@{SHA}", ""),
        ("python:3.13", SHA, ""),
        ("python:3.13", "docker.io/library/python@sha256:0a", ""),
        (f"python@{OTHER}", f"docker.io/library/python@{SHA}", ""),
    ],
)
def test_digest_of_the_same_repository_is_known_to_the_next_task(
    tmp_path: Path, image: str, image_id: str, expected: str
) -> None:
    ImageDigests(tmp_path / "digests").learn(image, image_id)
    assert ImageDigests(tmp_path / "digests").known(image) == expected
    assert ImageDigests(tmp_path / "digests").known(f"{image}x") == ""


def test_digest_holds_for_a_month_and_one_that_is_refused_is_not_learned_again(tmp_path: Path) -> None:
    digests, image_id = ImageDigests(tmp_path), f"docker.io/library/python@{SHA}"
    digests.learn("python:3", image_id)
    digests.learn("python:3", image_id.replace(SHA, OTHER))
    assert digests.known("python:3") == f"python@{SHA}"
    (kept,) = tmp_path.iterdir()
    os.utime(kept, (0, 0))
    assert digests.known("python:3") == ""
    digests.learn("python:3", image_id.replace(SHA, OTHER))
    assert digests.known("python:3") == f"python@{OTHER}"
    digests.refuse("python:3")
    digests.learn("python:3", image_id)
    assert digests.known("python:3") == ""

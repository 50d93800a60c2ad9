"""The digests that images have turned out to have, so that the next task gets the very same image.

One small file for each image's name. A digest holds for a month, so that a tag's newer images do come. One
that could not be pulled is kept as such for as long: a node may have the image by its tag alone.
"""

import hashlib
import logging
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

_HOLDS_S: Final = 30 * 86400.0
_DIGEST: Final = re.compile(r"(?:[a-z-]+://)?(\S+)@(sha256:[0-9a-f]{64})")
_KNOWN: Final = re.compile(r"sha256:[0-9a-f]{64}")
_REFUSED: Final = "refused"


class ImageDigests:
    """See womm.cluster.base.Digests. folder: None: nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def __repr__(self) -> str:
        return f"<ImageDigests {self._folder}>"

    def known(self, image: str) -> str:
        """Return the image by its digest; empty: none is known that can be pulled. Raises nothing."""
        digest = self._read(image)
        return f"{_name(image)}@{digest}" if _KNOWN.fullmatch(digest) else ""

    def learn(self, image: str, image_id: str) -> None:
        """Keep what a pod's status says of an image that was named by its tag (`imageID`)."""
        found = _DIGEST.fullmatch(image_id)
        is_same = found is not None and _repository(found[1]) == _repository(_name(image))
        if found is not None and is_same and "@" not in image and not self._read(image):
            self._write(image, found[2])

    def refuse(self, image: str) -> None:
        """Take note that the image cannot be pulled by its digest."""
        self._write(image, _REFUSED)

    def _read(self, image: str) -> str:
        with suppress(OSError, ValueError):
            if (path := self._path(image)) is not None and time.time() - path.stat().st_mtime < _HOLDS_S:
                return path.read_text("ascii").strip()
        return ""

    def _write(self, image: str, text: str) -> None:
        path = self._path(image)
        if path is None:
            return
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_text(text, "ascii")
        except OSError as exc:
            log.debug("the digest of %s is not kept: %s", image, exc)

    def _path(self, image: str) -> Path | None:
        name = hashlib.sha256(image.encode()).hexdigest()[:32]
        return self._folder / name if self._folder is not None else None


def _name(image: str) -> str:
    """Return an image's name without its tag."""
    above, slash, last = image.partition("@")[0].rpartition("/")
    return above + slash + last.partition(":")[0]


def _repository(name: str) -> str:
    """Return a name as nodes tell it: with its registry."""
    first, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    return name if {".", ":"} & set(first) or first == "localhost" else f"docker.io/{name}"

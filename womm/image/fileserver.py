"""The image of the file server: built from images/fileserver, pushed where the user may push.

womm looks for the image in the registry before it builds it. The tag names the contents, so the image of a
release is built once per registry, by the first user.
"""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

from womm.errors import ImageError
from womm.image import wheels
from womm.image.daemon import NOT_DONE, Daemon, connect, disk_full, failed, is_disk_full, shown
from womm.image.progress import Progress
from womm.image.push import digest_in_registry, push
from womm.image.stream import error_of

log = logging.getLogger(__name__)

NAME: Final = "womm-fileserver"
_HERE: Final = Path(__file__).parent
_RECIPES: Final = (_HERE / "recipes" / "fileserver", _HERE.parent.parent / "images" / "fileserver")
"""The recipe in an installed womm, and in a checkout."""
RECIPE: Final = ("Dockerfile", "unpack.py")
"""The files of the recipe. There may be others beside them: pip compiles the modules that it installs."""
_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_STAGE: Final = "womm.stage=fileserver"
"""The label of the recipe's first stage."""
_BY_HAND: Final = "name an image that is made already: womm setup --fileserver-image NAME"
Say: TypeAlias = Callable[[str], None]
Download: TypeAlias = Callable[[Path, str], None]
"""Puts wheels into a folder, for a machine type: see wheels.download."""


def provide(
    prefix: str,
    *,
    base: str = "",
    say: Say = log.info,
    progress: Progress | None = None,
    download: Download = wheels.download,
) -> str:
    """Return the file server's image in the registry that `prefix` (`REGISTRY/NAME/`) names, by digest.

    If the registry lacks the image, womm builds and pushes it. base: another image to build upon, with
    python3 and perl. progress: shows the push. download: puts the wheels into a folder. Raises ImageError.
    """
    repository = f"{prefix}{NAME}"
    name = f"{repository}:{wheels.tag()}"
    with connect("docker is needed for the file server's image", _BY_HAND) as daemon:
        digest = digest_in_registry(daemon, name)
        if digest is None:
            say(f"{name} is not in the registry: it is built and pushed")
            _build(daemon, name, base, download)
            digest = push(daemon, repository, wheels.tag(), progress or Progress(log.debug))
        return f"{repository}@{digest}"


@contextmanager
def context(machine: str, download: Download) -> Iterator[Path]:
    """Yield the folder from which docker builds the image: the recipe, and all wheels beside it."""
    with tempfile.TemporaryDirectory(prefix="womm-image-") as folder:
        place = Path(folder)
        for name in RECIPE:
            shutil.copy(_recipe() / name, place)
        (place / "wheels").mkdir()
        download(place / "wheels", machine)
        wheels.write_own(place / "wheels")
        yield place


def _recipe() -> Path:
    for folder in _RECIPES:
        if (folder / "Dockerfile").is_file():
            return folder
    raise ImageError("this womm has no recipe of the file server's image", "pip install --upgrade womm")


def _build(daemon: Daemon, name: str, base: str, download: Download) -> None:
    machine = _MACHINES.get(daemon.architecture, daemon.architecture)
    doing = f"{name} cannot be built"
    with context(machine, download) as folder:
        try:
            # Read the stream to its end even after an error: half a stream would keep its connection.
            lines = list(
                daemon.client.api.build(
                    path=str(folder),
                    tag=name,
                    buildargs={"BASE": base} if base else {},
                    network_mode="none",
                    rm=True,
                    forcerm=True,
                    decode=True,
                )
            )
        except NOT_DONE as exc:
            raise failed(doing, exc, f"docker info; {_BY_HAND}") from exc
    if why := next(filter(None, map(error_of, reversed(lines))), ""):
        log.debug("build: %s", lines)
        if is_disk_full(why):
            raise disk_full(doing)
        raise ImageError(f"{doing}: {shown(why)}", _BY_HAND)
    _remove_stages(daemon)


def _remove_stages(daemon: Daemon) -> None:
    """Remove the images of the recipe's first stage: docker's builder leaves them without a name."""
    with suppress(*NOT_DONE):
        for one in daemon.client.api.images(filters={"dangling": True, "label": _STAGE}):
            daemon.client.api.remove_image(one["Id"])

"""An image from the user's Dockerfile, by the engine's own builder.

The context is the Dockerfile's folder, without what its .dockerignore names. The builder is the one behind
docker's API: it has no BuildKit, so `RUN --mount` needs the docker command line (the message says how). The
layers of a failed build stay in the engine as its cache, as docker does it: the next build goes on there.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from docker.credentials.errors import StoreError
from docker.utils import tar

from womm import words
from womm.errors import ImageError
from womm.image.bases import LABEL, inspect
from womm.image.commit import remove_untagged
from womm.image.daemon import NOT_DONE, Daemon, disk_full, is_disk_full, shown
from womm.image.progress import Progress
from womm.image.stream import error_of, events

log = logging.getLogger(__name__)
_IGNORE: Final = ".dockerignore"


def build(
    daemon: Daemon,
    dockerfile: Path,
    repository: str,
    tag: str,
    *,
    labels: Mapping[str, str],
    progress: Progress,
    network: str = "",
) -> str:
    """Build an image, tag it, and return its id. Raises ImageError.

    The image that had the tag before goes if it is ours and nobody needs it. network: of the engine, for the
    commands of the Dockerfile; empty: the engine's default.
    """
    name, doing = f"{repository}:{tag}", f"{words.name(str(dockerfile))} cannot be built"
    before = inspect(daemon, name)
    params = {"t": name, "dockerfile": dockerfile.name, "rm": "1", "forcerm": "1"}
    params["labels"] = json.dumps({**labels, LABEL: ""})
    if network:
        params["networkmode"] = network
    if proxies := daemon.client.api._proxy_configs.get_environment():
        params["buildargs"] = json.dumps(proxies)  # the image does not get them
    headers = {"Content-Type": "application/x-tar", **_logins(daemon)}
    why = ""
    with (
        _context(dockerfile) as context,
        progress.watched(daemon.name),
        events(daemon, "/build", doing, params=params, headers=headers, data=context) as stream,
    ):
        for event in stream:
            progress.event(event)
            why = error_of(event) or why
    if why:
        raise _not_built(daemon, dockerfile, doing, why)
    found = inspect(daemon, name)
    if found is None:
        raise ImageError(
            f"{doing}: {daemon.name} does not say why", f"{daemon.name} build {dockerfile.parent}"
        )
    if before is not None and before["Id"] != found["Id"]:
        remove_untagged(daemon, str(before["Id"]))
    return str(found["Id"])


@contextmanager
def _context(dockerfile: Path) -> Iterator[IO[bytes]]:
    """Give the folder of a Dockerfile as a tar archive. Raises ImageError."""
    folder, name = dockerfile.absolute().parent, words.name(str(dockerfile))
    try:
        dockerfile.read_bytes()
        context = tar(str(folder), exclude=_excluded(folder), dockerfile=(dockerfile.name, None))
    except OSError as exc:
        found = exc.__cause__ if isinstance(exc.__cause__, OSError) else exc  # the library wraps it
        file = words.name(str(found.filename or dockerfile))
        ignore = f"; or name it in {words.name(str(folder / _IGNORE))}" if file != name else ""
        raise ImageError(
            f"{name} cannot be built: {file} cannot be read: {words.cause(found)}", f"ls -l {file}{ignore}"
        ) from exc
    with context:
        yield context


def _excluded(folder: Path) -> list[str]:
    try:
        lines = (folder / _IGNORE).read_text(errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return []
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _logins(daemon: Daemon) -> dict[str, str]:
    """Return the header with the logins of all registries: an image that FROM names may need one."""
    headers: dict[str, Any] = {}
    try:
        daemon.client.api._set_auth_headers(headers)
    except (*NOT_DONE, StoreError, ValueError) as exc:  # most images that FROM names are public
        log.debug("no logins for the build: %s", words.cause(exc))
    return {
        name: value.decode() if isinstance(value, bytes) else str(value) for name, value in headers.items()
    }


def _not_built(daemon: Daemon, dockerfile: Path, doing: str, why: str) -> ImageError:
    if is_disk_full(why):
        return disk_full(doing)
    # In words of docker: "the --mount option requires BuildKit".
    if "buildkit" in why.lower() and daemon.name == "docker":
        file, image = words.name(str(dockerfile)), "REGISTRY/NAME:1"
        by_hand = (
            f"docker build -t {image} -f {file} {words.name(str(dockerfile.parent))}; docker push {image}"
        )
        return ImageError(f"{doing}: {shown(why)}", f"{by_hand}; womm setup --image {image}")
    return ImageError(f"{doing}: {shown(why)}", f"mend {words.name(str(dockerfile))}; the same command again")

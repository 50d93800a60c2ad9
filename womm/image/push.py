"""Images to a registry and from it, by the engine.

Strategy: the engine pushes and pulls, so only layers that the registry lacks are sent. womm reads the stream
of events, shows it, and finds the errors in it. The digest of a push is the one that the engine tells, and
the registry is asked whether it has it. An engine may push an index of images for one platform (moby#51532):
`platforms` asks the registry what a name holds.
"""

import base64
import logging
import re
import warnings
from collections.abc import Mapping
from typing import Any, Final

import docker.auth
import docker.errors
from docker.credentials.errors import StoreError
from docker.utils import parse_repository_tag
from docker.utils.config import find_config_file

from womm import words
from womm.errors import ImageError
from womm.image.daemon import NOT_DONE, Daemon, failed, shown, words_of
from womm.image.progress import Progress
from womm.image.refusal import Doing, Request, is_absent, is_hidden, refused
from womm.image.stream import Event, error_of, events

log = logging.getLogger(__name__)

_NO_LOGIN: Final = base64.urlsafe_b64encode(b"{}").decode()
"""What docker wants in the header where there is no login."""
_TOLD: Final = re.compile(r"^\S+: digest: (sha256:[0-9a-f]{64}) size: ")


def pull(daemon: Daemon, name: str, progress: Progress) -> None:
    """Pull an image by its name, with a tag or a digest. Raises ImageError."""
    request = _request(daemon, Doing.PULL, name)
    repository, tag = parse_repository_tag(name)
    params = {"fromImage": repository, "tag": tag or "latest"}
    _run(daemon, request, "/images/create", params, progress)


def push(daemon: Daemon, repository: str, tag: str, progress: Progress) -> str:
    """Push an image; return the digest under which the registry has it. Raises ImageError.

    After an error or Ctrl-C the image here stays, and the next push sends only what is missing.
    """
    name = f"{repository}:{tag}"
    request = _request(daemon, Doing.PUSH, name)
    found = _run(daemon, request, f"/images/{repository}/push", {"tag": tag}, progress)
    digest = found or digest_in_registry(daemon, name)
    if not digest:
        raise ImageError(f"{request.failed}: {daemon.name} does not tell its digest", f"{daemon.name} info")
    if _is_missing(daemon, f"{repository}@{digest}"):
        told = f"{daemon.name} has pushed it, and {request.registry} does not have it"
        raise ImageError(f"{request.failed}: {told}", "the same command again")
    return digest


def digest_in_registry(daemon: Daemon, name: str) -> str | None:
    """Return the digest of an image in its registry; None: it is not there, or this user may not see it.

    podman before 6 cannot ask a registry: always None. Raises ImageError.
    """
    request = _request(daemon, Doing.LOOK, name)
    try:
        found = _distribution(daemon, name)
    except docker.errors.APIError as exc:
        # For an image that nobody has pushed yet registries answer "not found", "unauthorized" or "denied".
        if is_hidden(words_of(exc)) or daemon.name == "podman":
            return None
        raise refused(request, words_of(exc)) from exc
    except NOT_DONE as exc:
        raise failed(request.failed, exc) from exc
    descriptor = found.get("Descriptor") or {}
    return str(descriptor.get("digest") or "") or None


def platforms(daemon: Daemon, name: str) -> tuple[str, ...]:
    """Return what the registry has of an image: `linux/amd64`, `linux/arm64`; empty: nobody knows."""
    try:
        found = _distribution(daemon, name)
    except NOT_DONE as exc:
        log.debug("platforms of %s: %s", name, words_of(exc))
        return ()
    known = {
        f"{one.get('os')}/{one.get('architecture')}"
        for one in found.get("Platforms") or ()
        if one.get("architecture") not in {None, "", "unknown"}  # an attestation, beside the image
    }
    return tuple(sorted(known))


def _run(daemon: Daemon, request: Request, path: str, params: Mapping[str, str], progress: Progress) -> str:
    """Push or pull; return the digest that the engine tells; empty: none. Raises ImageError."""
    why = digest = ""
    with (
        progress.watched(request.registry),
        events(daemon, path, request.failed, params=params, headers=request.headers) as stream,
    ):
        for event in stream:
            progress.event(event)
            why = error_of(event)
            if why:
                break
            digest = _digest_of(event) or digest
    if why:
        raise refused(request, shown(why))
    return digest


def _digest_of(event: Event) -> str:
    """Return the digest that an event tells; empty: none. podman before 6 has it in its words only."""
    aux = event.get("aux")
    if isinstance(aux, Mapping) and aux.get("Digest"):
        return str(aux["Digest"])
    found = _TOLD.search(str(event.get("status") or ""))
    return found[1] if found else ""


def _request(daemon: Daemon, doing: Doing, name: str) -> Request:
    """Return what is to be done, with the login of the registry. Raises ImageError."""
    repository = parse_repository_tag(name)[0]
    try:
        registry, _ = docker.auth.resolve_repository_name(repository)
    except (docker.errors.DockerException, IndexError) as exc:
        why = f"{words.name(name)} cannot be {doing.value}: {words_of(exc)}"
        raise ImageError(why, "a name like registry.example.org/me/image:1") from exc
    login = _login(daemon, registry)
    # Without the header podman uses the logins of its own.
    value = login or ("" if daemon.name == "podman" else _NO_LOGIN)
    headers = {"X-Registry-Auth": value} if value else {}
    return Request(doing, name, words.name(registry), daemon.name, headers, has_login=bool(login))


def _login(daemon: Daemon, registry: str) -> str:
    """Return the login as the header has it; empty: there is none. Raises ImageError."""
    host = words.name(registry)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library warns of a helper that is missing, and raises, too
            header = docker.auth.get_config_header(daemon.client.api, registry)
    except (docker.errors.DockerException, StoreError, OSError, ValueError, KeyError) as exc:
        why, hint = shown(str(exc.__cause__ or exc)), f"docker login {host}"
        if "not installed" in why:
            file = words.name(find_config_file() or "~/.docker/config.json")
            hint = f"install it, or take credsStore and credHelpers out of {file}; then docker login {host}"
        raise ImageError(f"the login of {host} cannot be read: {why}", hint) from exc
    return "" if not header else header.decode()


def _distribution(daemon: Daemon, name: str) -> Mapping[str, Any]:
    """Ask the registry, by the engine, what it has under a name. Raises NOT_DONE."""
    found = daemon.client.api.inspect_distribution(name)
    return found if isinstance(found, Mapping) else {}


def _is_missing(daemon: Daemon, name: str) -> bool:
    """Return whether the registry says plainly that it does not have an image."""
    try:
        _distribution(daemon, name)
    except docker.errors.APIError as exc:
        why = words_of(exc)
        # podman before 6 has no such request, and its words for that are "not found", too.
        return is_absent(why) and (daemon.name != "podman" or "manifest unknown" in why)
    except NOT_DONE as exc:
        log.debug("is %s in the registry: %s", name, words_of(exc))
    return False

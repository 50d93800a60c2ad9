"""The testbed's container comes, or the one of a killed setup goes on; at the end it goes, with its volumes.

A container is womm's if its label LABEL is its own name. An image made from it has an empty label, and so has
a container that the user makes of that image. So womm finds exactly its own ones again after a kill.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import docker.errors

from womm import words
from womm.errors import ImageError
from womm.image.bases import LABEL, Base
from womm.image.commit import holder
from womm.image.daemon import NOT_DONE, Daemon, failed, words_of
from womm.testbed import leftovers, shell_files
from womm.testbed.container import HOST_ROOT, SHELL_FOLDER, Testbed, why_ended
from womm.testbed.leftovers import Leftover
from womm.testbed.state import Record, State

log = logging.getLogger(__name__)

_COMMIT_S: Final = 120.0
"""How long a commit may go on whose client was killed: gigabytes take a minute."""
_LOOK_S: Final = 0.2
_TRIES: Final = 20
"""A project has 65,536 names for its containers."""
_NO_PLACES: Final = frozenset(
    "/ /bin /boot /dev /etc /lib /lib32 /lib64 /mnt /proc /run /sbin /sys /usr /var".split()
)
"""A folder mounted at one of these would hide the image's own programs, or the system's."""
Say = Callable[[str], None]


@contextmanager
def opened(daemon: Daemon, base: Base, state: State, *, network: str = "", say: Say) -> Iterator[Testbed]:
    """Give the testbed of `state.project`, and remove it at the end. The caller holds `state.locked()`.

    It goes on in the container of a setup that was killed, if that was made of the same image; else womm
    removes that one. network: of the engine, by name; empty: the engine's default. Raises ImageError.
    """
    _check(state.project)
    testbed = _left_by_a_kill(daemon, base, state, network=network, say=say)
    try:
        if testbed is None:
            testbed = _begun(daemon, base, state, network=network, say=say)
        else:
            testbed.keep()  # it holds the user's work: it goes only if it could be used
            _start(testbed, network)
        testbed.kept = False
        yield testbed
    finally:
        _close(daemon, state, testbed, say)


class _NoHostRoot(ImageError):
    """The engine cannot mount this machine's root after all."""


def _begun(daemon: Daemon, base: Base, state: State, *, network: str, say: Say) -> Testbed:
    """Make a testbed and start it. Raises ImageError."""
    _say_mounts(daemon, state.project, say)
    try:
        testbed = _created(daemon, base, state, network)
        _start(testbed, network)
    except _NoHostRoot as exc:
        leftovers.remove(daemon, state.load().container)
        say(f"the testbed has no {HOST_ROOT}: {exc.message}")
        testbed = _created(replace(daemon, can_mount_host=False), base, state, network)
        _start(testbed, network)
    return testbed


def _left_by_a_kill(daemon: Daemon, base: Base, state: State, *, network: str, say: Say) -> Testbed | None:
    """Return the container to go on in, and remove the others."""
    record = state.load()
    found = leftovers.find(daemon, state.hash)
    if record.container and record.host != daemon.host and not found:
        say(
            f"an interrupted setup left the testbed {record.container} in another engine; "
            f"remove it there: docker -H {record.host} rm -f -v {record.container}"
        )
    for one in found:
        # Where the record has an image, what was made there has been committed.
        if not record.image and not one.is_of(base) and shell_files.is_about(one.id, state):
            raise ImageError(
                f"an interrupted setup left the testbed {one.name}, which holds work on another image",
                f"womm setup with the base that it had; or, to drop it: docker rm -f -v {one.name}",
            )
    usable = [one for one in found if one.is_of(base) and one.state not in {"dead", "removing"}]
    usable.sort(key=lambda one: one.name != record.container)
    for one in found:
        if one not in usable[:1]:
            why = "" if one.is_of(base) else ", and it is of another image"
            say(f"{one.name} is removed: an interrupted setup left it{why}")
            leftovers.remove(daemon, one.id)
    leftovers.sweep_images(daemon, state.hash)
    if not usable:
        return None
    one = usable[0]
    say(f"an interrupted setup left the testbed {one.name}: this one goes on in it")
    testbed = Testbed(daemon, base, one.name, one.id, _folder(daemon, state.project))
    state.save(replace(record, container=one.name, host=daemon.host))
    with suppress(*NOT_DONE):
        has = daemon.client.api.inspect_container(one.id)["HostConfig"]["NetworkMode"]
        if network and has != network:
            say(f"its network stays {words.name(has)}; for {network}: docker rm -f -v {one.name}; womm setup")
        if one.state == "paused":
            _resume(daemon, one, say)
    return testbed


def _resume(daemon: Daemon, one: Leftover, say: Say) -> None:
    """Have a paused container go on. Raises NOT_DONE.

    An engine pauses a container while it commits it, and it goes on with a commit whose client was killed.
    """
    say(f"{one.name} is paused: waiting for the commit that was interrupted")
    deadline_s = time.monotonic() + _COMMIT_S
    while time.monotonic() < deadline_s:
        if not daemon.client.api.inspect_container(one.id)["State"]["Paused"]:
            return
        time.sleep(_LOOK_S)
    daemon.client.api.unpause(one.id)


def _created(daemon: Daemon, base: Base, state: State, network: str) -> Testbed:
    record = state.load()
    for _ in range(_TRIES):
        name = leftovers.name_of(state.hash, secrets.token_hex(leftovers.RANDOM_DIGITS // 2))
        config = _config(daemon, base, state, name, network)
        state.save(replace(record, container=name, host=daemon.host))
        try:
            made = daemon.client.api.create_container_from_config(config, name)
        except NOT_DONE as exc:
            if isinstance(exc, docker.errors.APIError) and exc.status_code == 409:
                continue  # the name is taken
            raise _not_made(daemon, base, network, exc) from exc
        return Testbed(daemon, base, name, made["Id"], _folder(daemon, state.project))
    raise ImageError(
        f"no name is left for a testbed of {state.project}", f"docker ps -a --filter label={LABEL}"
    )


def _config(daemon: Daemon, base: Base, state: State, name: str, network: str) -> dict[str, Any]:
    mounts = [_bind(state.shared, SHELL_FOLDER)] if not daemon.is_remote else []
    if (folder := _folder(daemon, state.project)) is not None:
        mounts.append(_bind(folder, str(folder)))
    if _mounts_host(daemon, state.project):
        # docker wants rslave where its own folder lies below. So what this machine mounts later comes into
        # the testbed, too, and that is not read-only.
        host: dict[str, Any] = _bind(Path("/"), HOST_ROOT) | {"ReadOnly": True}
        host["BindOptions"] = {"Propagation": "rslave", "ReadOnlyForceRecursive": True}
        mounts.append(host)
    # With SELinux a container may not read the user's files unless these are relabelled, which would change
    # them for all other programs.
    limits: dict[str, Any] = {"Mounts": mounts, "SecurityOpt": ["label=disable"]}
    if network:
        limits["NetworkMode"] = network
    config: dict[str, Any] = {
        "Image": base.id,
        "Labels": {LABEL: name},
        "HostConfig": limits,
        **holder(base),
    }
    if base.config.get("Healthcheck"):
        config["Healthcheck"] = {"Test": ["NONE"]}
    return config


def _bind(source: Path, target: str) -> dict[str, Any]:
    return {"Type": "bind", "Source": str(source), "Target": target, "ReadOnly": False}


def _folder(daemon: Daemon, project: Path) -> Path | None:
    return None if daemon.is_remote else project


def _mounts_host(daemon: Daemon, project: Path) -> bool:
    return daemon.can_mount_host and Path(HOST_ROOT) not in project.parents


def _say_mounts(daemon: Daemon, project: Path, say: Say) -> None:
    if daemon.is_remote:
        say(f"the testbed does not have this folder: {daemon.name} at {daemon.host} may be another machine's")
    elif not daemon.can_mount_host:
        say(
            f"the testbed has no {HOST_ROOT}: {daemon.name} {daemon.version} cannot mount this machine's / "
            "read-only with all that is mounted below it"
        )
    elif not _mounts_host(daemon, project):
        say(f"the testbed has no {HOST_ROOT} with this machine's files: the project lies there")


def _check(project: Path) -> None:
    if str(project) in _NO_PLACES:
        raise ImageError(
            f"a testbed cannot have {project} at its own path: it would hide the image's programs",
            "move the project to a folder of its own",
        )
    try:
        str(project).encode()
    except UnicodeEncodeError as exc:
        raise ImageError(
            f"a testbed cannot have {words.name(str(project))}: container engines take names in UTF-8 only",
            "rename the folder",
        ) from exc


def _start(testbed: Testbed, network: str) -> None:
    daemon, base = testbed.daemon, testbed.base
    try:
        daemon.client.api.start(testbed.id)
        running = daemon.client.api.inspect_container(testbed.id)["State"]["Running"]
    except NOT_DONE as exc:
        raise _not_made(daemon, base, network, exc) from exc
    if base.architecture != daemon.architecture:
        # The kernel may run programs of another architecture by an emulator.
        try:
            running = running and not testbed.run(["sh", "-c", ":"]).status
        except ImageError:
            running = False
    if not running:
        raise _not_started(daemon, base, why_ended(daemon, testbed.id))


def _not_made(daemon: Daemon, base: Base, network: str, exc: Exception) -> ImageError:
    """Return the error for a container that the engine does not make or start."""
    why = words_of(exc)
    low = why.lower()
    if isinstance(exc, docker.errors.APIError):
        if network and "network" in low and "not found" in low:
            return ImageError(
                f"{daemon.name} has no network {words.name(network)}, which testbed-network names",
                f"{daemon.name} network ls",
            )
        if "bind source path" in low or "mount source path" in low:
            return ImageError(
                f"{daemon.name} does not see the project's folder, so it may be another machine's: {why}",
                f"{daemon.name} info",
            )
        # The words of docker: where / is not shared; of an old kernel or runc.
        if "shared or slave mount" in low or "recursive" in low or "rro is not supported" in low:
            return _NoHostRoot(f"{daemon.name} cannot mount this machine's / read-only: {why}")
        if "executable file" in low or "exec format" in low or "stat sh:" in low:
            return _not_started(daemon, base, why)
    return failed(f"the testbed of {words.name(base.name)} does not start", exc)


def _not_started(daemon: Daemon, base: Base, why: str) -> ImageError:
    name = words.name(base.name)
    if base.architecture and base.architecture != daemon.architecture:
        return ImageError(
            f"{name} does not run here: it is for {base.os}/{base.architecture}, and {daemon.name} has "
            f"{daemon.architecture}",
            f"womm setup --base NAME, with an image for linux/{daemon.architecture}",
        )
    if "executable file not found" in why or "no such file" in why:
        return ImageError(
            f"{name} has no shell (sh), which the testbed and every job need",
            "womm setup --base debian:12, or another image with a shell; COPY --from in a Dockerfile brings "
            "what you need of this one into it: womm setup --dockerfile FILE",
        )
    return ImageError(
        f"the testbed of {name} ends at once: {why or 'it does not say why'}", "womm setup --base NAME"
    )


def _close(daemon: Daemon, state: State, testbed: Testbed | None, say: Say) -> None:
    """Remove the container that the record names. An error that is on its way must get through."""
    record = Record()
    try:
        record = state.load()
        if testbed is not None and testbed.kept:
            say(f"the testbed {testbed.name} stays: the next womm setup goes on in it")
        elif record.container:
            leftovers.remove(daemon, record.container)
            state.save(replace(record, container="", host=""))
            shell_files.forget(state)
            # The engine may have finished only now what a killed setup had asked for.
            leftovers.sweep(daemon, state.hash, log.info)
    except ImageError as exc:
        say(f"the testbed {record.container} may stay until the next womm setup: {exc.message}")

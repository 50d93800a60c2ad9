"""A container's changes as one layer upon its image, whose configuration stays as it is.

Strategy: an engine merges the configuration of a commit's request with the container's: the latter fills in
what the former leaves empty (docker's daemon/commit.go, `merge`). So the request has the base's whole
configuration. The command that the testbed runs must not get in: the request's Entrypoint and Cmd win unless
both are empty. Then the testbed's command is the container's Entrypoint, and the request has an empty list
there, which docker takes for "none", and not for "not said".
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import womm
from womm import words
from womm.errors import ImageError
from womm.image.bases import BASE_DIGEST, BASE_NAME, LABEL, Base, inspect
from womm.image.daemon import NOT_DONE, Daemon, failed

TITLE: Final = "org.opencontainers.image.title"
VERSION: Final = "womm.version"
COMMENT: Final = "womm setup: "
"""The comment of an image of ours begins so, and the name of its testbed follows: labels are inherited by
images that the user makes of ours, the comment is not."""
# It ends at once when it is told to, and it ends when there is no `sleep`.
_HOLD: Final = "trap 'exit 0' TERM INT HUP QUIT; while sleep 3600 & wait $!; do :; done"
_HOLDER: Final = ("sh", "-c", _HOLD)


def holder(base: Base) -> dict[str, list[str]]:
    """Return the command of a container that is only there: Entrypoint, or Cmd, of its configuration."""
    if base.config.get("Cmd") and not base.config.get("Entrypoint"):
        return {"Cmd": list(_HOLDER)}
    return {"Entrypoint": list(_HOLDER), "Cmd": []}


def labels(base: Base, title: str) -> dict[str, str]:
    """Return the labels of an image of ours. title: of the project."""
    found = {BASE_NAME: base.name, TITLE: title, VERSION: womm.__version__, LABEL: ""}
    return found | ({BASE_DIGEST: base.digest} if base.digest else {})


def commit(
    daemon: Daemon,
    container_id: str,
    base: Base,
    name: str,
    *,
    variables: Mapping[str, str],
    labels: Mapping[str, str],
    comment: str = "",
) -> str:
    """Make an image of a container, tag it, and return its id. Raises ImageError.

    name: REPOSITORY:TAG. The image that had the tag before goes if it is ours and nobody needs it.
    comment: the testbed's name.
    """
    repository, _, tag = name.rpartition(":")
    before = inspect(daemon, name)
    config = _config(base, variables, labels)
    api = daemon.client.api
    limit_s, api.timeout = api.timeout, None  # it takes as long as it takes to read what was changed
    try:
        made = api.commit(
            container_id,
            repository=repository,
            tag=tag,
            message=f"{COMMENT}{comment}",
            changes=_changes(config) if daemon.name == "podman" else None,
            conf=config,
        )
    except NOT_DONE as exc:
        raise failed(f"the testbed cannot be kept as {words.name(name)}", exc, "womm setup") from exc
    finally:
        api.timeout = limit_s
    found = inspect(daemon, name)
    if found is None:
        raise ImageError(f"{daemon.name} has made the image {words.name(name)}, and does not find it")
    if before is not None and before["Id"] != found["Id"]:
        remove_untagged(daemon, str(before["Id"]))
    return str(found["Id"] or made["Id"])


def remove_untagged(daemon: Daemon, image_id: str) -> bool:
    """Remove an image of ours that has no tag; return whether it is gone. One that is needed stays.

    Its parents stay, too: they may be anybody's.
    """
    with suppress(ImageError, *NOT_DONE):
        found = inspect(daemon, image_id)
        if found is None:
            return True
        labels = (found.get("Config") or {}).get("Labels") or {}
        if found.get("RepoTags") or labels.get(LABEL) != "":
            return False
        daemon.client.api.remove_image(image_id, noprune=True)
        return True
    return False


def _config(base: Base, variables: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, Any]:
    config = dict(base.config)
    env = {entry.partition("=")[0]: entry for entry in config.get("Env") or ()}
    env |= {name: f"{name}={value}" for name, value in variables.items()}
    config["Env"] = list(env.values())
    config["Labels"] = {**(config.get("Labels") or {}), **labels, LABEL: ""}
    if not config.get("Entrypoint") and not config.get("Cmd"):
        config["Entrypoint"] = []
    return config


def _changes(config: Mapping[str, Any]) -> str:
    """Return the configuration as lines of a Dockerfile: podman before 5 ignores `conf` (its issue 13770).

    It takes off one pair of quotation marks and reads nothing else in a value, so a value of several lines is
    cut there. TERM and `container`, which it gives to each container, get into its image nevertheless.
    """
    lines = [f"ENTRYPOINT {json.dumps(config.get('Entrypoint') or [])}"]
    lines += [f"CMD {json.dumps(config.get('Cmd') or [])}"]
    pairs = [("ENV", *entry.partition("=")[::2]) for entry in config["Env"]]
    pairs += [("LABEL", name, value) for name, value in config["Labels"].items()]
    return "\n".join(lines + [f'{word} {name}="{value}"' for word, name, value in pairs])

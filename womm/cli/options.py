"""The options of every command that talks to a cluster, named as kubectl's."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from womm import settings as settings_module
from womm.cli import tables
from womm.settings import Settings

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

OF_KUBERNETES: Final = ("context", "namespace", "kubeconfig", "image", "pod_template", "pull_secret")
"""Options that mean nothing on the local cluster."""


def cluster_options(command: F) -> F:
    """Add --context, -n/--namespace and --kubeconfig, as keyword arguments."""
    for option in (
        click.option("--kubeconfig", metavar="FILE", help="The kubeconfig (else as kubectl)."),
        click.option("-n", "--namespace", metavar="NAME", help="The namespace."),
        click.option("--context", metavar="NAME", help="The kubeconfig's context."),
    ):
        command = option(command)
    return command


def with_cluster(flags: Mapping[str, object]) -> dict[str, object]:
    """Return the flags; naming a context, a namespace or an image selects Kubernetes."""
    given = dict(flags)
    if not given.get("cluster") and any(given.get(name) for name in OF_KUBERNETES):
        given["cluster"] = settings_module.KUBERNETES
    return given


def load_settings(flags: Mapping[str, object]) -> Settings:
    """Read the settings where the user is. Raises SettingsError, ProjectError, TrustError.

    A folder that is gone has no project.
    """
    return settings_module.load(here(), os.environ, with_cluster(flags))


def known_settings(flags: Mapping[str, object]) -> Settings:
    """Read the settings for commands about existing tasks: they warn of a project's file that the user has
    not accepted, and go on without it. Raises SettingsError.
    """

    def warn(text: str) -> None:
        tables.say(f"womm: {text}")

    return settings_module.load(here(), os.environ, with_cluster(flags), warn)


def here() -> Path:
    """Return the current folder, or / when it is gone or may not be entered."""
    try:
        folder = Path.cwd()
    except OSError:
        return Path("/")
    try:
        os.stat(f"{folder}/.")
    except OSError as exc:
        logger.warning("cannot enter the current folder %s: %s; no .womm is read", folder, exc.strerror)
        return Path("/")
    return folder

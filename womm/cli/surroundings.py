"""What a new task takes from the place where the user calls womm: the folder, perl, the shell, and -q."""

import logging
import os
import re
from pathlib import Path

from womm import programs, words
from womm.errors import EngineError, ProjectError
from womm.settings import LOCAL, Settings

POSIX_SHELLS = frozenset(
    ["sh", "ash", "bash", "dash", "ksh", "ksh93", "mksh", "rbash", "rzsh", "yash", "zsh"]
)


def current_folder() -> Path:
    """The folder that jobs run in. Raises ProjectError when it has been deleted or may not be entered."""
    folder = ""
    try:
        folder = os.getcwd()
        os.stat(f"{folder}/.")
    except FileNotFoundError as exc:
        raise ProjectError("the current folder is gone", "cd to a folder that exists") from exc
    except OSError as exc:
        name = f"the current folder {folder}" if folder else "the current folder"
        raise ProjectError(f"cannot enter {name}: {exc.strerror}", "cd to a folder of your own") from exc
    return Path(folder)


def find_perl() -> str:
    """Return the perl that runs GNU parallel and local agents. Raises EngineError."""
    perl = programs.which("perl")
    if perl is None:
        raise EngineError(
            "perl is not there: the agent and GNU parallel need it", "apt-get install perl-base"
        )
    return os.path.realpath(perl) if not re.search(r"/\.pyenv/", perl) else perl


def job_shell(settings: Settings) -> str:
    """The shell that runs the jobs, chosen as GNU parallel chooses it, among those that quote as sh does.

    parallel(1), "PARALLEL_SHELL": $PARALLEL_SHELL, else the shell that called, else $SHELL, else sh.
    """
    from womm.process import calling_shell

    for name in (
        settings.shell,
        os.environ.get("PARALLEL_SHELL"),
        calling_shell(),
        os.environ.get("SHELL"),
    ):
        if name and Path(name).name in POSIX_SHELLS and (path := programs.which(name)):
            return path
    return "/bin/sh"


def pod_shell(settings: Settings) -> str:
    """The shell that runs the jobs in the pods: on another machine only sh is sure to be there."""
    if settings.cluster == LOCAL:
        return job_shell(settings)
    return settings.shell or "/bin/sh"


def with_programs(settings: Settings, folder: Path) -> Settings:
    """Return the settings with the user's word on what pods see of this machine, if they see its programs.

    It may ask at the terminal. What leaves this machine is said in spite of --quiet. Raises UsageError.
    """
    if not settings.shows_programs:
        return settings
    import click

    from womm.setup import here_roots

    def say(text: str) -> None:
        click.echo(words.line(f"womm: {text}"), err=True)

    return here_roots.decided(settings, folder, say, quiet=is_quiet())


def is_quiet() -> bool:
    """Whether the user wants errors alone on stderr (`womm -q`)."""
    return logging.getLogger("womm").getEffectiveLevel() >= logging.ERROR

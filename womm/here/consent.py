"""The user's word on private folders: those in homes, and those to which the project alone led.

Without it, nothing of them leaves this machine.

It is given for exact folders: on the command line, in a variable, in the user's own settings, or by an answer
at the terminal, which the settings keep. A project's `.womm` cannot give it.
"""

import os
from collections.abc import Sequence
from typing import Final

from womm import words
from womm.errors import UsageError
from womm.here.programs import Root
from womm.settings import Settings

NO = "!"
"""In the user's settings: before a folder that the user does not want to show."""


_OF_ONE_COMMAND: Final = ("--here-roots", "WOMM_HERE_ROOTS")


def named(settings: Settings) -> tuple[str, ...] | None:
    """Return the folders that the user names for this one command; None: the settings are of all projects.

    Named folders are roots as they are. Those of all projects only allow what is found in them.
    """
    if settings.origins.get("here_roots") in _OF_ONE_COMMAND:
        return settings.here_roots or ()
    return None


def missing(roots: Sequence[Root]) -> UsageError:
    """Return the error for roots that nobody has been asked about."""
    first = roots[0]
    more = f" and {words.counted(len(roots) - 1, 'more folder')}" if len(roots) > 1 else ""
    listed = os.pathsep.join(root.path for root in roots)
    return UsageError(
        f"--image here: pods would see {words.name(first.path)} ({first.kind}: {first.why}){more},"
        " and you have not allowed it",
        f"--here-roots {listed}, or --here-roots none",
    )


def answered(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the folders of the settings that pods may see, and those that they may not."""
    return [one for one in given if not one.startswith(NO)], [
        one.removeprefix(NO) for one in given if one.startswith(NO)
    ]


def undecided(roots: Sequence[Root], given: Sequence[str]) -> list[Root]:
    """Return the private roots on which the settings have no word."""
    allowed, refused = answered(given)
    said = [*allowed, *both_paths(refused)]
    return [root for root in roots if root.private and not _is_in(root.path, said)]


def both_paths(folders: Sequence[str]) -> list[str]:
    """Return folders as they are written, and where they lead: for a no, which holds wherever that is.

    A yes is never followed: whatever can write beside the folder would choose another one by a link.
    """
    return [path for folder in folders for path in (folder, os.path.realpath(folder))]


def relevant(roots: Sequence[Root], given: Sequence[str]) -> list[str]:
    """Return the allowed folders that have something to do with these roots: settings are of all projects."""
    allowed, _ = answered(given)
    return [path for path in allowed if any(_is_in(root.path, [path]) for root in roots)]


def _is_in(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)

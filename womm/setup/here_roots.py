"""Which private folders pods may see: asked at the terminal, and kept in the user's `config.toml`.

A task asks before it makes anything. Where nobody can be asked, the error names the option to type.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from womm import places, words
from womm.errors import JournalError, ProjectError
from womm.here import consent, find, machine, shown
from womm.here.find import Look
from womm.here.programs import Programs, Root
from womm.settings import Settings
from womm.setup import dotfile, remembered
from womm.task.shares import shared_folder
from womm.terminal import ask_terminal

_SHOWN: Final = "here-shown"
_SHORT: Final = "-q"
_MORE: Final = "without -q womm shows them, and so does `womm doctor`"
_MOST_SHOWN: Final = 100
"""Tables that are remembered, in lines: each project has its own."""


def decided(settings: Settings, folder: Path, say: Callable[[str], None], *, quiet: bool = False) -> Settings:
    """Return the settings with the user's word on each private folder; ask for what is missing.

    The table of all that pods see is shown when it differs from those that were shown before; quiet: a line
    in its place, unless somebody is asked. Raises UsageError where nobody can be asked.
    """
    if not settings.shows_programs:
        return settings
    machine.refuse_others()
    found = look(settings, folder)
    allowed = allowed_of(settings, found)
    missing = open_questions(settings, found)
    programs = find.chosen(os.environ, found, shared_folder(settings, folder), allowed)
    _show_once(programs, say, again=bool(missing), short=quiet and not missing)
    if missing:
        allowed += _asked(missing, say)
    return replace(settings, here_roots=tuple(allowed))


def look(settings: Settings, folder: Path) -> Look:
    """Return what is found here for a task in `folder`. Raises UsageError."""
    return find.look(os.environ, shared_folder(settings, folder), consent.named(settings) or (), folder)


def allowed_of(settings: Settings, found: Look) -> list[str]:
    """Return the private folders that the settings let pods see, without those of other projects."""
    if (named := consent.named(settings)) is not None:
        return list(named)
    given = settings.here_roots or ()
    refused = [one for one in given if one.startswith(consent.NO)]
    return [*consent.relevant(found.roots, given), *refused]


def open_questions(settings: Settings, found: Look) -> list[Root]:
    """Return the private roots on which the settings have no word."""
    if settings.here_roots == () or consent.named(settings) is not None:
        return []
    return consent.undecided(found.roots, settings.here_roots or ())


def _asked(missing: Sequence[Root], say: Callable[[str], None]) -> list[str]:
    """Ask for each root; return those that are allowed. Raises UsageError."""
    ask = ask_terminal()
    if ask is None:
        raise consent.missing(missing)
    answers = [(root.path, ask(f"may pods see {root.path} ({root.kind}: {root.why})?")) for root in missing]
    try:
        path = remembered.remember_roots([one if yes else f"{consent.NO}{one}" for one, yes in answers])
        if path is not None:
            say(f"your answers are in {path}: here-roots")
    except ProjectError as exc:
        say(f"{exc.message}: womm will ask again")
    return [one for one, yes in answers if yes]


def _show_once(programs: Programs, say: Callable[[str], None], *, again: bool, short: bool) -> None:
    """Show the table, unless it was shown; again: even then; short: a line in its place."""
    lines = shown.table(programs)
    whole = hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()
    mark = f"{whole}{_SHORT}" if short else whole
    known: list[str] = []
    with suppress(OSError, JournalError, UnicodeDecodeError):
        known = (places.state_folder() / _SHOWN).read_text("ascii").split()
    if not {whole, mark}.isdisjoint(known) and not again:
        return
    count = words.counted(len(programs.roots), "folder")
    for line in [f"pods see {count} of this machine, read-only; {_MORE}"] if short else lines:
        say(line)
    if mark not in known:
        with suppress(OSError, JournalError, ProjectError):  # then it is shown again
            path = places.state_folder() / _SHOWN
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            dotfile.replace(path, ("\n".join([*known, mark][-_MOST_SHOWN:]) + "\n").encode())

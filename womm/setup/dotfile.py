"""The project's `.womm`: found, accepted, edited with its comments, written; and the original womm's `.womm`.

The original womm (0.1) wrote JSON. womm reads it here, and writes TOML in its place.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from womm import project, settings, trust
from womm.errors import ProjectError, TrustError
from womm.project import Project
from womm.settings import EAGER, EAGER_SYNCBACK, KUBERNETES, LAZY, NO_SHARE
from womm.setup.asking import Asker
from womm.trust import Review

_NEW: Final = """\
# A womm project: `womm parallel` and `womm shell` in this folder, and below, run as this says.
# Every key, with its meaning: womm's reference, "Settings". Flags and WOMM_* variables go before it.
"""
_SHARES: Final = {"lazy": LAZY, "eager-1": EAGER, "eager-2": EAGER_SYNCBACK, "none": NO_SHARE}
"""The kinds of the original."""
_IMAGE: Final = re.compile(r"(?P<prefix>.+/)womm-image-[a-z]{8}(?:[:@].*)?")
"""How the original named its images."""
_ACCEPT: Final = "Do you accept this?"


@dataclass(frozen=True, slots=True)
class Dotfile:
    """A `.womm` that is there, or will be. values: its keys, spelled with hyphens.

    existing: None, there is none in TOML yet. notes: what the user must hear once it is rewritten.
    """

    path: Path
    values: Mapping[str, object]
    existing: Project | None = None
    notes: tuple[str, ...] = ()

    def changed_meanwhile(self) -> bool:
        """Return whether somebody has written the file since it was read."""
        try:
            now = self.path.read_bytes()
        except OSError:
            return self.existing is not None
        if self.existing is None:
            return not self.notes  # without the notes of the original's file there was none
        return now != self.existing.content


def accepted(
    folder: Path, asker: Asker, *, show: Callable[[Review], None], say: Callable[[str], None]
) -> Dotfile:
    """Return the `.womm` that counts in `folder`, or a new one for it. show: prints it, as `womm trust` does.

    The keys of a clone must not become the user's own together with the new ones: raises TrustError for a
    file that the user does not accept. Raises ProjectError, click.Abort.
    """
    try:
        existing = project.find(folder)
    except project.OriginalError as exc:
        return _original(exc, asker, say)
    if existing is None:
        return Dotfile(folder / project.FILE_NAME, {})
    found = settings.review_of(existing, os.environ)
    if not found.counts:
        if not asker.asks or found.refused is not None:
            raise found.error()
        show(found)
        if not asker.confirm(_ACCEPT, False):
            raise click.Abort
    values = {key.replace("_", "-"): value for key, value in existing.values.items()}
    return Dotfile(existing.path, values, existing)


def _original(exc: project.OriginalError, asker: Asker, say: Callable[[str], None]) -> Dotfile:
    """Read the original's file, and ask whether what it says is the user's own."""
    if not asker.asks:
        raise TrustError(
            f"{exc.path} is the original womm's: accept what it says, in a terminal",
            "womm setup",
        )
    found = original(exc.path, exc.content)
    say(f"womm: {exc.path} is the original womm's file. This womm reads it so:")
    for key, value in found.values.items():
        say(f"    {key} = {json.dumps(value)}")
    if not asker.confirm(_ACCEPT, False):
        raise click.Abort
    return found


def original(path: Path, content: bytes) -> Dotfile:
    """Return what a `.womm` of the original means today. Raises ProjectError."""
    given = json.loads(content)
    found: dict[str, object] = {"cluster": KUBERNETES}
    for old, new in (("namespace", "namespace"), ("image", "image"), ("secret_name", "pull-secret")):
        if isinstance(given.get(old), str) and given[old]:
            found[new] = given[old]
    if isinstance(kind := given.get("share_kind"), str) and kind in _SHARES:
        found["share"] = _SHARES[kind]
    if match := _IMAGE.fullmatch(str(found.get("image", ""))):
        found["prefix"] = match["prefix"]
    settings.check_values(path, found)
    notes = [f"womm: {path} was the original womm's, in JSON; now it is TOML, with what still counts"]
    shared = given.get("share_path")
    if isinstance(shared, str) and shared and os.path.normpath(shared) != str(path.parent):
        notes.append(f"womm: it shared {shared}; a project shares the folder that .womm is in: {path.parent}")
    return Dotfile(path, found, notes=tuple(notes))


def edited(dotfile: Dotfile, values: Mapping[str, object]) -> str:
    """Return the text with these values, all else as it was; an empty text as a value: without the key.

    Raises ProjectError.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(_NEW if dotfile.existing is None else dotfile.existing.content)
    except (TOMLKitError, UnicodeDecodeError) as exc:
        raise ProjectError(f"cannot change {dotfile.path}: {exc}") from exc
    if "version" not in document:
        document["version"] = project.VERSION
    for key, value in values.items():
        spelled = key if key in document or key.replace("-", "_") not in document else key.replace("-", "_")
        if value != "":
            document[spelled] = value
        elif spelled in document:
            del document[spelled]
    return tomlkit.dumps(document)


def check(path: Path, text: str) -> None:
    """Refuse values that `womm parallel` would refuse. Raises SettingsError."""
    import tomllib

    values = tomllib.loads(text)
    del values["version"]
    settings.check_values(path, values)


def write(path: Path, text: str) -> None:
    """Write `.womm`, and accept it for this user. Raises ProjectError, TrustError."""
    content = encoded(path, text)
    written = settings.review_of(project.parsed(path, content), os.environ)
    if written.refused is not None:
        raise written.refused
    trust.accept(written, is_written=False)
    replace(path, content)
    trust.accept(written)


def encoded(path: Path, text: str) -> bytes:
    """Return the text in UTF-8. Raises ProjectError."""
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        wrong = next(line for line in text.splitlines() if not line.isprintable())
        raise ProjectError(f"cannot write {path}: TOML is UTF-8, and this is not: {wrong!a}") from exc


def replace(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write beside the file, then rename: no reader ever sees half of it. mode: of a new file, before the
    umask. Raises ProjectError."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        # If it is a link, write where it leads.
        real = Path(os.path.realpath(path))
        beside = real.with_name(beside.name)
        with open(beside, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content)
        if path.exists():
            beside.chmod(path.stat().st_mode & 0o777)
        os.replace(beside, real)
    except OSError as exc:
        beside.unlink(missing_ok=True)
        raise ProjectError(f"cannot write {path}: {exc.strerror}", f"ls -ld {path.parent}") from exc

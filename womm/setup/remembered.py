"""What the user has said for all projects, kept in the user's `config.toml`: the prefix, folders in homes."""

from collections.abc import Sequence
from pathlib import Path

from womm import places, project, values
from womm.errors import ProjectError
from womm.settings import CONFIG_NAME
from womm.setup import dotfile

_KEY = "prefix"
_ROOTS = "here-roots"
_NEW = "# womm's settings for all your projects. Every key: womm's reference, \"Settings\".\n"


def prefix() -> str:
    """Return the prefix that is remembered; empty: none. Raises ProjectError."""
    try:
        return values.prefix(_known())
    except ValueError:
        return ""


def remember(prefix: str) -> Path | None:
    """Remember a prefix; return the file that holds it now, None: it already did. Raises ProjectError."""
    path = _path()
    if path is None or prefix == _known():
        return None
    _change(path, _KEY, prefix)
    return path


def remember_roots(answers: Sequence[str]) -> Path | None:
    """Add folders in homes that pods may see, or with a mark that they may not; return the file.

    None: there is no home to keep it in. Raises ProjectError.
    """
    path = _path()
    if path is None:
        return None
    known = _values(path).get(_ROOTS, [])
    before = [one for one in known if isinstance(one, str)] if isinstance(known, list) else []
    _change(path, _ROOTS, list(dict.fromkeys([*before, *answers])))
    return path


def forget() -> tuple[str, Path] | None:
    """Forget the prefix; return it, and the file that had it. None: none was there. Raises ProjectError."""
    path, known = _path(), _known()
    if path is None or not known:
        return None
    _change(path, _KEY, "")
    return known, path


def _path() -> Path | None:
    folder = places.config_folder()
    return None if folder is None else folder / CONFIG_NAME


def _known() -> str:
    """Return what the file says, be it a prefix or not."""
    path = _path()
    return "" if path is None else str(_values(path).get(_KEY, ""))


def _values(path: Path) -> dict[str, object]:
    try:
        return project.read_toml(path) if path.exists() else {}
    except OSError:  # the home folder is another user's: see womm.settings
        return {}


def _change(path: Path, key: str, value: str | list[str]) -> None:
    """Set a key in the user's file, which is made if it is not there; an empty value removes the key."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ProjectError(f"cannot make {path.parent}: {exc.strerror}", f"ls -ld {path.parent}") from exc
    try:
        document = tomlkit.parse(path.read_bytes() if path.exists() else _NEW)
    except (TOMLKitError, OSError, UnicodeDecodeError) as exc:
        raise ProjectError(f"cannot change {path}: {exc}", f"ls -l {path}") from exc
    if value:
        document[key] = value
    else:
        del document[key]
    dotfile.replace(path, tomlkit.dumps(document).encode(), 0o600)

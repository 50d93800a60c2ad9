"""The prefix of the user's images, kept in the user's `config.toml` from one project to the next."""

from pathlib import Path

from womm import places, project, values
from womm.errors import ProjectError
from womm.settings import CONFIG_NAME
from womm.setup import dotfile

_KEY = "prefix"
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
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ProjectError(f"cannot make {path.parent}: {exc.strerror}", f"ls -ld {path.parent}") from exc
    _change(path, prefix)
    return path


def forget() -> tuple[str, Path] | None:
    """Forget the prefix; return it, and the file that had it. None: none was there. Raises ProjectError."""
    path, known = _path(), _known()
    if path is None or not known:
        return None
    _change(path, "")
    return known, path


def _path() -> Path | None:
    folder = places.config_folder()
    return None if folder is None else folder / CONFIG_NAME


def _known() -> str:
    """Return what the file says, be it a prefix or not."""
    path = _path()
    try:
        if path is None or not path.exists():
            return ""
    except OSError:  # the home folder is another user's: see womm.settings
        return ""
    return str(project.read_toml(path).get(_KEY, ""))


def _change(path: Path, prefix: str) -> None:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(path.read_bytes() if path.exists() else _NEW)
    except (TOMLKitError, OSError, UnicodeDecodeError) as exc:
        raise ProjectError(f"cannot change {path}: {exc}", f"ls -l {path}") from exc
    if prefix:
        document[_KEY] = prefix
    else:
        del document[_KEY]
    dotfile.replace(path, tomlkit.dumps(document).encode(), 0o600)

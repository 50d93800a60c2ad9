"""The project: the folder that holds `.womm`, found by walking up from the current one."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from womm.errors import ProjectError

FILE_NAME: Final = ".womm"
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Project:
    """`values`: what `.womm` says, as TOML's types; `version` is taken out."""

    folder: Path
    values: Mapping[str, object]

    @property
    def path(self) -> Path:
        return self.folder / FILE_NAME


def find(cwd: Path) -> Project | None:
    """Return the project that `cwd`, an absolute path, is in; raises ProjectError for a bad one."""
    for folder in (cwd, *cwd.parents):
        path = folder / FILE_NAME
        if path.is_file():
            _check_owner(path, cwd)
            values = read_toml(path)
            version = values.pop("version", None)
            if version is None:
                raise ProjectError(f"{path}: version is missing", f"add the line: version = {VERSION}")
            if type(version) is not int or version != VERSION:
                raise ProjectError(
                    f"{path}: version = {version!r}, but this womm knows version {VERSION} only",
                    "pip install --upgrade womm",
                )
            return Project(folder, values)
    return None


def read_toml(path: Path) -> dict[str, object]:
    """Read a file of settings; raises ProjectError."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as exc:
        raise ProjectError(f"cannot read {path}: {exc.strerror or exc}", f"ls -l {path}") from exc
    except UnicodeDecodeError as exc:
        raise ProjectError(f"{path} is not UTF-8: {exc.reason} at byte {exc.start}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ProjectError(f"{path} is not TOML: {exc}") from exc


def _check_owner(path: Path, cwd: Path) -> None:
    # It may name programs to run: one that another user left in /tmp must not count below it.
    # The owner of the current folder is trusted as its files are (root in a user's folder).
    try:
        owner = path.stat().st_uid
        trusted = owner in {0, os.getuid(), cwd.stat().st_uid}
    except OSError as exc:
        raise ProjectError(f"cannot look at {path}: {exc.strerror or exc}") from exc
    if not trusted:
        raise ProjectError(f"{path} belongs to another user (uid {owner})", f"ls -l {path}")

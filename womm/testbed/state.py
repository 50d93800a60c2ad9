"""What womm remembers of a project's testbed: a folder of the user's own, outside the project.

A setup that is killed leaves its container behind, and here what the next one needs to go on: the container's
name, and the files of the project that were root's before the container's root worked there. The container
sees one part of the folder, `shared`; it does not see the record and the lock.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from womm import places, words
from womm.errors import ImageError

_FOLDER: Final = "testbeds"
_VERSION: Final = 1
_HASH_DIGITS: Final = 8
_KEY: Final = "key"
_KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Record:
    """What the next `womm setup` of the project must know, should this one be killed."""

    container: str = ""
    """The name of the testbed's container; empty: there is none."""
    host: str = ""
    """The engine that has the container, as in DOCKER_HOST."""
    root_owned: frozenset[str] | None = None
    """What ownership.root_owned found before the visit; None: no visit is open."""
    image: str = ""
    """REPOSITORY:TAG that is committed, and that `.womm` does not name yet; empty: none."""

    @property
    def is_unfinished(self) -> bool:
        """Whether a setup has left something to go on from."""
        return bool(self.container or self.image)


class State:
    """The folder of one project's testbed. `of` makes it; `locked` says whose turn it is."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.project = project
        self.folder = folder

    def __repr__(self) -> str:
        return f"State({self.folder}, of {self.project})"

    @classmethod
    def of(cls, project: Path) -> "State":
        """Make the folder if it is not there, for this user alone. Raises ImageError, JournalError."""
        above = places.state_folder() / _FOLDER
        state = cls(project, above / project_hash(project, _key(above)))
        try:
            state.shared.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (state.folder, state.shared):
                folder.chmod(0o700)
        except OSError as exc:
            raise _failed("make", state.shared, exc) from exc
        return state

    @property
    def hash(self) -> str:
        return self.folder.name

    @property
    def shared(self) -> Path:
        """The folder that the container sees as /dev/womm. What lies in it is seen by programs in there."""
        return self.folder / "shared"

    @property
    def history(self) -> Path:
        """The file of the shell's history; it is kept from one visit to the next."""
        return self.shared / "history"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the testbed for this process. Raises ImageError when another one has it."""
        path = self.folder / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise _failed("open", path, exc) from exc
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise self._taken(descriptor) from exc
            except OSError as exc:
                raise _failed("lock", path, exc) from exc
            with suppress(OSError):  # only for the message of another womm; the disk may be full
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
            yield
        finally:
            os.close(descriptor)

    def _taken(self, descriptor: int) -> ImageError:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        busy = f"another womm works on the testbed of {words.name(str(self.project))}"
        return ImageError(busy, f"wait for its end; or see what it is: ps -fp {holder}" if holder else None)

    def load(self) -> Record:
        """Return what is recorded; an empty record when nothing is. Raises ImageError."""
        path = self._record_path
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            return Record()
        except (OSError, ValueError) as exc:
            raise _failed("read", path, exc) from exc
        try:
            return _parsed(found)
        except (TypeError, KeyError) as exc:
            raise ImageError(f"{path} is of another version of womm, or damaged", f"rm {path}") from exc

    def save(self, record: Record) -> None:
        """Replace the record, as a whole or not at all. Raises ImageError."""
        path, beside = self._record_path, self._record_path.with_suffix(f".{os.getpid()}")
        fields: dict[str, Any] = {"version": _VERSION, "project": str(self.project), **asdict(record)}
        if record.root_owned is not None:
            fields["root_owned"] = sorted(record.root_owned)
        try:
            try:
                with open(beside, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                    json.dump(fields, file)  # ASCII, so file names that are not UTF-8 come back as they were
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(beside, path)
            finally:
                beside.unlink(missing_ok=True)
        except OSError as exc:
            raise _failed("write", path, exc) from exc

    @property
    def _record_path(self) -> Path:
        return self.folder / "record.json"


def project_hash(project: Path, key: bytes) -> str:
    """Return 8 hex digits that stand for the folder of a project, as it is written: names of containers.

    key: of this user on this machine. Others may have a project at the same path, and the same container
    engine or registry.
    """
    return hashlib.sha256(key + os.fsencode(project)).hexdigest()[:_HASH_DIGITS]


def _key(folder: Path) -> bytes:
    """Return the bytes that tell this user on this machine from others; made once. Raises ImageError."""
    path, beside = folder / _KEY, folder / f"{_KEY}.{os.getpid()}"
    try:
        if not path.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside.write_bytes(os.urandom(_KEY_BYTES))
            with suppress(FileExistsError):  # another womm was first
                os.link(beside, path)
            beside.unlink()
        return path.read_bytes()
    except OSError as exc:
        raise _failed("make", path, exc) from exc


def _parsed(found: Any) -> Record:
    """Raises TypeError, KeyError."""
    if found["version"] != _VERSION:
        raise KeyError("version")
    owned = found["root_owned"]
    return Record(
        container=str(found["container"]),
        host=str(found["host"]),
        root_owned=None if owned is None else frozenset(map(str, owned)),
        image=str(found["image"]),
    )


def _failed(doing: str, path: Path, exc: Exception) -> ImageError:
    return ImageError(f"cannot {doing} {path}: {words.cause(exc)}", f"ls -ld {path.parent}; df {path.parent}")

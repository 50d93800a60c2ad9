"""Which project files this user has accepted: most keys of a `.womm` count only then.

A cloned repository, or a job that writes into the folder, must not decide what runs on this machine, with
which credentials, or what leaves it. So an acceptance is of the bytes of `.womm` and of the files that it
names (`womm.named`). It is this user's, and it is kept in the state folder, never in the project.
"""

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from womm import places
from womm.errors import JournalError, TrustError
from womm.named import Named
from womm.project import Project

VARIABLE: Final = "WOMM_TRUST"
"""Hashes of accepted contents, joined by colons."""
_VERSION: Final = 1
_FOLDER: Final = "trust"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """The last acceptance of one `.womm`. files: `Named.found` of each named file, by its label.

    also: the hash of what was accepted before, while womm writes the new content; empty: it does not.
    """

    hash: str
    text: bytes
    files: Mapping[str, str]
    also: str = ""


@dataclass(frozen=True, slots=True)
class Review:
    """A project file as it is now. keys: those that need an acceptance, as they are written.

    named: the files that it names. before: the last acceptance. accepted: whether that is of this very
    content. refused: why it cannot be accepted. seal: of the kubeconfig, see `womm.named.seal`; empty: it
    names none.
    """

    project: Project
    keys: tuple[str, ...]
    named: tuple[Named, ...]
    hash: str
    before: Acceptance | None
    accepted: bool
    refused: TrustError | None = None
    seal: str = ""

    @property
    def counts(self) -> bool:
        return self.refused is None and (self.accepted or not self.keys)

    def error(self) -> TrustError:
        """Return the message for a file that does not count."""
        if self.refused is not None:
            return self.refused
        path, keys = self.project.path, listed(self.keys)
        count = "counts" if len(self.keys) == 1 else "count"
        if self.before is None:
            once = "it" if len(self.keys) == 1 else "them"
            return TrustError(
                f"{path} says {keys}, which {count} only once you have accepted {once}", "womm trust"
            )
        changed = self.changed()
        what = str(path) if self.before.text != self.project.content or not changed else changed[0]
        return TrustError(
            f"{what} has changed since you accepted it: {keys} {count} only once you accept {path} again",
            "womm trust",
        )

    def changed(self) -> list[str]:
        """Return the paths of the files that are not as they were accepted."""
        known = self.before.files if self.before is not None else {}
        return [named.path for named in self.named if known.get(label(self.project, named)) != named.found]


def review(
    project: Project,
    keys: Sequence[str],
    named: Sequence[Named],
    environ: Mapping[str, str],
    *,
    refused: TrustError | None = None,
    seal: str = "",
) -> Review:
    """Compare a project file with its last acceptance."""
    found = fingerprint(project, named)
    before = _read(project)
    known = {before.hash, before.also} if before is not None else set()
    accepted = found in environ.get(VARIABLE, "").split(":") or found in known
    return Review(project, tuple(keys), tuple(named), found, before, accepted, refused, seal)


def fingerprint(project: Project, named: Sequence[Named]) -> str:
    """Return the hash of the content, in hexadecimal. It does not depend on where the project is."""
    parts = [project.content]
    for file in named:
        parts += [os.fsencode(label(project, file)), os.fsencode(file.found)]
    found = hashlib.sha256(b"womm trust %d\0" % _VERSION)
    for part in parts:
        found.update(b"%d\0%b" % (len(part), part))
    return found.hexdigest()


def label(project: Project, file: Named) -> str:
    """Return a file's path: relative to the project's folder if it is below it."""
    below = f"{os.path.normpath(project.folder)}/".replace("//", "/")
    return file.path.removeprefix(below)


def accept(found: Review, *, is_written: bool = True) -> None:
    """Record that this user accepts the bytes that were reviewed, whatever the files hold by now.

    is_written: False before womm itself writes them: until the next call the former content counts, too, so
    that a kill leaves no file that does not. Raises TrustError, JournalError.
    """
    if found.refused is not None:
        raise found.refused
    record = {
        "version": _VERSION,
        "path": os.fsencode(_key(found.project)).decode(errors="backslashreplace"),
        "hash": found.hash,
        "also": "" if is_written or found.before is None else found.before.hash,
        "seal": found.seal,
        "text": base64.b64encode(found.project.content).decode(),
        "files": {label(found.project, file): file.found for file in found.named},
    }
    path = _place(found.project)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with open(beside, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                json.dump(record, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as exc:
        raise TrustError(f"cannot write {path}: {exc.strerror or exc}", f"ls -ld {path.parent}") from exc


def revoke(project: Project) -> bool:
    """Forget the acceptance; return whether there was one. Raises TrustError, JournalError."""
    path = _place(project)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise TrustError(f"cannot remove {path}: {exc.strerror or exc}", f"ls -ld {path.parent}") from exc
    return True


def knows(seal: str) -> bool:
    """Return whether this user has accepted a kubeconfig of this seal, in any project."""
    with suppress(OSError, JournalError):
        for path in store().glob("*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                if json.loads(path.read_bytes())["seal"] == seal:
                    return True
    return False


def store() -> Path:
    """Return the folder of the acceptances. Raises JournalError where there can be none."""
    return places.state_folder() / _FOLDER


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), *names[-1:]])


def _key(project: Project) -> str:
    # Not through `.womm` itself, if that is a link: relative paths in it count from its own folder.
    return os.path.join(os.path.realpath(project.folder), project.path.name)


def _place(project: Project) -> Path:
    return store() / (hashlib.sha256(os.fsencode(_key(project))).hexdigest() + ".json")


def _read(project: Project) -> Acceptance | None:
    """Read an acceptance; a damaged one counts as none."""
    with suppress(OSError, JournalError, ValueError, KeyError, TypeError, AttributeError):
        record = json.loads(_place(project).read_bytes())
        if record["version"] == _VERSION:
            files = {str(name): str(found) for name, found in record["files"].items()}
            also = str(record.get("also", ""))
            return Acceptance(str(record["hash"]), base64.b64decode(record["text"]), files, also)
    return None

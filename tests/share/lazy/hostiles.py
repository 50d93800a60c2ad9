"""A folder that hostile pods are let loose on, the words for them, and what must be left of it."""

import json
import os
import shlex
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from tests.share.eager.eagers import Tree, contents, snapshot
from tests.soak import count

SECRET = "SECRET of the user's machine"
OWN = [".womm", ".wommignore", "sub/.womm", "sub/deep/.wommignore"]
MISSING = ["new/.womm", "new/.wommignore", "sub/.wommignore"]
HIDDEN = ["secret.key", "deep/hid/x", "p/q", "sub/deep/rule"]
LATER = ["Makefile", ".git/hooks/post-commit", ".git/hooks/new", "sub/script.sh"]
"""What the user runs some time."""


@dataclass(frozen=True)
class Target:
    folder: Path
    outside: Path
    before: Tree

    def words(self, script: str, folder: str, *, write: bool, server: str = "", slow: int = 1) -> str:
        """A line for a shell that starts the script. write: only `out` may be written; slow: less of all."""
        read_only = LATER if write else []
        words = [
            "python3",
            script,
            folder,
            "--above",
            "out" if write else ".",
            "--outside",
            str(self.outside),
        ]
        words += ["--protected", *OWN, *MISSING, "--hidden", *HIDDEN, "--read-only", *read_only]
        words += ["--rounds", str(count(60 // slow, 100_000 // slow))]
        words += ["--guesses", str(count(300 // slow, 1_000_000 // slow))]
        return shlex.join([*words, *(["--server", server] if server else [])])

    def again(self) -> "Target":
        """As it is now, with more in it."""
        return replace(self, before=snapshot(self.folder))

    def untouched(self, *, write: bool) -> None:
        """What is womm's, what is hidden, and with `write` all but `out`, is as it was,
        and there is no more of it."""
        after = snapshot(self.folder)
        kept = {os.fsencode(path) for path in (*OWN, *HIDDEN)}
        if write:
            kept = {path for path in self.before if not path.startswith(b"out")}
            made = {path for path in after if not path.startswith((b"out", b"womm."))} - kept
            assert not made, made
        for path in kept:
            ours, theirs = self.before[path], after.get(path)
            if ours[0] == "directory" and theirs is not None:
                ours, theirs = ours[:2], theirs[:2]
            assert theirs == ours, path
        assert {path for path in after if is_own(path)} == {path for path in self.before if is_own(path)}
        assert self.outside.read_text() == SECRET
        assert sorted(os.listdir(self.outside.parent)) == [self.outside.name]
        found = {path for path, text in contents(self.folder).items() if SECRET.encode() in text}
        assert found == set(HIDDEN)


def is_own(path: bytes) -> bool:
    """Of womm's names, or a twin of one."""
    plain = path.lower().replace("\u200b".encode(), b"").split(b"/")
    return any(part.rstrip(b".") in (b".womm", b".wommignore") for part in plain)


def make_target(folder: Path, outside: Path) -> Target:
    """Fill both with what is worth something."""
    for name in ("sub/deep", "new", "deep/hid", "p", ".git/hooks", "out"):
        (folder / name).mkdir(parents=True)
    for name in ("Makefile", ".git/hooks/post-commit", "sub/script.sh", "p/f", "deep/f"):
        (folder / name).write_text("#!/bin/sh\n")
    for name in HIDDEN:
        (folder / name).write_text(SECRET)
    (folder / ".wommignore").write_text("*.key\n/deep/hid/\n/p/q\n")
    (folder / "sub/deep/.wommignore").write_text("rule\n")
    for name in (".womm", "sub/.womm"):
        if not (folder / name).exists():
            (folder / name).write_text("version = 1\n")
    outside.mkdir()
    (outside / "secret").write_text(SECRET)
    return Target(folder, outside / "secret", snapshot(folder))


def scripts(into: Path) -> str:
    """Copy the script where a pod finds it; return its name."""
    for name in ("hostile.py", "hostile_wire.py"):
        shutil.copy(Path(__file__).with_name(name), into)
    return "hostile.py"


def broken(out: str | bytes) -> list[str]:
    """What the script says that it has done; it must have tried."""
    found = json.loads(out)
    assert found["attempts"] > 500
    broke: list[str] = found["broke"]
    return broke

"""A home and folders of programs for the tests of this machine's programs."""

import os
from dataclasses import dataclass
from pathlib import Path

from womm.here.filesystems import FileSystems
from womm.here.homes import Homes
from womm.here.roots import Roots


@dataclass(frozen=True)
class Place:
    """top: holds all; its ancestors may be closed to other users, so every root in it is private."""

    top: Path
    home: Path

    def program(self, path: str, text: str = "#!/bin/sh\n") -> Path:
        """Make a program, and the folders on the way, below `top`."""
        file = self.top / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
        return file

    def link(self, path: str, target: str | Path) -> Path:
        link = self.top / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
        return link

    def python(self, prefix: str) -> Path:
        """Make what looks like a Python; return its prefix."""
        self.program(f"{prefix}/bin/python3.12")
        self.link(f"{prefix}/bin/python3", "python3.12")
        (self.top / prefix / "lib" / "python3.12").mkdir(parents=True)
        return self.top / prefix

    def roots(self, project: str = "", mounts: list[tuple[str, str]] | None = None, top: str = "/") -> Roots:
        return Roots(Homes(str(self.home)), FileSystems(mounts or [("/", "ext4")]), project, top)


def make(folder: Path) -> Place:
    top = Path(os.path.realpath(folder)) / "machine"
    home = top / "home" / "me"
    home.mkdir(parents=True)
    return Place(top, home)

"""What could go from the testbed: files that programs have kept only to be quicker the next time."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from womm import words
from womm.errors import ImageError
from womm.testbed.changes import Changes, File

if TYPE_CHECKING:
    from womm.testbed.container import Testbed

_HOME: Final = r"(?:/root|/home/[^/]+)"
_SURE: Final = (
    ("packages that apt has downloaded", r"/var/cache/apt/(?:archives/.*|[^/]+\.bin)"),
    ("apt's lists of packages", r"/var/lib/apt/lists/.*"),
    ("packages that apk has downloaded", r"/(?:var/cache|etc/apk/cache)/apk/.*|/etc/apk/cache/.*"),
    ("packages that dnf has downloaded", r"/var/cache/(?:dnf|yum|libdnf5)/.*"),
    ("packages that pacman has downloaded", r"/var/cache/pacman/pkg/.*"),
    ("packages that zypper has downloaded", r"/var/cache/zypp/.*"),
    ("packages that pip has downloaded", rf"{_HOME}/\.cache/(?:pip|uv|pypoetry|pipenv)/.*"),
    (
        "packages that npm has downloaded",
        rf"{_HOME}/(?:\.npm/(?:_cacache|_logs|_npx)|\.cache/(?:yarn|node-gyp|pnpm))/.*",
    ),
    (
        "packages that conda has downloaded",
        r"/.*/(?:mini)?(?:conda|forge|mamba)3?/pkgs/.*\.(?:conda|tar\.bz2)",
    ),
    ("what compilers have kept", rf"{_HOME}/\.cache/(?:go-build|ccache|sccache|bazel)/.*"),
    ("histories of shells and editors", rf"{_HOME}/\.(?:\w*_?history|lesshst|viminfo|wget-hsts)"),
)
_OTHERS: Final = re.compile(rf"({_HOME}/\.cache/[^/]+)(?:/.*)?", re.S)
_PATTERNS: Final = tuple((name, re.compile(pattern, re.S)) for name, pattern in _SURE)
_REMOVE: Final = r"""
binmode STDIN;
my ( @folders, $failed );
for my $path ( split /\0/, do { local $/; <STDIN> // '' } ) {
    if ( $path =~ s/^!// ) { push @folders, $path }
    else { unlink $path or $!{ENOENT} or $failed //= "$path: $!" }
}
rmdir $_ for sort { length $b <=> length $a } @folders;
die "$failed\n" if defined $failed;
"""
"""Removes files, and those of the folders (with a `!` before them) that are empty then."""


@dataclass(frozen=True, slots=True)
class Cache:
    name: str
    files: tuple[File, ...]
    sure: bool
    """Programs fetch it again when they need it. False: the user's program may need it, such as a model."""

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def __str__(self) -> str:
        return f"{self.name}: {words.counted(len(self.files), 'file')}, {words.shown_bytes(self.size_bytes)}"


def find(changes: Changes) -> list[Cache]:
    """Return what could go of the changes, the largest first."""
    found: dict[tuple[str, bool], list[File]] = {}
    for file in (*changes.files, *changes.leftovers):
        if file.type == "d":
            continue
        name = next((name for name, pattern in _PATTERNS if pattern.fullmatch(file.path)), None)
        other = _OTHERS.fullmatch(file.path)
        if name is not None:
            found.setdefault((name, True), []).append(file)
        elif other is not None:
            found.setdefault((words.name(other[1]), False), []).append(file)
    caches = [Cache(name, tuple(files), sure) for (name, sure), files in found.items()]
    return sorted(caches, key=lambda cache: (-cache.size_bytes, cache.name))


def clean(testbed: "Testbed", caches: Iterable[Cache], changes: Changes) -> None:
    """Remove the files of these caches, and the folders that were made for them. Raises ImageError."""
    files = [file.path for cache in caches for file in cache.files]
    if not files:
        return
    above = {str(folder) for path in files for folder in PurePosixPath(path).parents}
    told = [*files, *("!" + folder for folder in changes.folders if folder in above)]
    finished = testbed.run(["perl", "-e", _REMOVE], stdin=b"".join(os.fsencode(one) + b"\0" for one in told))
    if finished.status:
        lines = finished.err.decode("utf-8", "replace").split("\n")
        raise ImageError(f"a cache in the testbed cannot be removed: {words.name(lines[0])}", "womm setup")

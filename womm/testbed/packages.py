"""The packages of the testbed, before and after: those of the distribution, and Python's.

dpkg and apk keep one text file each, which `cat` brings in some milliseconds; rpm has a database, so rpm
itself lists it. pacman's and pip's packages are folders by their names, which the list of changes has.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from womm import words

if TYPE_CHECKING:
    from womm.testbed.container import Change, Testbed

_LISTS: Final = ("/var/lib/dpkg/status", "/lib/apk/db/installed", "/usr/lib/apk/db/installed")
_RPM: Final = ("rpm", "-qa", "--queryformat", "%{NAME} %{VERSION}-%{RELEASE}\\n")
_PYTHON: Final = re.compile(
    r"/(?P<name>[^/]+?)(?:-(?P<version>[^/-]+))?(?:-py[\d.]+)?\.(?:dist-info|egg-info)$"
)
# Python packages of the distribution's own: its packages are listed already.
_DISTRIBUTIONS_PYTHON: Final = re.compile(r"^/usr/lib(?:64)?/python[\d.]*/(?:dist-packages|site-packages)/")
_PACMAN: Final = re.compile(r"^/var/lib/pacman/local/(?P<name>[^/]+)-(?P<version>[^/-]+-[^/-]+)$")
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class Packages:
    """Name and version; dpkg's name has the architecture where there are two of them."""

    installed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """Names with versions, sorted."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return a line for each kind that there is."""
        rows = (
            ("+", "installed", self.added),
            ("-", "removed", self.removed),
            ("*", "updated", self.updated),
        )
        return [
            f"{sign} {words.counted(len(names), 'package')} {done}: {_list(names)}"
            for sign, done, names in rows
            if names
        ]


def read(testbed: "Testbed") -> Packages:
    """Return what the distribution's package manager has installed. Raises ImageError."""
    found = parsed(testbed.run(["cat", *_LISTS]).out)
    if not found:
        listed = testbed.run(list(_RPM))
        found = {} if listed.status else _of_rpm(listed.out)
    return Packages(found)


def parsed(lists: bytes) -> dict[str, str]:
    """Return the packages of dpkg's status and apk's list of installed packages, one after the other."""
    found: dict[str, list[tuple[str, str]]] = {}
    for paragraph in lists.decode("utf-8", "replace").split("\n\n"):
        fields = dict(_fields(paragraph))
        if "Package" in fields and fields.get("Status", "").endswith(" installed"):
            found.setdefault(fields["Package"], []).append(
                (fields.get("Architecture", ""), fields.get("Version", ""))
            )
        elif "P" in fields:
            found.setdefault(fields["P"], []).append(("", fields.get("V", "")))
    return {
        f"{name}:{architecture}" if len(of_name) > 1 else name: version
        for name, of_name in found.items()
        for architecture, version in of_name
    }


def _fields(paragraph: str) -> Iterator[tuple[str, str]]:
    for line in paragraph.splitlines():
        name, colon, value = line.partition(":")
        if colon and name in {"Package", "Status", "Architecture", "Version", "P", "V"}:
            yield name, value.strip()


def _of_rpm(lines: bytes) -> dict[str, str]:
    found = {}
    for line in lines.decode("utf-8", "replace").splitlines():
        name, _, version = line.partition(" ")
        if version and name != "gpg-pubkey":  # keys are listed as packages
            found[name] = version
    return found


def difference(before: Packages, after: Packages, changes: Iterable["Change"]) -> Difference:
    """Return what was installed and removed; changes: those of the testbed, as the daemon lists them."""
    gone, come = dict(before.installed), dict(after.installed)
    for change in changes:
        if named := _named(change.path):
            name, version = named
            if change.kind == "D":
                gone.setdefault(name, version)
            elif change.kind == "A":
                come.setdefault(name, version)
    added = sorted(name for name in come if name not in gone)
    removed = sorted(name for name in gone if name not in come)
    updated = sorted(name for name in come if name in gone and come[name] != gone[name])
    return Difference(
        tuple(f"{name} {come[name]}".strip() for name in added),
        tuple(removed),
        tuple(f"{name} {gone[name]} -> {come[name]}" for name in updated),
    )


def _named(path: str) -> tuple[str, str] | None:
    """Return name and version of the package whose folder this is; None: it is none."""
    if found := _PACMAN.search(path):
        return found["name"], found["version"]
    found = _PYTHON.search(path)
    if found is None or _DISTRIBUTIONS_PYTHON.search(path):
        return None
    return f"{found['name']} (Python)", found["version"] or ""


def _list(names: tuple[str, ...]) -> str:
    shown = [words.name(name, 60) for name in names[:_SHOWN]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")

"""PATH as pods get it: the folders of this machine's PATH whose programs they see, in its order."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from womm.here import shims
from womm.here.filesystems import FileSystems
from womm.here.homes import everybody_reads
from womm.here.roots import Roots

_USUAL: Final = "/usr/local/bin:/usr/bin:/bin"
"""Where PATH is not set: as sh has it."""


@dataclass(slots=True)
class SearchPath:
    """folders: in PATH's order, whether the user allows what lies in homes or not. The others: for notes."""

    folders: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    relative: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    network: list[str] = field(default_factory=list)
    replaced: dict[str, str] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """Return a line for each kind of folder that is not simply there."""
        told = {
            "pods do not have these folders of PATH, since they are relative": self.relative,
            "these folders of PATH are not there": self.missing,
            "pods do not have these folders of PATH, since not every user can read them": self.unreadable,
            "pods do not have these folders of PATH, since they are of another system": self.foreign,
            "pods do not have these folders of PATH, since their file server does not answer": self.silent,
            "these folders of PATH are on a network's file system, which may be slow": self.network,
        }
        lines = [f"{text}: {', '.join(found)}" for text, found in told.items() if found]
        return lines + [f"{path} of PATH is {by} in pods" for path, by in self.replaced.items()]


def search_path(env: Mapping[str, str], folder: Path, roots: Roots, filesystems: FileSystems) -> SearchPath:
    """Sort the folders of PATH; make roots of those that pods do not have yet. folder: where jobs run."""
    found = SearchPath()
    for entry in dict.fromkeys(env.get("PATH", _USUAL).split(os.pathsep)):
        if not os.path.isabs(entry):
            found.relative.append(entry or "(an empty one)")
        elif filesystems.is_foreign(entry):
            found.foreign.append(entry)
        elif not filesystems.leads(entry):
            found.silent.append(entry)
        elif not os.path.isdir(entry):
            found.missing.append(entry)
        elif (stood := shims.resolve(os.path.realpath(entry), folder, env)) is not None:
            found.replaced[entry] = ", ".join(stood.folders) or "left out"
            _add(found, stood.folders, roots, f"chosen by {stood.manager}")
        elif shims.is_manager(os.path.realpath(entry)):
            found.replaced[entry] = "left out"
        else:
            if filesystems.is_network(entry):
                found.network.append(entry)
            _add(found, [entry], roots, "in PATH")
    return found


def _add(found: SearchPath, folders: Sequence[str], roots: Roots, why: str) -> None:
    for folder in folders:
        if folder in found.folders:
            continue
        if everybody_reads(folder) and roots.see(folder, why):
            found.folders.append(folder)
            roots.programs(folder)
        elif os.path.realpath(folder) not in roots.refused.broad:  # those have a line of their own
            found.unreadable.append(folder)

"""THIRD_PARTY.md and what the installed distributions say of their licences."""

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent

# Names of licences in older metadata (a classifier, or the free text of "License") -> SPDX.
SPDX = {
    "EPL-2.0 OR GPL-2.0-or-later": "EPL-2.0 OR GPL-2.0-or-later",
    "Apache 2.0": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "ISC license": "ISC",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    **{name: name for name in ("Apache-2.0", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "PSF-2.0")},
}


def declared() -> list[str]:
    """Return every dependency that pyproject.toml names."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = pyproject["project"]
    lines = [
        *project["dependencies"],
        *pyproject["build-system"]["requires"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    return sorted({canonicalize_name(Requirement(line).name) for line in lines})


def shipped() -> list[str]:
    """Return what an installed womm needs here: its dependencies, and theirs."""
    seen: set[str] = set()
    todo = ["womm"]
    while todo:
        name = todo.pop()
        for requirement in map(Requirement, metadata.requires(name) or []):
            needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            child = canonicalize_name(requirement.name)
            if needed and child not in seen:
                seen.add(child)
                todo.append(child)
    return sorted(seen)


def listed() -> dict[str, str]:
    """Return the table of THIRD_PARTY.md: distribution -> SPDX expression."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    return {row[0]: row[1] for row in rows[2:]}


def stated(name: str) -> str:
    """Return the licence that the metadata of an installed distribution states, as SPDX."""
    meta = metadata.metadata(name)
    if "License-Expression" in meta:
        return meta["License-Expression"]
    candidates = [*(meta.get_all("License") or []), *(meta.get_all("Classifier") or [])]
    known = {SPDX[text] for text in candidates if text in SPDX}
    assert len(known) == 1, f"{name} states its licence as none that SPDX above knows: {candidates}"
    return known.pop()


@pytest.mark.parametrize("name", sorted({*declared(), *shipped()}))
def test_licence_of_dependency_is_listed_as_stated(name: str) -> None:
    assert listed().get(name) == stated(name)


def test_table_lists_nothing_else() -> None:
    assert sorted(listed()) == sorted({*declared(), *shipped()})


def test_vendored_parallel_has_its_notice() -> None:
    text = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    assert "GNU parallel" in text
    assert "GPL-3.0-or-later" in text
    notice = (ROOT / "vendor/parallel/NOTICE").read_text(encoding="utf-8")
    assert "GNU General Public License" in notice
    licence = (ROOT / "vendor/parallel/COPYING").read_text(encoding="utf-8")
    assert licence.lstrip().startswith("GNU GENERAL PUBLIC LICENSE")


def test_modules_that_change_gnu_parallel_are_named_with_their_licence() -> None:
    folder = ROOT / "womm/engine/gnu"
    under_the_gpl = [
        path.name for path in folder.glob("*.pm") if "GPL-3.0-or-later" in path.read_text("utf-8")
    ]
    assert under_the_gpl == ["Direct.pm"]
    text = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    assert "`Direct.pm` is under the GPL, version 3 or later" in " ".join(text.split())
    assert "neither linked" not in text

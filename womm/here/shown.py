"""The table of what pods see of this machine, for people."""

from collections.abc import Sequence

from womm import words
from womm.here.programs import Programs

_WHY = 60


def table(programs: Programs) -> list[str]:
    """Return the lines: every root, what of /etc, which variables, and what is left out."""
    rows = [
        (root.path, root.kind + (", by your word" if root.private else ""), root.why)
        for root in programs.roots
    ]
    rows += [(link, "link", f"to {target}") for link, target in programs.links]
    rows.append(
        ("/etc", "system", words.counted(len(programs.etc), "entry", "entries") + " of an allow-list")
    )
    lines = ["pods see of this machine, read-only, what every user here may read:", *columns(rows)]
    lines.append(f"with these variables: {' '.join(programs.env)}")
    return [*lines, *programs.notes]


def columns(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return rows as lines with columns."""
    first = max((len(words.name(row[0])) for row in rows), default=0)
    second = max((len(row[1]) for row in rows), default=0)
    return [
        f"  {words.name(path):<{first}}  {kind:<{second}}  {words.name(why, _WHY)}".rstrip()
        for path, kind, why in rows
    ]

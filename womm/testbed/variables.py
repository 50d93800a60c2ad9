"""Which variables of the testbed's shell become the image's, so that every later job has them.

The shell's own, the terminal's and womm's are nobody's choice: they stay out without a word. Others that
cannot or should not be kept are named with the reason. Values are never shown here.
"""

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from womm.secrets import scan

_SILENT: Final = re.compile(
    "|".join(
        fnmatch.translate(pattern)
        for pattern in (
            # The shell's own, and its prompt's and history's.
            *"_ PWD OLDPWD SHLVL SHELL HOME USER LOGNAME HOSTNAME MAIL MAILCHECK ENV IFS PPID".split(),
            *"PS[0-4] PROMPT_COMMAND PROMPT_DIRTRIM HIST* SHELLOPTS BASHOPTS OPTIND OPTERR FCEDIT".split(),
            # The terminal's.
            *"TERM TERMCAP TERM_* COLORTERM COLUMNS LINES LS_COLORS LS_OPTIONS LESSOPEN LESSCLOSE".split(),
            *"GCC_COLORS GREP_COLORS GREP_COLOR DIR_COLORS".split(),
            # Fedora's /etc/bashrc exports it in each shell.
            "BASH_FUNC_which%%",
            "WOMM_*",
            "__womm*",
        )
    )
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FUNCTION: Final = "BASH_FUNC_"


@dataclass(frozen=True, slots=True)
class Exported:
    """What a visit has exported."""

    kept: Mapping[str, str]
    left_out: Mapping[str, str]
    """Why, by name: a few words for `NAME: WORDS`."""


def exported(before: Mapping[str, str], after: Mapping[str, str]) -> Exported:
    """Sort what is new or different in `after`; both as os.fsdecode has them.

    before: of the image, or when the shell began.
    """
    left_out: dict[str, str] = {}
    candidates: dict[str, str] = {}
    for name in changed(before, after):
        if why := _refused(name, after.get(name)):
            left_out[name] = why
        else:
            candidates[name] = after[name]
    for finding in scan.in_variables(candidates):
        left_out.setdefault(finding.path, f"looks like a secret ({finding.rule})")
    kept = {name: value for name, value in candidates.items() if name not in left_out}
    return Exported(kept, dict(sorted(left_out.items())))


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the names whose variable is new, different or gone, sorted, without those that nobody chose."""
    names = sorted({*before, *after})
    return [name for name in names if before.get(name) != after.get(name) and not _SILENT.match(name)]


def can_be_named(name: str) -> bool:
    """Return whether a shell has such a variable: others come from programs that make environments."""
    return _NAME.fullmatch(name) is not None


def _refused(name: str, value: str | None) -> str:
    """Return why a variable cannot be kept, whatever it is; empty: it can."""
    if name.startswith(_FUNCTION):
        return "a function of the shell: write a script"
    if not can_be_named(name):
        return "no shell can use such a name"
    if value is None:
        return f"an image cannot lose a variable; to empty it: export {name}="
    try:
        value.encode()
    except UnicodeEncodeError:
        return "not UTF-8 text, and an image can keep no other"
    return ""

"""What a typed command was: a step that a build repeats, only a look, or something that no build can do."""

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Final


class Sort(Enum):
    STEP = "a build repeats it"
    LOOK = "it changes nothing"
    EXPORT = "it changes only the shell's variables"
    BY_HAND = "done by hand"
    HOST = "left out, since a build has no files of this machine"


_BETWEEN: Final = ";&|()\n"
"""What stands between two simple commands."""
_PREFIXES: Final = frozenset("time sudo nice nohup command builtin exec then do else !".split())
_LOOKS: Final = frozenset(
    ": [ [[ alias bg bind cal cat cd cksum clear cmp column comm cut date df diff dir dirs dmesg du"
    " echo egrep env exit expr false fg fgrep file free getent getfacl grep groups head help history"
    " hostname htop id info jobs ldd less locale locate ll la logout ls lsattr lsb_release lsblk lscpu"
    " lsof man md5sum more mount nl nproc nvidia-smi od pgrep ping popd pidof printenv printf ps"
    " pstree pushd pwd readlink realpath reset rg seq sha1sum sha256sum sha512sum sleep sort stat"
    " strings stty sum tac tail test top tr tree true tty type uname uniq unalias uptime users w watch"
    " wc whatis whereis which who whoami xxd".split()
)
_UNLESS: Final = {
    "find": r"-(?:delete|exec|ok|fprint|fls)",
    "sed": r"-\w*i|--in-place",
    "sort": r"-o|--output",
    "date": r"-s|--set",
    "hostname": r"[^-]",
    "env": r"[^-]",
}
"""Programs that only look, unless they have an option or a word that begins so."""
_EXPORTS: Final = frozenset(
    "export unset declare typeset readonly local set shopt source . umask ulimit".split()
)
_VERSION: Final = frozenset(("--version", "-version", "-V", "--help", "-h"))
_QUERIES: Final = {
    "apt": "list search show policy depends rdepends".split(),
    "apt-get": "check".split(),
    "apt-cache": "search show showpkg policy depends rdepends stats madison".split(),
    "apk": "info list search policy version".split(),
    "dnf": "list search info repolist provides check-update".split(),
    "yum": "list search info repolist provides check-update".split(),
    "dpkg": "-l --list -L --listfiles -s --status -S --search -V --verify".split(),
    "dpkg-query": "-l --list -L --listfiles -s --status -S --search -W --show".split(),
    "git": "status log diff show branch remote".split(),
    "pip": "list show freeze check search".split(),
    "pip3": "list show freeze check search".split(),
    "npm": "ls list view search".split(),
    "conda": "list search info".split(),
    "zypper": "search se info".split(),
    "systemctl": "status list-units".split(),
}
_EDITORS: Final = frozenset(
    "vi vim nvim nano pico emacs ed mc joe micro visudo vipw passwd tzselect dpkg-reconfigure gdb".split()
)
_REPLS: Final = frozenset(
    "bash sh zsh fish dash ksh su python python3 ipython perl node irb ghci R julia lua psql mysql"
    " sqlite3".split()
)
"""By hand if they have no words: then they read what is typed."""
_OF_THE_FOLDER: Final = frozenset(
    "make gmake ninja cmake meson npm yarn pnpm cargo poetry pipenv pdm bundle composer mvn gradle"
    " rake tox nox pytest git docker podman".split()
)
"""They work on the folder that they run in, whatever their words are."""
_GLOBAL: Final = frozenset(("-g", "--global", "--version"))


def sort(text: str, cwd: str, folder: Path | None) -> Sort:
    """Return what a command was. folder: the project's, which no build has; None: the testbed had none."""
    commands = _commands(text)
    if commands is None:
        return Sort.HOST if _names_the_host(text, folder) else Sort.STEP
    bare = [words for words in map(_without_prefix, commands) if words]
    quiet = not re.search(r"\$\(|`|[<>]\(", text) and not _writes(text)
    if quiet and all(_is_look(words) for words in bare):
        return Sort.LOOK
    if quiet and all(words[0] in _EXPORTS or _is_look(words) for words in bare):
        return Sort.EXPORT
    if any(_is_by_hand(words) for words in bare):
        return Sort.BY_HAND
    if _names_the_host(text, folder) or (folder is not None and _uses(commands, cwd, folder)):
        return Sort.HOST
    return Sort.STEP


def unattended(text: str) -> str:
    """Return the command with the option that answers `yes`, where a package manager would ask."""
    for pattern, done, option in _QUESTIONS:
        text = pattern.sub(partial(_answered, done, option), text)
    return text


_Question = tuple[re.Pattern[str], re.Pattern[str], str]


def _question(programs: str, verbs: str, done: str, option: str) -> _Question:
    head = rf"(?P<head>(?:{programs})(?:\s+-\S+)*\s+(?:{verbs}))"
    command = rf"(?m)(?:^|(?<=[\s;&|(])){head}(?P<rest>(?:\s[^;&|\n]*)?)(?![\w-])"
    return re.compile(command), re.compile(rf"\s(?:{done})(?=\s|$)"), option


_QUESTIONS: Final = (
    _question(
        "apt-get|apt|dnf|yum|microdnf|tdnf|conda|mamba|micromamba",
        "install|reinstall|upgrade|dist-upgrade|full-upgrade|remove|purge|autoremove|build-dep|create",
        "-[a-zA-Z]*y[a-zA-Z]*|--yes|--assume-?yes|-qq",
        "-y",
    ),
    _question("pip3?|python3? -m pip", "uninstall", "-y|--yes", "-y"),
    _question("pacman", "-[SRU][a-z]*", "--noconfirm", "--noconfirm"),
)
"""The commands that ask, the options with which they do not, and the one to add."""


def _answered(done: "re.Pattern[str]", option: str, match: "re.Match[str]") -> str:
    return match[0] if done.search(match[0]) else f"{match['head']} {option}{match['rest']}"


def _commands(text: str) -> list[list[str]] | None:
    """Return the words of each simple command; None where shlex cannot tell them (a here-document)."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|()<>\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
    commands: list[list[str]] = [[]]
    try:
        for word in lexer:
            if word and all(char in _BETWEEN for char in word):
                commands.append([])
            else:
                commands[-1].append(word)
    except ValueError:
        return None
    return [words for words in commands if words and not words[0].startswith("#")]


def _without_prefix(words: Sequence[str]) -> list[str]:
    """Leave out assignments, `sudo` and the like before a command; `A=1` alone leaves `export`."""
    left = list(words)
    while left and (left[0] in _PREFIXES or re.fullmatch(r"\w+\+?=.*", left[0], re.S)):
        left.pop(0)
    return left or ["export"]


def _writes(text: str) -> bool:
    """Return whether output goes to a file."""
    return (
        re.search(r">(?!\s*(?:/dev/null|/dev/stderr|/dev/tty|&\s*[\d-]))", text.replace(">>", ">"))
        is not None
    )


def _is_look(words: Sequence[str]) -> bool:
    program, options = os.path.basename(words[0]), words[1:]
    first = options[0] if options else ""
    if len(options) == 1 and first in _VERSION:
        return True
    if program in _QUERIES:
        verb = next((option for option in options if not option.startswith("-")), "")
        return bool({first, verb} & set(_QUERIES[program]))
    if program == "rpm":
        return re.match(r"-\w*[qV]|--query|--verify", first) is not None
    if program in _UNLESS:
        return not any(re.match(_UNLESS[program], option) for option in options)
    return program in _LOOKS


def _is_by_hand(words: Sequence[str]) -> bool:
    program = os.path.basename(words[0])
    return (
        program in _EDITORS
        or (program in _REPLS and len(words) == 1)
        or tuple(words[:2]) == ("crontab", "-e")
    )


def _names_the_host(text: str, folder: Path | None) -> bool:
    places = ["/mnt", *([str(folder)] if folder is not None else [])]
    return any(re.search(rf"(?<![\w./-]){re.escape(place)}(?![\w.-])", text) for place in places)


def _uses(commands: Iterable[Sequence[str]], cwd: str, folder: Path) -> bool:
    """Return whether commands needed the project's folder, or wrote to it."""
    for words in commands:
        bare = _without_prefix(words)
        if bare[0] == "cd":
            cwd = os.path.normpath(os.path.join(cwd, "/root" if bare[1:2] in ([], ["~"]) else bare[1]))
        elif Path(cwd).is_relative_to(folder):
            if bare[0] in _OF_THE_FOLDER and not _GLOBAL & set(bare):
                return True
            parts = ((part, place == 0) for place, word in enumerate(words) for part in _parts(word))
            if any(_is_of_the_folder(part, cwd, first=first) for part, first in parts):
                return True
    return False


def _parts(word: str) -> list[str]:
    """A word, and the value in `--option=value`."""
    return [part for part in (word, word.partition("=")[2]) if part]


def _is_of_the_folder(word: str, cwd: str, *, first: bool) -> bool:
    if word in {".", ".."} or word.startswith(("./", "../", ".[")):
        return not first or word != "."  # `. FILE` sources it
    if word.startswith(("/", "~", "-")) or (first and "/" not in word):
        return False
    place = Path(cwd)
    try:
        if any(char in word for char in "*?["):
            return next(place.glob(word), None) is not None
        return os.path.lexists(place / word)
    except (OSError, ValueError, NotImplementedError, IndexError):
        return False

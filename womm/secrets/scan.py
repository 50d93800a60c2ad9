"""Find what looks like a secret: in the files of a layer, in variables, in commands. Never show a value.

Strategy: most texts hold no secret, so a text is searched for the rules' words first, and a rule's pattern
runs only where one of its words is. A token with a prefix of its service is told by its shape. An assignment
(`password = ...`) is told by its value: it must look random, and in a program it must stand in quotes.
Pages that explain a program are full of examples, so assignments do not count there.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Final

from womm import words
from womm.secrets import files, rules

LARGEST_TEXT: Final = 1 << 20
"""In bytes. A file that is larger is data, and is told by its name only."""
_PER_FILE: Final = 20
"""The most findings in one file: a list of tokens needs no longer answer."""
_VALUES: Final = 500
"""The most matches of one rule that are looked at in one file: generated files have many."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A place that looks like a secret. The value is not kept."""

    path: str
    """The file, or the name of the variable; empty for a command."""
    line: int
    """The first is 1. 0: the file as a whole, a variable, a command."""
    rule: str

    def __str__(self) -> str:
        place = words.name(self.path) + (f", line {self.line}" if self.line else "")
        return f"{place}: {self.rule}" if place else self.rule


def scan(files: Iterable[tuple[str, bytes]]) -> list[Finding]:
    """Return the findings in files: absolute path and content, which is empty where it is not known.

    A file without content is told by its name alone.
    """
    return [finding for path, content in files for finding in in_file(path, content)]


def in_file(path: str, content: bytes, present: Iterable[bytes] | None = None) -> Iterator[Finding]:
    """Yield the findings in a file. present: which of keywords() are in it; None: look for them."""
    named = list(_by_name(path, content))
    yield from named
    if content and b"\0" not in content:
        lines = {finding.line for finding in named}
        yield from (one for one in _in_content(path, content, _kind(path), present) if one.line not in lines)


def in_text(text: str, path: str = "") -> list[Finding]:
    """Return the findings in a text, such as a command: there `NAME=value` counts as a variable does."""
    data = text.encode("utf-8", "surrogateescape")
    lines = {finding.line: finding.rule for finding in _in_content(path, data, _Kind(rules.ANY))}
    for match in _OPTION.finditer(text):
        lines.setdefault(_line_of(text, match.start()), "password in a command")
    for match in _SPOKEN.finditer(text):
        lines.setdefault(_line_of(text, match.start()), "password in a command")
    for match in _ASSIGNED.finditer(text):
        if rule := _of_variable(match["name"], match["value"].strip("'\"")):
            lines.setdefault(_line_of(text, match.start()), rule)
    return [Finding(path, line, rule) for line, rule in sorted(lines.items())]


def _line_of(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


def in_variables(variables: Mapping[str, str]) -> list[Finding]:
    """Return the variables that look like secrets, by their name or their value: `path` is the name."""
    return [
        Finding(name, 0, rule) for name, value in variables.items() if (rule := _of_variable(name, value))
    ]


def needs_content(path: str) -> bool:
    """Return whether the name of a file alone is a reason to read it."""
    return _named().search(path) is not None


def by_name_alone(path: str) -> str:
    """Return the rule by which a file is a secret, whatever is in it; empty: there is none."""
    match = _named_alone().search(path)
    return files.FILES[int((match.lastgroup or "_0")[1:])].name if match is not None else ""


def is_program_text(path: str) -> bool:
    """Return whether a file is, by its name, a part of a program or a page: packages install many of them."""
    return bool(_SOURCE.search(path) or _PAGES.search(path) or _HEADER.search(path))


@cache
def keywords() -> tuple[bytes, ...]:
    """Return the words, in small letters: a text without any of them, and without MARKS, has no secret.

    A word stands before those that it begins with.
    """
    return tuple(sorted(_by_keyword(), reverse=True))


@cache
def beginnings(place: int) -> tuple[bytes, ...]:
    """Return a word of keywords() and those that it begins with."""
    word = keywords()[place]
    return tuple(one for one in keywords() if word.startswith(one))


MARKS: Final = rb"://[^\s:/@]*:[^\s/@]+@"
"""A pattern for what rules without words look for, in the language of Python and perl."""


# Variables and commands.

_SECRET_NAME: Final = re.compile(
    r"(?:^|_)(?:PASS(?:WORD|WD|PHRASE|CODE)?|PWD|SECRETS?|TOKENS?|CREDENTIALS?|PAT"
    r"|(?:API|ACCESS|AUTH|ACCOUNT|PRIVATE|SECRET|ENCRYPTION|SIGNING|MASTER|SERVICE|LICENSE)_?KEY)(?:$|_|\d)"
    r"|(?:PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|APIKEY|ACCESSKEY|SECRETKEY)(?:$|_)"
)
_WORDS_OF_NAMES: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[-.]")
_NO_SECRET_NAME: Final = re.compile(
    r"^(?:OLD)?PWD$|_(?:FILE|PATH|DIR|URL|URI|ENDPOINT|NAME|TYPE|ID|LENGTH|LIMIT|EXPIRY|TTL|TIMEOUT|COUNT)$"
)
_KEY_NAME: Final = re.compile(r"KEY(?:$|_)|(?:^|_)(?:AUTH|CRED|CREDS|LOGIN|COOKIE|SESSION)(?:$|_)")
"""Names whose value is a secret if it looks random."""
_HARMLESS: Final = re.compile(
    r"|\$.*|(?:~|\.{0,2})/.*|\.{1,2}|true|false|yes|no|on|off|none|null|auto|never|always|\d{1,5}|(?:[a-z_.-]+/)+[a-z_.-]+"
    r"|(?:\d+:)?\d+(?:\.\d+)+[\w.+~-]*",
    re.I | re.S,
)
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]{36,}={0,2}")
_ASSIGNED: Final = re.compile(
    r"""(?:^|(?<=[\s;&|("']))-{0,2}(?P<name>[A-Za-z_][\w.-]*)=(?!=)(?P<value>"[^"]*"|'[^']*'|[^\s;&|()]+)"""
)
_OPTION: Final = re.compile(
    r"""(?<!\S)--?(?:password|passwd|passphrase|token|secret|api-?key|access-?token)[ \t]+(?!["']?[-$])\S"""
    r"""|\bcurl\b[^;|&\n]*\s(?:-u|--user)[ \t=]*["']?[^\s:$"']+:[^\s$]"""
    r"""|\bsshpass\s+-p[ \t]*["']?[^\s$-]"""
    r"""|\blogin\b[^;|&\n]*\s-p[ \t]+["']?[^\s$-]"""
    r"""|\bmysql\w*\b[^;|&\n]*\s-p[^\s$-]"""
)
"""Options of commands that have a password as their value."""
_WORD: Final = (
    r"(?:password|secret(?:_access)?_?key|session_token|_?auth_?token|api[_-]?key|access[_-]?token"
    r"|(?:private|job|deploy)-token|token)"
)
_SPOKEN: Final = re.compile(
    rf"""(?i)(?<![a-z]){_WORD}["']?(?:[ \t]*[:=]|[ \t\n])[ \t]*["']?(?![-$"'])"""
    r"""(?=[^\s"'&;|]*\d)[^\s"'&;|]{6,}"""
    r"""|https?://[0-9a-f]{32,}@|\|\s*chpasswd\b|\bhtpasswd\s+-\w*b|\|\s*sudo\s+-S\b"""
    r"""|\bunzip\b[^;|&\n]*\s-P[ \t]*\S|\b(?:useradd|usermod)\b[^;|&\n]*\s-p[ \t]+\S"""
    r"""|\bwandb login\s+[^-\s]|\bopenssl\b[^;|&\n]*\s-k[ \t]+\S"""
)
"""A word for a secret with a value that has a digit, and commands that take a password in other ways."""


def _of_variable(name: str, value: str) -> str:
    """Return the rule by which a variable is a secret; empty: it is none."""
    data = value.encode("utf-8", "surrogateescape")
    if found := _in_content("", data, _Kind(None)):
        return found[0].rule
    plain = _WORDS_OF_NAMES.sub("_", name).upper()
    if _NO_SECRET_NAME.search(plain):
        return ""
    # A key in base64 may begin with a slash, as a path does.
    harmless = _HARMLESS.fullmatch(value) and not (_BASE64.fullmatch(data) and _is_dense(data))
    if _SECRET_NAME.search(plain) and not harmless:
        return "its name says that it is a secret"
    return "a key by its name" if _KEY_NAME.search(plain) and looks_random(data) else ""


# Files.

_SOURCE: Final = re.compile(
    r"\.(?:py|pyi|pyx|ipynb|c|h|cc|cpp|cxx|hpp|hh|m|js|mjs|cjs|jsx|ts|tsx|go|rs|java|kt|scala|groovy|rb|pl|pm|t|php"
    r"|lua|swift|cs|fs|vb|r|jl|tcl|vim|el|lisp|hs|ml|erl|ex|exs|dart|sql|css|scss|less|awk|m4|ac|am|in|cmake|map)$",
    re.I,
)
_PAGES: Final = re.compile(
    r"\.(?:md|rst|html?|adoc|tex|texi|info|pod|[1-9][a-z]*|gz|po|pot|xsd|xsl|dtd|svg|lock|sum)$"
    r"|/(?:changelog|news|readme|copying|licen[cs]e)[^/]*$",
    re.I,
)
_DATA: Final = re.compile(r"\.(?:txt|xml|csv|tsv|json5?)$", re.I)
_INSTALLED: Final = re.compile(
    r"^/usr/|/share/|/lib/python[\d.]+/|/(?:dist-packages|site-packages|node_modules)/"
)
_EXAMPLES_IN: Final = re.compile(
    r"/usr/(?:local/)?share/(?:doc|man|info|locale|help)/|/man/man\d/"
    r"|(?:^/usr/|/lib/python[\d.]+/|/(?:dist-packages|site-packages|node_modules)/)(?:.*/)?(?:tests?|testing|examples?|docs?)/"
    r"|^/(?:usr|opt)/.*\.(?:md|rst|html?|adoc|texi|info|pod)$|\.(?:dist|egg)-info/(?:METADATA|PKG-INFO)$"
)
_HEADER: Final = re.compile(r"/include/")
_SETTINGS: Final = re.compile(
    r"(?:config|settings|secret|password|credential|auth|token|env)[\w.-]*\.(?:json|xml|txt)$", re.I
)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What counts in a text."""

    assignments: re.Pattern[bytes] | None
    """None: no assignments count."""
    examples: bool = False
    """The file is a page or a test: rules with `has_examples` do not count."""


def _kind(path: str) -> _Kind:
    examples = _EXAMPLES_IN.search(path) is not None
    if examples:
        return _Kind(None, examples)
    if _SOURCE.search(path):
        return _Kind(rules.QUOTED)
    if _PAGES.search(path) or (_DATA.search(path) and _INSTALLED.search(path) and not _SETTINGS.search(path)):
        return _Kind(None)
    return _Kind(rules.ANY)


def _by_name(path: str, content: bytes) -> Iterator[Finding]:
    match = _named().search(path)
    if match is None:
        return
    rule = files.FILES[int((match.lastgroup or "_0")[1:])]
    if rule.content is None:
        yield Finding(path, 0, rule.name)
    elif found := rule.content.search(content):
        # A pattern may begin with blanks and the ends of lines.
        start = found.start() + len(found[0]) - len(found[0].lstrip())
        yield Finding(path, content.count(b"\n", 0, start) + 1, rule.name)


@cache
def _named() -> re.Pattern[str]:
    """One pattern for all files that have a rule; the group's name is the rule's place in FILES."""
    return _pattern(range(len(files.FILES)))


@cache
def _named_alone() -> re.Pattern[str]:
    """As `_named`, for the rules without a content."""
    return _pattern(place for place, rule in enumerate(files.FILES) if rule.content is None)


def _pattern(places: Iterable[int]) -> re.Pattern[str]:
    parts = [f"(?P<_{place}>{files.FILES[place].path})" for place in places]
    return re.compile("/(?:" + "|".join(parts) + r")\Z")


_ASSIGNED_SECRET: Final = len(rules.RULES)
"""Stands for the rule of assignments beside the places in RULES."""
_ALWAYS: Final = frozenset(place for place, rule in enumerate(rules.RULES) if not rule.keywords)


@cache
def _by_keyword() -> dict[bytes, frozenset[int]]:
    """The rules of each word, by their place in RULES."""
    found: dict[bytes, set[int]] = {}
    for place, rule in enumerate(rules.RULES):
        for keyword in rule.keywords:
            found.setdefault(keyword, set()).add(place)
    for word in rules.ASSIGNMENTS:
        found.setdefault(word.encode(), set()).add(_ASSIGNED_SECRET)
    return {keyword: frozenset(places) for keyword, places in found.items()}


def _in_content(
    path: str, content: bytes, kind: _Kind, present: Iterable[bytes] | None = None
) -> list[Finding]:
    """Return the findings in a text, in the order of lines, one for each line."""
    small, places = content.lower(), set(_ALWAYS)
    for keyword in [word for word in _by_keyword() if word in small] if present is None else present:
        places |= _by_keyword()[keyword]
    lines: dict[int, str] = {}
    for place in sorted(places - {_ASSIGNED_SECRET}):
        rule = rules.RULES[place]
        if kind.examples and rule.has_examples:
            continue
        for start, value in _values(rule.pattern.finditer(content)):
            if _is_password(value) if rule.is_password else _is_token(value, rule.entropy):
                lines.setdefault(content.count(b"\n", 0, start) + 1, rule.name)
    if kind.assignments is not None and _ASSIGNED_SECRET in places:
        for start, value in _values(_assigned(kind.assignments, content, small)):
            chosen = rules.PASSWORDS.match(content, start) is not None
            if looks_random(value) or (chosen and looks_chosen(value)):
                lines.setdefault(content.count(b"\n", 0, start) + 1, "assigned secret")
    return [Finding(path, line, rule) for line, rule in sorted(lines.items())[:_PER_FILE]]


def _assigned(pattern: re.Pattern[bytes], content: bytes, small: bytes) -> Iterator[re.Match[bytes]]:
    """Yield the assignments: the search for each word is much faster than a search for the pattern."""
    for name in rules.ASSIGNMENTS:
        word = name.encode()
        place = small.find(word)
        while place >= 0:
            if match := pattern.match(content, place):
                yield match
            place = small.find(word, place + len(word))


def _values(matches: Iterable[re.Match[bytes]]) -> Iterator[tuple[int, bytes]]:
    """Where each match begins, and its value."""
    for match in islice(matches, _VALUES):
        yield match.start(), match[match.lastindex or 0]


# Values.

_EXAMPLE: Final = re.compile(
    rb"(?i)example|x{5,}|\*{3,}|\.{3,}|0{8,}|your[-_]|redacted|placeholder"
    # The logins and tokens of RFC 5849, 6749 and 7617.
    rb"|ad180jjd733klru7|czZCaGRSa3F0Mz|2YotnFZFEjr1zCsicMWpAA|tGzv3JOkF0XG5Qx2TlKWIA|QWxhZGRpbjpvcGVu"
)
_PLACEHOLDER: Final = re.compile(
    rb"(?i)(?:my|your|our|some|the|new|old|db|root|admin|test|default|super)*[-_. ]?"
    rb"(?:pass(?:word|wd|phrase|w)?|pwd?|secret|token|(?:api)?[-_]?key|user(?:name)?|login|auth|value|string"
    rb"|change[-_]?(?:me|it)|foo|bar|baz|foobar|spam|eggs|hello|world|tiger|xyzzy|none|null|true|false|[a-z]{1,3})[-_!]{0,2}"
)
_TEMPLATE: Final = re.compile(
    rb"[<>{}]|^\$|^%|\$\(|\$\w|^@\w+@$|^[./~]|://|^urn:"
    rb"|^(?:\d+:)?\d+(?:\.\d+)+[\w.+~-]*$"  # a version
)
_IDENTIFIER: Final = re.compile(
    rb"[A-Za-z_][a-z]*[0-9]{0,4}(?:[._-]+(?:[A-Za-z][a-z]*)?[0-9]{0,4})+|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+"
)
"""Words with separators between, or a name with dots."""
_HEX: Final = re.compile(rb"(?:0x)?[0-9a-fA-F-]+")
_RUNS: Final = re.compile(rb"[a-z]+|[A-Z]+|[0-9]+|[^a-zA-Z0-9]+")
_SHORTEST: Final = 8
_TOKEN_LENGTH: Final = 16
_HEX_LENGTH: Final = 20


def _is_token(value: bytes, least: float) -> bool:
    return _EXAMPLE.search(value) is None and entropy(value) >= least


def _is_password(value: bytes) -> bool:
    """Return whether a person may have chosen this as a password that counts."""
    return not (_PLACEHOLDER.fullmatch(value) or _EXAMPLE.search(value) or _TEMPLATE.search(value))


def looks_random(value: bytes) -> bool:
    """Return whether an assigned value is hardly a word, a name, a path or a placeholder.

    Words have long runs of one kind of character (small, capital, digit, other); random text has short ones.
    """
    return looks_chosen(value) and _is_dense(value)


def looks_chosen(value: bytes) -> bool:
    """Return whether this may be a password that somebody uses: no name, no placeholder, and with a digit."""
    return (
        re.search(rb"[0-9]", value) is not None
        and re.search(rb"[A-Za-z]", value) is not None
        and _is_password(value)
        and not _IDENTIFIER.fullmatch(value)
    )


def _is_dense(value: bytes) -> bool:
    """Return whether a text has as many short runs, and as many different characters, as a random one."""
    length, runs = len(value), len(_RUNS.findall(value))
    if length < _SHORTEST:
        return False
    if length < _TOKEN_LENGTH:
        return runs >= max(3, length / 4) and entropy(value) >= 0.75 * math.log2(length)
    if _HEX.fullmatch(value):
        return length >= _HEX_LENGTH and runs >= length / 8 and entropy(value) >= 2.8
    return runs >= length / 4 and entropy(value) >= 3.5


def entropy(value: bytes) -> float:
    """Return Shannon's entropy in bits a byte; 0 for nothing."""
    length = len(value)
    return -sum(count / length * math.log2(count / length) for count in Counter(value).values()) + 0.0

"""The values of settings as people write them, with their units, and their meaning.

A reader takes a value as TOML has it, or the text of a variable or an option. It raises ValueError with a
phrase for the values that it expects.
"""

import os
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Final


def whole(least: int) -> Callable[[object], int]:
    expected = f"a whole number, {least} or more"

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value, re.ASCII):
            value = int(value)
        if type(value) is not int or not least <= value < 10**9:
            raise ValueError(expected)
        return value

    return read


_DURATION_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# Longer than any task, and far below the limits of time and poll functions.
_LONGEST_S: Final = 3650 * 86400.0


def parse_duration(value: object) -> float:
    """Read `90s`, `5m`, `1h30m`, `30d` or a number of seconds, more than 0; raises ValueError."""
    seconds = 0.0
    if type(value) in {int, float}:
        seconds = float(str(value))
    elif isinstance(value, str):
        text = value.replace(" ", "")
        parts = re.findall(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ms|s|m|h|d)", text, re.ASCII)
        if parts and "".join(map("".join, parts)) == text:
            seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)
        elif re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", text, re.ASCII):
            seconds = float(text)
    if not 0 < seconds <= _LONGEST_S:
        raise ValueError("a time such as 90s, 5m or 1h30m, or a number of seconds")
    return seconds


_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(?:([kKMGTPE])(i?))?", re.ASCII)
_POWERS: Final = {"k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}


def parse_size(value: object) -> int:
    """Read `512Mi`, `1GiB`, `100M` or a number of bytes; raises ValueError."""
    if type(value) is int and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip().removesuffix("B")) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a size such as 512Mi, 1GiB or a number of bytes")
    number, power, binary = match.groups()
    factor = (1024 if binary else 1000) ** _POWERS[power] if power else 1
    return int(Fraction(number) * factor)


def cpu_millis(quantity: str) -> int:
    """Return a Kubernetes quantity of CPU in thousandths of one; raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})(m?)", quantity, re.ASCII)
    millis = Fraction(0)
    if match is not None:
        millis = Fraction(match[1]) * (1 if match[2] else 1000)
    # The API server refuses quantities finer than 1m.
    if millis <= 0 or millis.denominator != 1:
        raise ValueError("a number of CPUs such as 2, 0.5 or 500m")
    return int(millis)


def mem_bytes(quantity: str) -> int:
    """Return a Kubernetes quantity of memory in bytes; raises ValueError."""
    match = _SIZE.fullmatch(quantity)
    unit = (match[2] or "") + (match[3] or "") if match is not None else ""
    # Kubernetes knows k and Ki, but neither K nor ki.
    if match is None or unit in {"K", "ki"} or " " in quantity or parse_size(quantity) == 0:
        near = re.sub(r"(?i)([kmgtpe])(ib?|b)?$", lambda found: found[1].upper() + "i", quantity)
        also = f" (did you mean {near}?)" if near != quantity and _SIZE.fullmatch(near) else ""
        raise ValueError(f"an amount of memory such as 512Mi or 16Gi{also}")
    return parse_size(quantity)


def format_cpu(millis: int) -> str:
    """Return the shortest Kubernetes quantity: `4`, `1500m`."""
    return f"{millis}m" if millis % 1000 else str(millis // 1000)


def format_mem(size_bytes: int) -> str:
    """Return a Kubernetes quantity with the largest unit that divides it: `512Mi`, `2Gi`."""
    for unit, factor in (("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), *_SMALL_UNITS):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)


_SMALL_UNITS: Final = (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10))


def cpu(value: object) -> str:
    text = str(value).strip() if type(value) in {int, float, str} else ""
    cpu_millis(text)
    return text


def mem(value: object) -> str:
    text = str(value).strip() if type(value) in {int, str} else ""
    mem_bytes(text)
    return text


def program(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("the name or path of a shell")
    return value


def one_of(*choices: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value not in choices:
            raise ValueError(" or ".join(choices))
        return str(value)

    return read


def yes_no(value: object) -> bool:
    """true or false, also as a variable's or an option's text."""
    found = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    known = value if isinstance(value, bool) else found.get(str(value).lower())
    if known is None:
        raise ValueError("true or false")
    return known


def text(expected: str, pattern: str = r"\S.*") -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(expected)
        return value

    return read


def prefix(value: object) -> str:
    """`REGISTRY/NAME/`, in the grammar of images' names; the slash at the end may be missing."""
    expected = "the beginning of an image's name such as registry.example.org/team/"
    part = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
    text = value.rstrip("/") if isinstance(value, str) else ""
    if not re.fullmatch(rf"[A-Za-z0-9.-]+(?::[0-9]+)?(?:/{part})*", text, re.ASCII):
        raise ValueError(expected)
    return text + "/"


# RFC 1123 labels and subdomains, as Kubernetes names its objects.
LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
NAME: Final = rf"{LABEL}(\.{LABEL})*"


def selector(value: object) -> dict[str, str]:
    """`disk=ssd,zone=a`, or a table of texts."""
    if isinstance(value, str):
        parts = [part.partition("=") for part in value.split(",")] if value.strip() else []
        value = {name: text.strip() for name, equals, text in parts if equals and "=" not in text}
        known = len(value) == len(parts)
    else:
        known = isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
    if not known or not isinstance(value, dict) or not all(str(name).strip() for name in value):
        raise ValueError("labels such as disk=ssd,zone=a, or in a file a table of texts")
    return {str(name).strip(): text for name, text in value.items()}


def _within(path: str) -> str:
    """Normalize a path. Raises ValueError for one that leads out, or nowhere."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith(("/", "~")) or ".." in parts or "\0" in path or not path.strip():
        raise ValueError(path)
    return "/".join(parts) or "."


def share_write(value: object) -> tuple[str, ...]:
    """`out/,log.txt`, or a list of texts: paths relative to the shared folder."""
    given = value.split(",") if isinstance(value, str) else value
    try:
        if not isinstance(given, list) or not given or not all(isinstance(path, str) for path in given):
            raise ValueError
        return tuple(dict.fromkeys(_within(path) for path in given))
    except ValueError:
        raise ValueError(
            "paths within the shared folder, without .., such as out/,log.txt, or in a file a list of them"
        ) from None


def here_roots(value: object) -> tuple[str, ...]:
    """`/home/me/.pyenv/versions/3.12.1:~/miniconda3`, or a list of texts; `none`: no folder at all."""
    given = value.split(os.pathsep) if isinstance(value, str) else value
    if given in (["none"], []):
        return ()
    try:
        if not isinstance(given, list) or not all(isinstance(path, str) for path in given):
            raise ValueError
        # A folder that pods may not see has a ! before it.
        marks = ["!" if path.startswith("!") else "" for path in given]
        paths = [os.path.expanduser(path.removeprefix("!")) for path in given]
        if not all(os.path.isabs(path) and "\0" not in path for path in paths):
            raise ValueError
    except ValueError:
        raise ValueError(
            "paths that begin with / or ~, joined by colons, or in a file a list of them; or none"
        ) from None
    return tuple(
        dict.fromkeys(mark + os.path.normpath(path) for mark, path in zip(marks, paths, strict=True))
    )


_EFFECTS: Final = "NoSchedule|PreferNoSchedule|NoExecute"
_TOLERATION = re.compile(rf"([^=:\s]+)(?:=([^=:\s]*))?(?::({_EFFECTS}))?")
_TOLERATION_KEYS: Final = {"key", "operator", "value", "effect", "tolerationSeconds"}


def tolerations(value: object) -> tuple[dict[str, object], ...]:
    """`key=value:NoSchedule,key` as kubectl taint writes them, or tables as Kubernetes has them."""
    expected = "tolerations such as gpu=yes:NoSchedule,spot, or in a file a list of tables"
    if isinstance(value, str):
        found: list[dict[str, object]] = []
        for part in value.split(",") if value.strip() else ():
            match = _TOLERATION.fullmatch(part.strip())
            if match is None:
                raise ValueError(expected)
            key, text, effect = match.groups()
            known = {"key": key, "operator": "Exists" if text is None else "Equal"}
            known |= {"value": text} if text is not None else {}
            found.append({**known, **({"effect": effect} if effect else {})})
        return tuple(found)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(expected)
    if any(set(item) - _TOLERATION_KEYS for item in value):
        raise ValueError("tolerations with no other keys than " + ", ".join(sorted(_TOLERATION_KEYS)))
    return tuple(value)

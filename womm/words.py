"""Words for people: text that does nothing to a terminal, is not too long, and counts in good English.

File names, commands, and messages of a cluster or a pod may hold anything: escape sequences, line ends,
characters that turn the direction of a line, bytes that are not UTF-8. womm passes them through here before
it prints them in a message. Data (a job's output, JSON) does not pass through here.
"""

import os
import re
from typing import Final

NAME_WIDTH: Final = 200
"""The longest name within a sentence. A path may have 4,096 bytes, a command 128 KiB."""
LINE_WIDTH: Final = 2000
"""The longest line on stderr, whatever it quotes."""


def printable(text: str | bytes) -> str:
    """Return `text` as one line that does nothing to a terminal, with escapes as C and Python have them.

    bytes, and surrogates in a text, are as os.fsdecode has them.
    """
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(char: str) -> str:
    if char.isprintable():
        return char
    if "\udc80" <= char <= "\udcff":  # a byte that was not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def name(text: str | bytes, width: int = NAME_WIDTH) -> str:
    """Return a name, a path or a command for use in a sentence: printable, and not longer than `width`."""
    return abridged(printable(text), width)


def line(text: str) -> str:
    """Return one line for stderr: printable, and not longer than a screen or two."""
    return abridged(printable(text), LINE_WIDTH)


def cause(exc: BaseException) -> str:
    """Return why something failed. For an error of the system use the system's words, not a library's.

    Libraries wrap an OSError in sentences of their own, or pass it as an argument of another exception.
    """
    found = system_error(exc)
    if found is not None:
        # asyncio's strerror is "Connect call failed ('127.0.0.1', 443)"; those of TLS and resolvers are good.
        plain = found.strerror and not found.strerror.startswith("Connect call failed")
        return str(found.strerror if plain else os.strerror(found.errno or 0))
    text = str(exc) or type(exc).__name__
    numbers = re.findall(r"\[Errno ([0-9]{1,4})\]", text)  # the connection was tried at several addresses
    return os.strerror(int(numbers[-1])) if numbers else text


def system_error(exc: BaseException) -> OSError | None:
    """Return the OSError with a number that is behind an exception, if there is one."""
    todo, seen = [exc], set[int]()
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.errno is not None:
            return one
        behind = (*one.args, one.__cause__, one.__context__)
        todo += [other for other in behind if isinstance(other, BaseException)]
    return None


def shortened(text: str, width: int) -> str:
    """Cut to `width` characters, with dots where something is missing."""
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."


def abridged(text: str, width: int) -> str:
    """Cut the middle out: a path's last part, or a command's last argument, says most."""
    if len(text) <= width:
        return text
    end = max(0, width - 5) // 2
    return text[: width - 5 - end] + " ... " + (text[-end:] if end else "")


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return `1 file`, `2 files`; `plural`: the noun after every number but 1, else the noun with an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"


def duration(seconds: float) -> str:
    """Two units at most: 41s, 3m20s, 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


def shown_bytes(count: int) -> str:
    """Three digits and a unit: 12.3 MB."""
    if count < 1000:
        return f"{count} B"
    size = float(count)
    for unit in ("kB", "MB", "GB"):
        size /= 1000
        if size < 999.5:
            return f"{size:.3g} {unit}"
    return f"{size / 1000:.3g} TB"

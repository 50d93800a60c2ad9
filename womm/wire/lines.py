"""Lines of JSON: a stream cut into lines, and the fields of the object on a line, each of its type."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from womm.wire.fields import BadMessage

LINE_BYTES: Final = 64 << 20
"""A longer line is none: it must not fill the memory."""
MOST: Final = (1 << 63) - 1


class LineDecoder:
    """Cuts a stream into lines."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<LineDecoder {self._bytes} bytes of a line>"

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that are whole now, without their ends.

        Raises BadMessage for a line that is too long.
        """
        while (end := data.find(b"\n")) >= 0:
            line = b"".join((*self._parts, data[:end]))
            data = data[end + 1 :]
            self._parts.clear()
            self._bytes = 0
            yield line
        if data:
            self._parts.append(data)
            self._bytes += len(data)
            if self._bytes > LINE_BYTES:
                raise BadMessage("a line without an end")


class Facts:
    """The fields of one message by their names. Raises BadMessage for a field of another type.

    A field without a `default` must be there.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields

    def integer(self, name: str, default: int | None = None, *, most: int = MOST) -> int:
        return as_integer(self._fields.get(name, default), name, most)

    def seconds(self, name: str, default: float) -> float:
        value = self._fields.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
            raise BadMessage(f"no seconds: {name}")
        return float(value)

    def text(self, name: str) -> str:
        value = self._fields.get(name)
        if not isinstance(value, str):
            raise BadMessage(f"no text: {name}")
        return value

    def flag(self, name: str) -> bool:
        """False where it is missing."""
        value = self._fields.get(name, False)
        if not isinstance(value, bool):
            raise BadMessage(f"neither true nor false: {name}")
        return value

    def items(self, name: str) -> list[object]:
        """Empty where it is missing."""
        value = self._fields.get(name, [])
        if not isinstance(value, list):
            raise BadMessage(f"no list: {name}")
        return value

    def paths(self, name: str) -> tuple[bytes, ...]:
        return tuple(as_path(item) for item in self.items(name))

    def reasons(self, name: str) -> dict[bytes, str]:
        value = self._fields.get(name, {})
        if not isinstance(value, dict):
            raise BadMessage(f"no object: {name}")
        return {as_path(path): as_text(why) for path, why in value.items()}


def as_integer(value: object, name: str, most: int = MOST) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise BadMessage(f"no such number: {name}")
    return value


def as_text(value: object) -> str:
    if not isinstance(value, str):
        raise BadMessage("no text")
    return value


def as_path(value: object) -> bytes:
    try:
        return os.fsencode(as_text(value))
    except UnicodeEncodeError as exc:
        raise BadMessage(f"no path: {exc}") from None


def path_texts(paths: Sequence[bytes]) -> list[str]:
    return [os.fsdecode(path) for path in paths]


def encode_line(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def decode_line(line: bytes) -> dict[str, Any]:
    """Return the object on a line, which has no end. Raises BadMessage."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise BadMessage(f"no JSON: {exc}") from None
    if not isinstance(found, dict):
        raise BadMessage("no object")
    return found

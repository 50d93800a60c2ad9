"""The fields of SFTP's packets: numbers with the most significant byte first, strings after their length."""

from struct import Struct
from struct import error as StructError
from typing import Final

U32: Final = Struct(">I")
U64: Final = Struct(">Q")


class BadMessage(Exception):
    """The other side has sent what is no message of the protocol."""


class BadOffset(BadMessage):
    """A place in a file, or a size, that no file has."""


def string(data: bytes | memoryview) -> bytes:
    return U32.pack(len(data)) + data


def read_string(data: bytes, pos: int) -> tuple[bytes, int]:
    """Return the string at `pos`, and where it ends. Raises BadMessage."""
    try:
        end = pos + 4 + U32.unpack_from(data, pos)[0]
    except StructError:
        raise BadMessage("a message ends too early") from None
    if end > len(data):
        raise BadMessage("a string beyond the end")
    return data[pos + 4 : end], end


class Reader:
    """The fields of one message, one after the other. Raises BadMessage where there is no such field."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: memoryview, at: int = 0) -> None:
        self._data = data
        self._at = at

    def byte(self) -> int:
        self._at += 1
        try:
            return self._data[self._at - 1]
        except IndexError:
            raise BadMessage("a message ends too early") from None

    def u32(self) -> int:
        try:
            (value,) = U32.unpack_from(self._data, self._at)
        except StructError:
            raise BadMessage("a message ends too early") from None
        self._at += 4
        return int(value)

    def u64(self) -> int:
        try:
            (value,) = U64.unpack_from(self._data, self._at)
        except StructError:
            raise BadMessage("a message ends too early") from None
        self._at += 8
        return int(value)

    def offset(self) -> int:
        """A place in a file, or its size. Raises BadOffset for what no file has."""
        value = self.u64()
        if value >> 63:
            raise BadOffset("an offset that no file has")
        return value

    def view(self) -> memoryview:
        """A string, not copied: valid as long as the message is."""
        size = self.u32()
        end = self._at + size
        if end > len(self._data):
            raise BadMessage("a message ends too early")
        found = self._data[self._at : end]
        self._at = end
        return found

    def string(self) -> bytes:
        return bytes(self.view())

    @property
    def more(self) -> bool:
        return self._at < len(self._data)

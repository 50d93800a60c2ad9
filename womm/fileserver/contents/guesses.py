"""What became of the blocks that were fetched because an earlier task had read them: `Guesses`."""

from womm.fileserver.contents.blocks import Key


class Guesses:
    """Bytes of guessed blocks: `guessed` came, `used` were read later."""

    def __init__(self) -> None:
        self._unused: dict[Key, int] = {}
        self.guessed = 0
        self.used = 0

    def __repr__(self) -> str:
        return f"<Guesses {self.used} of {self.guessed} bytes used>"

    @property
    def wasted(self) -> int:
        """Bytes that came and were not read yet."""
        return self.guessed - self.used

    def came(self, key: Key, size_bytes: int) -> None:
        """A guessed block is there."""
        self.guessed += size_bytes
        self._unused[key] = size_bytes

    def read(self, key: Key) -> None:
        """A client reads from a block."""
        if self._unused:
            self.used += self._unused.pop(key, 0)

"""The jobs of GNU parallel as they come in, whichever way: they are counted, and the user hears of some."""

from collections.abc import Callable


class Arrivals:
    """Counts jobs.

    say: one line for the user. on_first: hears the command line of the first job. check: returns, for a job
    (seq, command), what to warn the user of; None: nothing.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        on_first: Callable[[str], None] | None = None,
        check: Callable[[int, str], str | None] | None = None,
    ) -> None:
        self.count = 0
        self._say = say
        self._on_first = on_first
        self._check = check

    def came(self, seq: int | None, command: bytes) -> None:
        """Count a job, and tell the user what there is to tell. A second warning would say the same."""
        self.count += 1
        if (on_first := self._on_first) is not None:
            self._on_first = None
            on_first(command.decode(errors="surrogateescape"))
        if self._check is None or seq is None:
            return
        if text := self._check(seq, command.decode(errors="surrogateescape")):
            self._check = None
            self._say(text)

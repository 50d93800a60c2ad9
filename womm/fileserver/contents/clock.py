"""The clock of the user's side: `UserClock`."""

import time
from typing import Final

PROMPT_NS: Final = 1_000_000_000
"""A time that took longer to come says nothing of the clock."""


class UserClock:
    """Gives the files that clients write the times that the user's own programs would give them."""

    def __init__(self) -> None:
        self._skew_ns = 0
        """The clock of the user's side less ours."""

    def __repr__(self) -> str:
        return f"<UserClock {self._skew_ns / 1e9:+.3f} s>"

    def now_ns(self) -> int:
        return time.time_ns() + self._skew_ns

    def heard(self, asked_ns: int, now_ns: int, there_ns: int) -> None:
        """It was `there_ns` on the user's side, between `asked_ns` and `now_ns` here."""
        if now_ns - asked_ns < PROMPT_NS:
            self._skew_ns = there_ns - now_ns

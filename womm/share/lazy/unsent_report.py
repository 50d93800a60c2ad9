"""Tells the journal, and at the end of a task the user, which files of the jobs are not in the folder."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from womm.journal.events import ShareUnsent
from womm.share.lazy.unsent import MissingFiles, not_in_the_folder

KEPT: Final = 100
"""Names in one event of the journal."""
ALL_SENT: Final = MissingFiles()
NOT_SENT: Final = "not sent before the end"


class UnsentReport:
    """`say` tells the user a line, `note` takes events for the journal."""

    def __init__(self, say: Callable[[str], None], note: Callable[[ShareUnsent], None]) -> None:
        self._say = say
        self._note_event = note
        self._noted: tuple[MissingFiles, str] = ALL_SENT, ""
        self._lost, self._why_lost = ALL_SENT, ""

    def look(self, now: MissingFiles) -> None:
        """While the task runs: for whoever reads the journal when the coordinator was killed."""
        self._note(self._lost | now, self._why_lost)

    def lost(self, found: MissingFiles, why: str) -> None:
        """These will not come, and nobody writes them again."""
        if found:
            self._say(not_in_the_folder(found.names, found.count, why))
            self._lost, self._why_lost = self._lost | found, why
            self._note(self._lost, why)

    def end(self, left: MissingFiles, refused: Mapping[str, str], why: str) -> int:
        """At the end: tell of what is not sent, and of what the folder has refused (path: why).

        why: why the others are not sent, where it is known. Return how many files they are, with those that
        were lost before.
        """
        reasons: dict[str, list[str]] = {}
        for name, reason in refused.items():
            reasons.setdefault(reason, []).append(name)
        for reason, names in reasons.items():
            self._say(not_in_the_folder(names, len(names), reason))
        names = [name for name in left.names if name not in refused]
        rest = MissingFiles(tuple(names), left.count - len(left.names) + len(names))
        if rest:
            why = why or NOT_SENT
            self._say(not_in_the_folder(rest.names, rest.count, why))
            reasons[why] = []
        everything = self._lost | MissingFiles(tuple(refused), len(refused)) | rest
        if self._why_lost:
            reasons[self._why_lost] = []
        self._note(everything, "; ".join(reasons))
        return everything.count

    def _note(self, found: MissingFiles, reason: str) -> None:
        if (found, reason) != self._noted:
            self._noted = found, reason
            names = found.names[:KEPT]
            self._note_event(ShareUnsent(time.time(), names, found.count, reason))

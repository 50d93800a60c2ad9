"""What has changed in the folder, and is to be known to the file server before a job starts."""

import os

from womm.share.lazy.control import Conversation
from womm.share.lazy.rounds import Rounds
from womm.share.lazy.watch import ALL, NOTHING, FolderChanges, Watcher
from womm.wire.control import Changed, Done


class Barriers:
    """Takes changes from the watcher, and tells the file server of them. For the event loop's thread."""

    def __init__(self, watcher: Watcher, conversation: Conversation) -> None:
        self._watcher = watcher
        self._conversation = conversation
        self._rounds = Rounds(self._tell)
        self._unknown = NOTHING
        """Changes that the server has not acknowledged."""
        self._untold = NOTHING
        """Changes that it has, and that no caller of `join` has got: the one who waited was cancelled."""

    def __repr__(self) -> str:
        return f"<Barriers {self._rounds!r} {self._watcher!r}>"

    @property
    def quiet(self) -> bool:
        """Nothing has changed that the file server does not know: `join` has nothing to do."""
        if self._conversation.lost or self._rounds.busy:
            return False
        self._look()
        return not self._unknown and not self._untold

    async def join(self) -> FolderChanges:
        """Have the file server know what has changed; return that. Raises ShareError.

        Mostly nothing did, and this costs one system call.
        """
        self._conversation.check()
        if self.quiet:
            return NOTHING
        found = await self._rounds.join()
        self._untold = NOTHING
        return found

    def forget(self) -> None:
        """Anything may have changed: the file server knows nothing."""
        self._unknown |= ALL

    def absorb(self) -> None:
        """Empty inotify's queue, and have jobs that run for long see what has changed."""
        self._watcher.absorb()
        if self._conversation.up.is_set() and not self._watcher.why_all and not self._rounds.busy:
            self._look()
            if self._unknown:
                self._rounds.begin()

    async def settle(self) -> None:
        """Wait until nothing is on its way to the file server any more."""
        await self._rounds.settle()

    def _look(self) -> None:
        found = self._watcher.changes()
        if found:
            self._unknown |= found

    async def _tell(self) -> FolderChanges:
        self._look()
        told, self._unknown = self._unknown, NOTHING
        if told:
            paths = () if told.all else tuple(sorted(told.paths, key=os.fsdecode))
            try:
                await self._conversation.ask(Changed(paths, told.all), Done)
            except BaseException:
                self._unknown |= told
                raise
            self._untold |= told
        return self._untold

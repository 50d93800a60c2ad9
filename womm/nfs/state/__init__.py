"""What the server remembers of its clients. Nothing here awaits, or reads a clock by itself.

Strategy: `State` ties together clients and sessions (clients.py), opens and locks (opens.py, locks.py) and
the state file (recovery.py). Between two awaits only one request runs, so there are no locks; a request
looks its stateid up again after each await.
"""

from collections.abc import Callable

from womm.nfs.filesystem import File
from womm.nfs.options import ServerOptions
from womm.nfs.state.clients import Clients
from womm.nfs.state.locks import Range
from womm.nfs.state.opens import Opens
from womm.nfs.state.records import Client, FileKey, LockOwner, Open, OpenOwner, ToClose
from womm.nfs.state.recovery import Stable
from womm.nfs.status import NFSError, Status

__all__ = ["State"]


class State:
    """All that the server remembers of clients; `closing` collects the files to close."""

    def __init__(
        self, options: ServerOptions, *, clock: Callable[[], float], random: Callable[[int], bytes]
    ) -> None:
        self.stable = Stable(options.state_file, random, options.identity)
        self.clock = clock
        self.lease_s = options.lease_s
        self.limits = options.limits.state
        self.closing: list[ToClose] = []
        self.clients = Clients(
            self.stable.boot,
            lease_s=options.lease_s,
            limits=self.limits,
            clock=clock,
            random=random,
            release=self._release,
        )
        self.opens = Opens(self.stable.boot, self.limits, known=self.clients.by_id.__contains__)
        grace_s = options.lease_s if options.grace_s is None else options.grace_s
        self._grace_ends = clock() + grace_s if self.stable.reclaimers else clock()
        self._reclaiming = set(self.stable.reclaimers)

    def _release(self, client: Client) -> None:
        self.closing += self.opens.release_client(client)
        # Its name may be in use by the incarnation that takes its place: that one is recorded again when
        # it opens.
        self.stable.forget(client.key)

    # -- grace ------------------------------------------------------------------------------------
    def in_grace(self) -> bool:
        """Is this the time to reclaim? Ends when it is over or nobody is left who might."""
        if not self.stable.reclaimers:
            return False
        if self.clock() >= self._grace_ends or not self._reclaiming:
            self.stable.end_grace()
            return False
        return True

    def may_reclaim(self, client: Client) -> bool:
        return self.in_grace() and client.key in self.stable.reclaimers and not client.reclaim_complete

    def reclaim_complete(self, client: Client) -> None:
        if client.reclaim_complete:
            raise NFSError(Status.COMPLETE_ALREADY)
        client.reclaim_complete = True
        self._reclaiming.discard(client.key)

    def check_grace(self, client: Client, reclaim: bool) -> None:
        """Raise what an OPEN or LOCK, or one that reclaims, is to be answered instead of being done."""
        if reclaim:
            if not self.may_reclaim(client):
                raise NFSError(Status.NO_GRACE)
        elif self.in_grace() or (client.minor and not client.reclaim_complete):
            raise NFSError(Status.GRACE)

    # -- conflicts --------------------------------------------------------------------------------
    def share_conflict(self, key: FileKey, access: int, deny: int) -> bool:
        """Does a share reservation forbid it? Holders whose lease is over lose what they hold."""
        while (held := self.opens.share_conflict(key, access, deny)) is not None:
            if not self.clients.expired(held.client):
                return True
            self.clients.revoke(held.client)
        return False

    def lock_conflict(
        self, key: FileKey, owner: LockOwner | None, start: int, end: int, write: bool
    ) -> "Range[LockOwner] | None":
        """Return the lock that forbids it, as `share_conflict` does."""
        while (held := self.opens.lock_conflict(key, owner, start, end, write)) is not None:
            if not self.clients.expired(held.owner.client):
                return held
            self.clients.revoke(held.owner.client)
        return None

    # -- owners -----------------------------------------------------------------------------------
    def open_owner(self, client: Client, owner: bytes) -> OpenOwner:
        """Return the owner, made if there is none."""
        found = client.open_owners.get(owner)
        if found is None:
            if len(client.open_owners) >= self.limits.owners:
                self._trim(client)
            found = client.open_owners[owner] = OpenOwner(client, owner, confirmed=client.minor != 0)
        return found

    def lock_owner(self, client: Client, owner: bytes) -> LockOwner:
        found = client.lock_owners.get(owner)
        if found is None:
            if len(client.lock_owners) >= self.limits.owners:
                self._trim(client)
            found = client.lock_owners[owner] = LockOwner(client, owner)
        return found

    def _trim(self, client: Client) -> None:
        """Forget the owners that hold nothing, oldest first: with 4.0 they are kept for retries."""
        for owner in [o for o in client.open_owners.values() if not o.opens and not o.busy]:
            self.opens.closed.pop(owner.closed, None)
            del client.open_owners[owner.owner]
        for lock_owner in [o for o in client.lock_owners.values() if not o.locks and not o.busy]:
            del client.lock_owners[lock_owner.owner]
        if max(len(client.open_owners), len(client.lock_owners)) >= self.limits.owners:
            raise NFSError(Status.RESOURCE if client.minor == 0 else Status.DELAY)

    def opened(self, key: FileKey, owner: OpenOwner, file: File, access: int, deny: int) -> Open:
        """Note an open; the client is on the disk before it can rely on it."""
        self.stable.record(owner.client.key)
        held, unneeded = self.opens.open(key, owner, file, access, deny)
        if unneeded is not None:
            self.closing.append((key[0], unneeded))
        return held

    def take_closing(self) -> list[ToClose]:
        """Return the files that are to be closed now."""
        files, self.closing = self.closing, []
        return files

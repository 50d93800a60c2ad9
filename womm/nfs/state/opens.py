"""Opens with share reservations, lock owners and stateids. Nothing here awaits, nothing does I/O.

Strategy: whatever ends an open returns the backend's files that are to be closed, and the caller closes them
after (decide, then do). A stateid's `other` holds the server's boot, the client and a number, so one that
is not known can still be distinguished: of an earlier boot, of a client whose lease ran out, or nonsense.
"""

from collections.abc import Callable, Iterator
from struct import Struct

from womm.nfs.constants import MAX_U32, SHARE_BOTH, SHARE_READ, SHARE_WRITE
from womm.nfs.filesystem import File
from womm.nfs.options import StateLimits
from womm.nfs.state.locks import Range
from womm.nfs.state.records import (
    ANONYMOUS,
    BYPASS,
    Client,
    FileKey,
    FileState,
    LockOwner,
    LockState,
    Open,
    OpenOwner,
    Stateid,
    ToClose,
)
from womm.nfs.status import NFSError, Status

_OTHER = Struct(">III")


class Opens:
    """All stateids of a server, by number and by file. `known`: is there a client of this id?"""

    def __init__(self, boot: int, limits: StateLimits, *, known: Callable[[int], bool]) -> None:
        self._boot = boot
        self._limits = limits
        self._known = known
        self.by_other: dict[bytes, Open | LockState] = {}
        self.files: dict[FileKey, FileState] = {}
        self.revoked: dict[bytes, Open] = {}
        """By number; see `Client.revoked`."""
        self.closed: dict[bytes, OpenOwner] = {}
        """4.0: whose last request closed it, see OpenOwner.closed."""
        self.open_count = 0
        self.lock_count = 0

    # -- stateids ---------------------------------------------------------------------------------
    def find(self, stateid: Stateid, client: Client | None) -> Open | LockState:
        """Return what a stateid stands for. `client`: the session's; None in 4.0, where the stateid says it.

        Raises BAD_STATEID, OLD_STATEID, DELEG_REVOKED (4.1), STALE_STATEID (4.0), EXPIRED (4.0).
        """
        found = self.by_other.get(stateid.other)
        if found is None:
            raise NFSError(self.unknown(stateid, client))
        if client is None:
            if found.client.minor != 0:
                raise NFSError(Status.BAD_STATEID)
        elif found.client is not client:
            raise NFSError(Status.BAD_STATEID)
        elif stateid.seqid == 0:
            return found
        if stateid.seqid != found.seqid:
            newer = (stateid.seqid - found.seqid) & MAX_U32 < 1 << 31
            raise NFSError(Status.BAD_STATEID if newer else Status.OLD_STATEID)
        return found

    def unknown(self, stateid: Stateid, client: Client | None = None) -> Status:
        """Return the status for a stateid that is not there."""
        revoked = self.revoked.get(stateid.other)
        if revoked is not None and revoked.client is client:
            return Status.DELEG_REVOKED
        if client is not None or stateid.other in (ANONYMOUS.other, BYPASS.other):
            return Status.BAD_STATEID
        boot, client_number, _ = _OTHER.unpack(stateid.other)
        if boot != self._boot:
            return Status.STALE_STATEID
        return Status.BAD_STATEID if self._known(boot << 32 | client_number) else Status.EXPIRED

    def _new_other(self, client: Client) -> bytes:
        while True:
            client.next_stateid = (client.next_stateid + 1) & MAX_U32
            other = _OTHER.pack(self._boot, client.clientid & MAX_U32, client.next_stateid)
            if other not in self.by_other and other not in self.revoked:
                return other

    # -- opens ------------------------------------------------------------------------------------
    def share_conflict(self, key: FileKey, access: int, deny: int) -> Open | None:
        """Return an open whose share reservation forbids this one: also of the same owner (RFC 7530 9.9)."""
        state = self.files.get(key)
        if state is not None:
            for held in state.opens:
                if held.deny & access or held.access & deny:
                    return held
        return None

    def room(self) -> bool:
        return self.open_count < self._limits.opens

    def open(
        self, key: FileKey, owner: OpenOwner, file: File, access: int, deny: int
    ) -> tuple[Open, File | None]:
        """Note an open that was made, or widen the owner's; also return a file that is to be closed."""
        held = owner.opens.get(key)
        bit = 1 << (4 * deny + access)
        if held is not None:
            held.seqid = next_seqid(held.seqid)
            held.combinations |= bit
            held.deny |= deny
            if held.access | access == held.access:
                return held, file
            held.access |= access
            old, held.file = held.file, file
            return held, old
        state = self.files.get(key)
        if state is None:
            state = self.files[key] = FileState(key)
        held = Open(self._new_other(owner.client), 1, owner, state, file, access, deny, bit)
        state.opens.append(held)
        owner.opens[key] = held
        self.by_other[held.other] = held
        self.open_count += 1
        owner.client.opens += 1
        return held, None

    def downgrade(self, held: Open, access: int, deny: int) -> None:
        """Narrow an open to what some of its OPENs asked for together; INVAL otherwise (RFC 7530 16.19.4)."""
        seen_access = seen_deny = 0
        kept = 0
        for bit in range(16):
            if held.combinations >> bit & 1:
                this_access, this_deny = bit & 3, bit >> 2
                if this_access & ~access or this_deny & ~deny:
                    continue
                seen_access |= this_access
                seen_deny |= this_deny
                kept |= 1 << bit
        if (seen_access, seen_deny) != (access, deny):
            raise NFSError(Status.INVAL)
        held.combinations = kept
        held.access, held.deny = access, deny
        held.seqid = next_seqid(held.seqid)

    def close(self, held: Open) -> ToClose:
        """Forget an open and the locks under it; return the file that is to be closed."""
        for lock in list(held.locks):
            self.free_lock(lock)
        held.state.opens.remove(held)
        held.owner.opens.pop(held.state.key, None)
        del self.by_other[held.other]
        self.open_count -= 1
        held.client.opens -= 1
        self._tidy(held.state)
        return held.state.key[0], held.file

    def revoke_delegations(self, export: bytes) -> list[ToClose]:
        """Have the delegations of an export hold no more; return the files that are to be closed."""
        files = []
        for held in list(self.by_other.values()):
            if isinstance(held, Open) and held.version is not None and held.state.key[0] == export:
                files.append(self.close(held))
                self.revoked[held.other] = held.client.revoked[held.state.key] = held
        return files

    def free_revoked(self, stateid: Stateid, client: Client | None) -> bool:
        """Forget a delegation that holds no more, if that is what a stateid stands for. Was it?"""
        held = self.revoked.get(stateid.other)
        if held is None or held.client is not client:
            return False
        del self.revoked[held.other], held.client.revoked[held.state.key]
        return True

    def release_client(self, client: Client) -> list[ToClose]:
        """Forget all that a client has; return the files that are to be closed."""
        files = [
            self.close(held) for owner in client.open_owners.values() for held in list(owner.opens.values())
        ]
        for owner in client.open_owners.values():
            self.closed.pop(owner.closed, None)
        for held in client.revoked.values():
            del self.revoked[held.other]
        client.revoked.clear()
        client.open_owners.clear()
        client.lock_owners.clear()
        return files

    # -- locks ------------------------------------------------------------------------------------
    def lock_state(self, owner: LockOwner, held: Open) -> LockState:
        """Return the owner's lock stateid of the open's file, made if there is none."""
        found = owner.locks.get(held.state.key)
        if found is None:
            found = LockState(self._new_other(owner.client), 0, owner, held.state, held)
            owner.locks[held.state.key] = found
            held.locks.append(found)
            self.by_other[found.other] = found
            owner.client.locks += 1
        return found

    def lock(self, state: LockState, start: int, end: int, write: bool) -> None:
        """Take a range that conflicts with none."""
        before = len(state.state.ranges)
        if self.lock_count >= self._limits.locks:
            raise NFSError(Status.RESOURCE if state.client.minor == 0 else Status.SERVERFAULT)
        state.state.ranges.lock(state.owner, start, end, write)
        self.lock_count += len(state.state.ranges) - before
        state.seqid = next_seqid(state.seqid)

    def unlock(self, state: LockState, start: int, end: int) -> None:
        before = len(state.state.ranges)
        state.state.ranges.unlock(state.owner, start, end)
        self.lock_count += len(state.state.ranges) - before
        state.seqid = next_seqid(state.seqid)

    def free_lock(self, state: LockState) -> None:
        """Forget a lock stateid and its ranges."""
        before = len(state.state.ranges)
        state.state.ranges.unlock(state.owner, 0, 1 << 64)
        self.lock_count += len(state.state.ranges) - before
        state.owner.locks.pop(state.state.key, None)
        if state in state.open.locks:
            state.open.locks.remove(state)
        del self.by_other[state.other]
        state.client.locks -= 1
        if not state.owner.locks and state.client.minor:
            state.client.lock_owners.pop(state.owner.owner, None)
        self._tidy(state.state)

    def lock_conflict(
        self, key: FileKey, owner: "LockOwner | None", start: int, end: int, write: bool
    ) -> "Range[LockOwner] | None":
        state = self.files.get(key)
        if state is None:
            return None
        return state.ranges.conflict(owner or _NOBODY, start, end, write)

    def of_file(self, key: FileKey) -> Iterator[Open]:
        state = self.files.get(key)
        return iter(state.opens if state is not None else ())

    def _tidy(self, state: FileState) -> None:
        if not state.opens and not len(state.ranges):
            self.files.pop(state.key, None)


def next_seqid(seqid: int) -> int:
    """Return the seqid after this one; 0 is never a stateid's (RFC 8881 8.2.2)."""
    return seqid % MAX_U32 + 1


def allows(access: int, want: int) -> bool:
    """May an open of `access` do I/O that needs `want`? One for writing may read (RFC 7530 16.23.5)."""
    return bool(access & want) or (want == SHARE_READ and access == SHARE_WRITE)


assert SHARE_BOTH == SHARE_READ | SHARE_WRITE
_NOBODY = LockOwner(Client(0, 0, b"", b"", (0, 0), 0.0), b"")

"""Clients, their leases, and sessions with their reply caches. Nothing here awaits.

Sources: RFC 7530 9.1 and 16.33-34 (SETCLIENTID), RFC 8881 2.4 and 2.10 (sessions), 18.35 (EXCHANGE_ID).
"""

from collections.abc import Callable
from typing import Final

from womm.nfs.options import StateLimits
from womm.nfs.state.records import ChannelLimits, Client, Principal, Session, Slot
from womm.nfs.state.recovery import ClientKey
from womm.nfs.status import NFSError, Status

REVOKED: Final = 4096
"""So many clients that have lost their state are known as such, the latest."""


class Clients:
    """All clients and sessions. `release` is called with a client that is gone, to drop its opens."""

    def __init__(
        self,
        boot: int,
        *,
        lease_s: float,
        limits: StateLimits,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
        release: Callable[[Client], None],
    ) -> None:
        self.lease_s = lease_s
        self.boot = boot
        self._limits = limits
        self._clock = clock
        self._random = random
        self._release = release
        self._counter = 0
        self.by_id: dict[int, Client] = {}
        self.sessions: dict[bytes, Session] = {}
        self._confirmed: dict[ClientKey, Client] = {}
        self._unconfirmed: dict[ClientKey, Client] = {}
        self._revoked: dict[int, None] = {}

    # -- leases -----------------------------------------------------------------------------------
    def renew(self, client: Client) -> None:
        client.expires = self._clock() + self.lease_s

    def expired(self, client: Client) -> bool:
        return client.under_way == 0 and self._clock() >= client.expires

    def find(self, clientid: int) -> Client:
        """Return a confirmed client and renew its lease.

        Raises EXPIRED for one that has lost its state since its lease was over (RFC 7530 9.6.3), and
        STALE_CLIENTID otherwise.
        """
        client = self.by_id.get(clientid)
        if client is None or not client.confirmed:
            raise NFSError(Status.EXPIRED if clientid in self._revoked else Status.STALE_CLIENTID)
        self.renew(client)
        return client

    def expire(self, courtesy_s: float) -> int:
        """Drop the clients whose lease ended `courtesy_s` ago or more; return how many.

        Clients that are not confirmed, and those that hold nothing, go with the end of their lease.
        """
        now = self._clock()
        gone = [
            client
            for client in self.by_id.values()
            if client.under_way == 0
            and now >= client.expires + (courtesy_s if client.has_state and client.confirmed else 0)
        ]
        for client in gone:
            self.revoke(client)
        return len(gone)

    def revoke(self, client: Client) -> None:
        """Drop a client whose lease is over; one of 4.0 is answered EXPIRED from now on."""
        if client.confirmed and client.minor == 0:
            self._revoked[client.clientid] = None
            if len(self._revoked) > REVOKED:
                del self._revoked[next(iter(self._revoked))]
        self.drop(client)

    def postpone(self, seconds: float) -> None:
        """Extend all leases: the server itself was away, and nobody could renew."""
        for client in self.by_id.values():
            client.expires += seconds

    def drop(self, client: Client) -> None:
        """Forget a client, its sessions and all its state."""
        if self.by_id.get(client.clientid) is client:
            del self.by_id[client.clientid]
        for table in (self._confirmed, self._unconfirmed):
            if table.get(client.key) is client:
                del table[client.key]
        for session in list(client.sessions.values()):
            self.sessions.pop(session.sessionid, None)
        client.sessions.clear()
        self._release(client)

    def _new(self, minor: int, owner: bytes, verifier: bytes, principal: Principal) -> Client:
        if len(self.by_id) >= self._limits.clients:
            self._shed()
        self._counter += 1
        clientid = self.boot << 32 | self._counter
        client = Client(clientid, minor, owner, verifier, principal, self._clock() + self.lease_s)
        self.by_id[clientid] = client
        old = self._unconfirmed.pop(client.key, None)
        if old is not None:
            self.drop(old)
        self._unconfirmed[client.key] = client
        return client

    def _shed(self) -> None:
        """Make room: drop clients that never confirmed, then those whose lease is over; DELAY if all live."""
        ranked = sorted(self.by_id.values(), key=lambda client: (client.confirmed, client.expires))
        for client in ranked[: max(1, len(ranked) // 16)]:
            if client.under_way == 0 and (not client.confirmed or self.expired(client)):
                self.revoke(client)
        if len(self.by_id) >= self._limits.clients:
            raise NFSError(Status.DELAY)

    # -- 4.0 --------------------------------------------------------------------------------------
    def setclientid(self, verifier: bytes, owner: bytes, principal: Principal) -> Client:
        """Return a client to be confirmed by its `confirm` (RFC 7530 16.33.5)."""
        key = (0, owner)
        old = self._confirmed.get(key)
        if old is not None and old.principal != principal and old.has_state and not self.expired(old):
            raise NFSError(Status.CLID_INUSE)
        if old is not None and old.verifier == verifier and old.principal == principal:
            # The callback is to change; there is none, but the confirmation has to be new.
            self._unconfirmed.pop(key, None)
            old.confirm = self._random(8)
            return old
        client = self._new(0, owner, verifier, principal)
        client.confirm = self._random(8)
        return client

    def setclientid_confirm(self, clientid: int, confirm: bytes, principal: Principal) -> Client:
        """Confirm (RFC 7530 16.34.5)."""
        client = self.by_id.get(clientid)
        if client is None or client.minor != 0 or client.confirm != confirm:
            raise NFSError(Status.STALE_CLIENTID)
        if client.principal != principal:
            raise NFSError(Status.CLID_INUSE)
        if not client.confirmed:
            self._confirm(client)
        self.renew(client)
        return client

    def _confirm(self, client: Client) -> None:
        """Put a client in the place of the one that had its name: that one has restarted."""
        old = self._confirmed.get(client.key)
        if old is not None and old is not client:
            self.drop(old)
        self._unconfirmed.pop(client.key, None)
        self._confirmed[client.key] = client
        client.confirmed = True

    # -- 4.1 --------------------------------------------------------------------------------------
    def exchange_id(self, verifier: bytes, owner: bytes, principal: Principal, update: bool) -> Client:
        """Return the client of an EXCHANGE_ID (RFC 8881 18.35.4, the nine cases)."""
        old = self._confirmed.get((1, owner))
        if update:
            if old is None:
                raise NFSError(Status.NOENT)
            if old.verifier != verifier:
                raise NFSError(Status.NOT_SAME)
            if old.principal != principal:
                raise NFSError(Status.PERM)
            self.renew(old)
            return old
        if old is not None:
            if old.principal != principal:
                if old.has_state and not self.expired(old):
                    raise NFSError(Status.CLID_INUSE)
                self.drop(old)
            elif old.verifier == verifier:
                self.renew(old)
                return old
        return self._new(1, owner, verifier, principal)

    def create_session(
        self, clientid: int, sequence: int, principal: Principal, limits: ChannelLimits
    ) -> tuple[Client, Session | None]:
        """Make a session (RFC 8881 18.36.4); None: a retry, whose answer is `Client.created`."""
        client = self.by_id.get(clientid)
        if client is None or client.minor == 0:
            raise NFSError(Status.STALE_CLIENTID)
        if sequence == client.sequence and client.created is not None:
            return client, None
        if sequence != (client.sequence + 1) & 0xFFFFFFFF:
            raise NFSError(Status.SEQ_MISORDERED)
        if not client.confirmed and client.principal != principal:
            raise NFSError(Status.CLID_INUSE)
        if len(client.sessions) >= self._limits.sessions:
            raise NFSError(Status.DELAY)
        if not client.confirmed:
            self._confirm(client)
        client.sequence = sequence
        self.renew(client)
        sessionid = clientid.to_bytes(8, "big") + self._random(8)
        session = Session(sessionid, client, limits, [Slot() for _ in range(limits.slots)])
        client.sessions[sessionid] = self.sessions[sessionid] = session
        return client, session

    def destroy_session(self, session: Session) -> None:
        self.sessions.pop(session.sessionid, None)
        session.client.sessions.pop(session.sessionid, None)

    def destroy_clientid(self, clientid: int) -> None:
        client = self.by_id.get(clientid)
        if client is None or client.minor == 0:
            raise NFSError(Status.STALE_CLIENTID)
        if client.sessions or client.has_state:
            raise NFSError(Status.CLIENTID_BUSY)
        self.drop(client)


def enter_slot(session: Session, slotid: int, seqid: int, digest: int) -> Slot | bytes:
    """Begin a request in a slot (RFC 8881 2.10.6.1); bytes: it is a retry, and they are its answer.

    The caller leaves the slot with `leave_slot`, whatever happens.
    """
    if slotid >= len(session.slots):
        raise NFSError(Status.BADSLOT)
    slot = session.slots[slotid]
    if seqid == (slot.seqid + 1) & 0xFFFFFFFF:
        if slot.busy:
            raise NFSError(Status.SEQ_MISORDERED)
        slot.seqid, slot.busy, slot.reply, slot.digest = seqid, True, None, digest
        return slot
    if seqid != slot.seqid or (seqid == 0 and slot.digest == 0):  # 0 comes after 2**32 - 1 only
        raise NFSError(Status.SEQ_MISORDERED)
    if slot.busy:
        # The first is still running: the answer will be in the cache (RFC 8881 2.10.6.2).
        raise NFSError(Status.DELAY)
    if slot.digest != digest:
        raise NFSError(Status.SEQ_FALSE_RETRY)
    if slot.reply is None:
        raise NFSError(Status.RETRY_UNCACHED_REP)
    return slot.reply


def leave_slot(slot: Slot, reply: bytes | None) -> None:
    """End the request of a slot with the answer to keep."""
    slot.reply = reply
    slot.busy = False

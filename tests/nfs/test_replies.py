"""The reply cache of 4.0: what a repeated request is known by, and what is kept of the first one."""

from struct import pack

import pytest

from tests.nfs import builder as b
from womm.nfs import rpc
from womm.nfs.replies import REPLIES_KEPT, REPLY_KEPT_BYTES, Replies, retry_key
from womm.nfs.xdr import pack_opaque

KEY = ("peer", 1, 2, 3)


def key_of(*, peer="peer", xid=1, minor=0, tail=b""):
    args = pack_opaque(b"tag") + pack(">II", minor, 0) + tail
    record = rpc.pack_call(xid, 100003, 4, 1, credential=b.ROOT_USER, args=args)[4:]
    call = rpc.parse_call(record)
    before = call.args.pos
    key = retry_key(peer, call, record)
    assert call.args.pos == before
    return key


def test_equal_requests_of_a_peer_have_one_key():
    assert key_of() == key_of()


@pytest.mark.parametrize("other", [{"peer": "other"}, {"xid": 2}, {"tail": b"more"}])
def test_other_requests_have_other_keys(other):
    assert key_of() != key_of(**other)


@pytest.mark.parametrize("minor", [1, 2])
def test_requests_with_slots_have_no_key(minor):
    assert key_of(minor=minor) is None


def test_reply_of_a_change_is_kept():
    replies = Replies()
    kept, before = replies.enter(KEY)
    assert not before
    replies.leave(KEY, kept, b"reply", True)
    again, before = replies.enter(KEY)
    assert before
    assert again.reply == b"reply"


@pytest.mark.parametrize(
    ("reply", "modifies"), [(b"reply", False), (bytes(REPLY_KEPT_BYTES + 1), True), ([b"re", b"ply"], True)]
)
def test_other_replies_are_made_again(reply, modifies):
    replies = Replies()
    kept, _ = replies.enter(KEY)
    replies.leave(KEY, kept, reply, modifies)
    assert replies.enter(KEY)[1] is False


def test_oldest_request_goes_when_the_cache_is_full():
    replies = Replies()
    for number in range(REPLIES_KEPT + 1):
        replies.enter(("peer", number, 0, 0))
    assert replies.enter(("peer", 1, 0, 0))[1] is True
    assert replies.enter(("peer", 0, 0, 0))[1] is False

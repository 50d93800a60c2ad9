"""File handles: only what a codec with the same secret has made is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.nfs.constants import FHSIZE
from womm.nfs.filehandles import EXPORT_BYTES, KEY_LIMIT, MAC_BYTES, HandleCodec
from womm.nfs.status import NFSError, Status

CODEC = HandleCodec(b"s" * 32)
EXPORT = b"expo"


def _refused(handle, codec=CODEC):
    with pytest.raises(NFSError) as caught:
        codec.decode(handle)
    return caught.value.status is Status.BADHANDLE


@given(st.binary(min_size=EXPORT_BYTES, max_size=EXPORT_BYTES), st.binary(min_size=1, max_size=KEY_LIMIT))
def test_handle_leads_to_its_export_and_key_after_a_restart_too(export, key):
    handle = CODEC.encode(export, key)
    assert len(handle) <= FHSIZE
    assert HandleCodec(b"s" * 32).decode(handle) == (export, key)
    assert CODEC.encode(export, key) == handle


@pytest.mark.parametrize("key", [b"k", b"k" * 16, b"k" * KEY_LIMIT])
def test_handle_with_any_bit_changed_or_of_another_length_is_refused(key):
    handle = CODEC.encode(EXPORT, key)
    for bit in range(8 * len(handle)):
        forged = bytearray(handle)
        forged[bit // 8] ^= 1 << bit % 8
        assert _refused(bytes(forged))
    for length in range(len(handle)):
        assert _refused(handle[:length])
    assert _refused(handle + b"\0")
    assert _refused(b"\0" + handle)


def test_handle_of_another_server_is_refused():
    assert _refused(HandleCodec(b"t" * 32).encode(EXPORT, b"key"))


def test_handle_of_another_version_is_refused_though_its_mac_is_right():
    import hashlib

    body = b"\2" + EXPORT + b"key"
    mac = hashlib.blake2b(body, key=b"s" * 32, digest_size=MAC_BYTES, person=b"womm-nfs-fh").digest()
    assert _refused(body + mac)


@given(st.binary(max_size=FHSIZE + 8))
def test_random_bytes_are_refused(handle):
    assert _refused(handle)


def test_bytes_move_between_export_and_key_only_with_another_mac():
    one, two = CODEC.encode(b"abcd", b"efgh"), CODEC.encode(b"abcd", b"efg")
    assert one[-MAC_BYTES:] != two[-MAC_BYTES:]
    assert _refused(one[: -MAC_BYTES - 1] + one[-MAC_BYTES:])

"""What requests are answered that nobody knows, or that cannot be read."""

import asyncio
import errno

import pytest

from womm.share.fence import Fence
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.sftp_server.context import RequestContext
from womm.share.lazy.sftp_server.requests import answer
from womm.wire.extensions import EXTENSIONS, Get, Limits, SizeLimits, pack_request
from womm.wire.fields import U64, Reader, string
from womm.wire.replies import BODY_AT, read_number, read_status
from womm.wire.sftp import Code, Kind


@pytest.fixture
def ask(folder):
    """Ask a request by its kind and its body; return the packet that answers at once."""

    def ask(kind, body):
        async def main():
            export = ExportedFolder(Fence(folder))
            context = RequestContext(export, lambda reply: None, lambda: None)
            found = answer(context, kind, 7, Reader(memoryview(body)))
            context.close()
            await asyncio.to_thread(export.close)
            return None if found is None else bytes(found[4:])

        return asyncio.run(main())

    return ask


def test_a_request_that_nobody_knows_is_not_supported(ask):
    for kind, body in ((99, b""), (Kind.EXTENDED, string(b"later@womm"))):
        packet = ask(kind, body)
        assert packet[0] == Kind.STATUS and read_number(packet) == 7
        assert read_status(packet) == (Code.OP_UNSUPPORTED, errno.EOPNOTSUPP)


@pytest.mark.parametrize("kind", [kind for kind in Kind if Kind.OPEN <= kind <= Kind.LINK])
def test_a_request_that_ends_too_early_is_a_bad_message(ask, kind):
    assert read_status(ask(kind, b"\0\0")) == (Code.BAD_MESSAGE, errno.EINVAL)


@pytest.mark.parametrize("request_", [kind for kind in EXTENSIONS if kind.FIELDS])
def test_an_extended_request_that_ends_too_early_is_a_bad_message(ask, request_):
    packet = ask(Kind.EXTENDED, string(request_.NAME) + b"\0\0")
    assert read_status(packet) == (Code.BAD_MESSAGE, errno.EINVAL)


def test_an_offset_that_no_file_has_is_a_bad_parameter(ask):
    body = pack_request(Get(b"f", 0, 1))
    at = body.index(b"f") + 1
    packet = ask(Kind.EXTENDED, body[:at] + U64.pack(1 << 63) + body[at + 8 :])
    assert read_status(packet) == (Code.INVALID_PARAMETER, errno.EINVAL)


def test_a_handle_that_nobody_has_is_stale_to_the_file_server(ask):
    for kind in (Kind.CLOSE, Kind.FSTAT, Kind.READDIR):
        packet = ask(kind, string(b"handle"))
        assert read_status(packet) == (Code.INVALID_HANDLE, errno.EBADF)


def test_limits_are_those_of_the_wire(ask):
    packet = ask(Kind.EXTENDED, pack_request(Limits()))
    found = SizeLimits.read(Reader(memoryview(packet), BODY_AT))
    assert found.read_bytes == found.write_bytes == 4 << 20
    assert found.handles > 0

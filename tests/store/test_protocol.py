"""The kinds of records: each is its own, and is said in the table."""

import re

from womm.store import protocol
from womm.store.pack import CHUNK, header, parse


def kinds() -> list[bytes]:
    marks = (protocol.WHOLE, protocol.TORN)
    found = [value for name, value in vars(protocol).items() if name.isupper() and isinstance(value, bytes)]
    return [value for value in found if value not in marks]


def test_each_kind_is_one_byte_of_its_own_that_a_header_can_have() -> None:
    assert len(set(kinds())) == len(kinds()) >= 17
    for kind in kinds():
        assert len(kind) == 1 and parse(header(kind, b"path", 1)[:-1]) == (kind, (1,), b"path")
    assert len({protocol.WHOLE, protocol.TORN}) == 2


def test_each_kind_is_in_the_table() -> None:
    assert protocol.__doc__ is not None
    table = re.findall(r"^    (\S) {2,}", protocol.__doc__, re.MULTILINE)
    answers = {protocol.WELCOME, protocol.END_OF_LIST, protocol.GONE}
    assert {kind.encode() for kind in table} | answers == set(kinds())


def test_small_file_fits_what_is_read_at_once() -> None:
    assert protocol.SMALL <= CHUNK

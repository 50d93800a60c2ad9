"""The form of the store's stream: headers and paths, whole, byte by byte and hostile."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.store.pack import BadPack, Source, check_path, header, parse
from womm.store.protocol import FILE, LINK

NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda name: not set(name) & {0, 47} and name not in (b".", b"..")
)
PATHS = st.lists(NAMES, min_size=1, max_size=5).map(b"/".join)


def reader(data: bytes, size: int) -> Source:
    """Gives at most `size` bytes at once."""
    stream = io.BytesIO(data)
    return Source(lambda count: stream.read(min(count, size)))


@given(PATHS, st.lists(st.integers(-(1 << 62), 1 << 62), max_size=4), st.integers(1, 50))
def test_header_is_parsed_as_it_was_made_however_it_comes(path: bytes, numbers: list[int], size: int) -> None:
    data = header(FILE, path, *numbers) + b"content" + header(LINK, path)
    source = reader(data, size)
    assert source.record() == (FILE, tuple(numbers), path)
    assert check_path(path) == path
    assert source.exactly(7) == b"content"
    assert source.record() == (LINK, (), path)
    with pytest.raises(EOFError):
        source.record()


@given(st.binary(max_size=200))
def test_garbage_is_a_header_or_is_named(data: bytes) -> None:
    try:
        record = parse(data)
    except BadPack:
        return
    assert all(abs(number) <= 1 << 62 for number in record.numbers)


@pytest.mark.parametrize(
    "path", [b"", b"/", b"/a", b"a/", b"a//b", b".", b"..", b"a/..", b"../a", b"a/./b", b"n" * 256]
)
def test_path_that_leads_elsewhere_is_refused(path: bytes) -> None:
    with pytest.raises(BadPack):
        check_path(path)

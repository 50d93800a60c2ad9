"""Lines of JSON: whole, byte by byte, with a rest, and garbage."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.wire import lines
from womm.wire.fields import BadMessage
from womm.wire.lines import Facts, LineDecoder, decode_line, encode_line

LINES = st.lists(st.binary(max_size=60).map(lambda line: line.replace(b"\n", b"")), max_size=8)


@given(LINES, st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")))
def test_a_whole_stream_gives_every_line_and_keeps_the_rest(sent, rest):
    decoder = LineDecoder()
    assert list(decoder.feed(b"".join(line + b"\n" for line in sent) + rest)) == sent
    assert f"{len(rest)} bytes" in repr(decoder)
    assert list(decoder.feed(b"x\n")) == [rest + b"x"]


@given(LINES)
def test_byte_by_byte_gives_every_line(sent):
    decoder = LineDecoder()
    stream = b"".join(line + b"\n" for line in sent)
    assert [line for byte in stream for line in decoder.feed(bytes([byte]))] == sent


@given(LINES, st.lists(st.integers(1, 80), max_size=20))
def test_any_pieces_give_every_line(sent, sizes):
    decoder = LineDecoder()
    rest = b"".join(line + b"\n" for line in sent)
    found = []
    for size in sizes:
        found += list(decoder.feed(rest[:size]))
        rest = rest[size:]
    assert found + list(decoder.feed(rest)) == sent


def test_a_line_without_an_end_is_a_bad_message_after_those_before_it():
    decoder = LineDecoder()
    found = decoder.feed(b"first\n" + bytes(lines.LINE_BYTES))
    assert next(found) == b"first"
    assert list(found) == []
    with pytest.raises(BadMessage):
        list(decoder.feed(b"x"))


@given(st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=9), max_size=5))
def test_an_object_is_read_as_it_was_encoded(fields):
    line = encode_line(fields)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    assert decode_line(line[:-1]) == fields


@pytest.mark.parametrize(
    "line",
    [b"", b"x", b"[]", b"1", b"null", b'"a"', b"{} {}", b'{"a":1', b"\xff", b"[" * 100_000, b"9" * 5000],
)
def test_what_is_no_object_is_a_bad_message(line):
    with pytest.raises(BadMessage):
        decode_line(line)


@given(st.binary(max_size=60))
def test_garbage_is_an_object_or_a_bad_message(garbage):
    try:
        assert isinstance(decode_line(garbage), dict)
    except BadMessage:
        pass


NUMBERS = ["5", 5.0, True, None, -1, 1 << 63, [], {}]


@pytest.mark.parametrize("value", NUMBERS)
def test_what_is_no_number_is_a_bad_message(value):
    with pytest.raises(BadMessage):
        Facts({"n": value}).integer("n")


@pytest.mark.parametrize("value", ["5", True, None, -1, [], float("nan"), float("inf"), 10**400, -0.1])
def test_what_is_no_time_is_a_bad_message(value):
    with pytest.raises(BadMessage):
        Facts(json.loads(json.dumps({"n": value}))).seconds("n", 1.0)


def test_each_field_has_its_type_and_only_some_may_be_missing():
    facts = Facts({"text": "a", "flag": True, "paths": ["a", "\udcff"], "why": {"a": "b"}, "s": 2})
    assert facts.text("text") == "a"
    assert facts.flag("flag") and not facts.flag("none")
    assert facts.paths("paths") == (b"a", b"\xff") and facts.paths("none") == ()
    assert facts.reasons("why") == {b"a": "b"} and facts.reasons("none") == {}
    assert facts.seconds("s", 1.0) == 2.0 and facts.seconds("none", 1.0) == 1.0
    assert facts.integer("none", 7) == 7
    for call in (facts.integer, facts.text):
        with pytest.raises(BadMessage):
            call("none")


@pytest.mark.parametrize("value", ["a", 1, None, {}, [1], [None], ["\ud800"]])
def test_what_are_no_paths_is_a_bad_message(value):
    with pytest.raises(BadMessage):
        Facts({"p": value}).paths("p")


@pytest.mark.parametrize("value", ["a", [], {"a": 1}, {"\ud800": "a"}])
def test_what_are_no_reasons_is_a_bad_message(value):
    with pytest.raises(BadMessage):
        Facts({"p": value}).reasons("p")


@pytest.mark.parametrize("value", ["true", 1, None])
def test_what_is_neither_true_nor_false_is_a_bad_message(value):
    with pytest.raises(BadMessage):
        Facts({"f": value}).flag("f")

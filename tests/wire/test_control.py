"""The control channel's messages: both ends agree; what is missing, unknown or garbage is as it is said."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm.wire.ahead import AskUse, Learned, Pin, Pinned, Prefetch, Use
from womm.wire.control import (
    VERSION,
    Adopted,
    Answer,
    AskStats,
    Changed,
    Done,
    Finish,
    Flush,
    Flushed,
    FromUser,
    Hello,
    Names,
    NamesHead,
    Owned,
    Refused,
    Request,
    Seen,
    SetOwner,
    ShareStats,
    Unknown,
    Unsent,
    Written,
    decode_from_server,
    decode_from_user,
    decode_reply,
    encode,
    encode_reply,
    encode_request,
)
from womm.wire.fields import BadMessage

N = st.integers(0, 2**63 - 1)
INODE = st.integers(0, 2**64 - 1)
PATH = st.binary(max_size=20)
PATHS = st.lists(PATH, max_size=4).map(tuple)
REASONS = st.dictionaries(PATH, st.text(max_size=9), max_size=3)
ROWS = st.lists(st.tuples(N, PATH) | st.tuples(N, PATH, N, N, INODE, INODE), max_size=4).map(tuple)
SIGNED = st.integers(1 - 2**63, 2**63 - 1)
LEARNED = st.lists(
    st.builds(Learned, PATH, SIGNED, SIGNED, st.lists(N, max_size=3).map(tuple)), max_size=3
).map(tuple)
REQUESTS = st.one_of(
    st.builds(Pin, PATHS),
    st.builds(Prefetch, LEARNED),
    st.just(AskUse()),
    st.builds(Changed, PATHS, st.booleans()),
    st.builds(Flush, N),
    st.just(AskStats()),
    st.builds(Finish, st.floats(0, 1e6)),
    st.builds(SetOwner, st.integers(0, 2**32 - 2), st.integers(0, 2**32 - 2)),
)
TOLD = st.one_of(
    st.builds(Seen, N), st.builds(Names, N, ROWS, st.booleans()), st.builds(Adopted, N, N, INODE)
)
WRITTEN = st.builds(Written, N, st.just({})) | st.builds(Written, st.just(0), REASONS)
REPLIES = st.one_of(
    st.just(Done()),
    WRITTEN,
    st.builds(Flushed, WRITTEN, PATHS, PATHS),
    st.builds(ShareStats, N, N, N, N, N, N, N, N),
    st.builds(Pinned, N, PATHS),
    st.builds(Use, LEARNED),
    st.builds(Owned, st.booleans()),
    st.just(Refused()),
)
FROM_SERVER = st.one_of(
    st.builds(Hello, st.text(max_size=9), st.just(VERSION), st.booleans(), N, N),
    st.builds(
        Unsent, st.dictionaries(N, PATH, max_size=3), st.lists(N, max_size=3).map(tuple), N, st.booleans()
    ),
)


def cut(line):
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    return line[:-1]


@given(N, REQUESTS)
def test_a_request_is_read_as_it_was_encoded(number, request):
    assert decode_from_user(cut(encode_request(number, request))) == FromUser(number, request)


@given(TOLD)
def test_what_needs_no_reply_is_read_as_it_was_encoded(told):
    assert decode_from_user(cut(encode(told))) == FromUser(None, told)


@given(N, REPLIES)
def test_a_reply_is_read_as_it_was_encoded(number, reply):
    line = cut(encode_reply(number, reply))
    answer = decode_from_server(line)
    assert isinstance(answer, Answer) and answer.id == number
    assert decode_reply(answer, type(reply)) == reply
    assert json.loads(line)["ok"] is reply.ok


@given(FROM_SERVER)
def test_what_the_server_says_is_read_as_it_was_encoded(message):
    assert decode_from_server(cut(encode(message))) == message


@given(st.builds(Names, N, ROWS, st.booleans()))
def test_the_user_reads_of_names_what_it_needs(names):
    assert decode_from_server(cut(encode(names))) == NamesHead(names.number, names.reset)


@given(
    st.one_of(TOLD, FROM_SERVER).map(encode) | st.tuples(N, REQUESTS).map(lambda item: encode_request(*item))
)
def test_a_line_that_is_cut_anywhere_is_a_bad_message(line):
    for end in range(len(line) - 1):
        for decode in (decode_from_user, decode_from_server):
            with pytest.raises(BadMessage):
                decode(line[:end])


SAMPLES: dict[Request, bytes] = {
    Changed((b"a/b", b"\xff"), False): b'{"id":1,"op":"changed","paths":["a/b","\\udcff"],"all":false}',
    Flush(1): b'{"id":1,"op":"flush","seen":1}',
    AskStats(): b'{"id":1,"op":"stats"}',
    Finish(40.0): b'{"id":1,"op":"finish","timeout":40.0}',
    SetOwner(1000, 1001): b'{"id":1,"op":"owner","uid":1000,"gid":1001}',
    Pin((b"usr/bin/perl",)): b'{"id":1,"op":"pin","paths":["usr/bin/perl"]}',
    Prefetch((Learned(b"a", 5, 6, (0, 2)), Learned(b"", -1, -7))): (
        b'{"id":1,"op":"prefetch","items":[["a",5,6,[0,2]],["",-1,-7,[]]]}'
    ),
    AskUse(): b'{"id":1,"op":"use"}',
}


@pytest.mark.parametrize("request_", SAMPLES)
def test_the_bytes_of_a_request(request_):
    assert cut(encode_request(1, request_)) == SAMPLES[request_]


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (Seen(3), b'{"op":"seen","number":3}'),
        (Adopted(1, 2, 3), b'{"op":"adopted","generation":1,"change":2,"dev":3}'),
        (
            Names(1, [(1, b"a", 2, 3, 4, 5), (1, b"gone")]),
            b'{"op":"names","number":1,"rows":[[1,"a",2,3,4,5],[1,"gone"]]}',
        ),
        (Names(1, [], True), b'{"op":"names","number":1,"rows":[],"reset":true}'),
        (
            Hello("e", 2, True, 1, 5),
            b'{"op":"hello","epoch":"e","version":2,"whole":true,"generation":1,"change":5}',
        ),
        (Unsent({7: b"a"}, (8,), 0), b'{"op":"unsent","files":[[7,"a"]],"sent":[8],"more":0}'),
        (Unsent({}, (), 2, True), b'{"op":"unsent","files":[],"sent":[],"more":2,"whole":true}'),
    ],
)
def test_the_bytes_of_what_has_no_reply(message, line):
    assert cut(encode(message)) == line


@pytest.mark.parametrize(
    ("reply", "line"),
    [
        (Done(), b'{"id":1,"ok":true}'),
        (Written(5, {}), b'{"id":1,"ok":true,"bytes":5}'),
        (Written(0, {b"a": "why"}), b'{"id":1,"ok":false,"failed":{"a":"why"}}'),
        (
            Flushed(Written(5, {}), (b"a",), ()),
            b'{"id":1,"ok":true,"bytes":5,"changed":["a"],"lost":[]}',
        ),
        (Owned(True), b'{"id":1,"ok":true,"changed":true}'),
        (Refused(), b'{"id":1,"ok":false,"error":"unknown"}'),
        (Pinned(7, (b"a",)), b'{"id":1,"ok":true,"bytes":7,"missing":["a"]}'),
        (Use((Learned(b"a", 5, 6, (0,)),)), b'{"id":1,"ok":true,"items":[["a",5,6,[0]]]}'),
    ],
)
def test_the_bytes_of_a_reply(reply, line):
    assert cut(encode_reply(1, reply)) == line


def test_fields_that_nobody_knows_are_left_out():
    assert decode_from_user(b'{"op":"seen","number":1,"new":[1]}') == FromUser(None, Seen(1))
    assert decode_from_server(b'{"op":"hello","epoch":"e","version":9,"new":1}') == Hello("e", 9, False, 0, 0)


def test_a_hello_of_another_version_says_so_whatever_its_fields_are():
    line = b'{"op":"hello","epoch":"e","version":9,"whole":"all","generation":[1]}'
    assert decode_from_server(line) == Hello("e", 9, False, 0, 0)


def test_a_request_that_nobody_knows_has_its_number():
    assert decode_from_user(b'{"id":3,"op":"later"}') == FromUser(3, Unknown("later"))
    with pytest.raises(BadMessage):
        decode_from_user(b'{"op":"later"}')


def test_what_else_nobody_knows_is_unknown():
    assert decode_from_server(b'{"op":"later","fields":1}') == Unknown("later")
    assert decode_from_server(b"{}") == Unknown("None")


def test_an_owner_needs_no_number_and_a_reply_no_fields():
    assert decode_from_user(b'{"op":"owner","uid":1,"gid":2}') == FromUser(None, SetOwner(1, 2))
    bare = decode_from_server(b'{"id":1,"ok":true}')
    assert isinstance(bare, Answer)
    assert decode_reply(bare, Flushed) == Flushed(Written(0, {}), (), ())
    assert decode_reply(bare, ShareStats) == ShareStats(0, 0, 0, 0, 0, 0, 0, 0)
    assert decode_reply(bare, Owned) == Owned(False)


@pytest.mark.parametrize(
    "line",
    [
        b'{"op":["seen"]}',
        b'{"op":"seen"}',
        b'{"op":"seen","number":"1"}',
        b'{"op":"names","number":1,"rows":[[1]]}',
        b'{"op":"names","number":1,"rows":[[1,"a",2]]}',
        b'{"op":"names","number":1,"rows":[[1,"a",2,3,4,-5]]}',
        b'{"op":"names","number":1,"rows":["ab"]}',
        b'{"op":"names","number":1,"rows":{}}',
        b'{"op":"adopted","generation":1,"change":1}',
        b'{"id":1,"op":"owner","uid":4294967295,"gid":0}',
        b'{"id":null,"op":"owner","uid":1,"gid":0}',
        b'{"id":[],"op":"stats"}',
        b'{"op":"stats"}',
        b'{"id":1,"op":"changed","paths":"ab"}',
        b'{"id":1,"op":"changed","paths":["\\ud800"]}',
        b'{"id":1,"op":"finish","timeout":NaN}',
        b'{"id":1,"op":"prefetch","items":[["a",1,2]]}',
        b'{"id":1,"op":"prefetch","items":[["a",1,2,[-1]]]}',
    ],
)
def test_a_bad_line_of_the_user_is_a_bad_message(line):
    with pytest.raises(BadMessage):
        decode_from_user(line)


@pytest.mark.parametrize(
    "line",
    [
        b'{"op":"hello"}',
        b'{"op":"hello","epoch":1,"version":2}',
        b'{"op":"hello","epoch":"e","version":"2"}',
        b'{"op":"names"}',
        b'{"op":"unsent","files":[[1]],"sent":[],"more":0}',
        b'{"op":"unsent","files":[[1,"a"]],"sent":[]}',
        b'{"op":"unsent","files":[[1,"\\ud800"]],"sent":[],"more":0}',
        b'{"id":"1","ok":true}',
    ],
)
def test_a_bad_line_of_the_server_is_a_bad_message(line):
    with pytest.raises(BadMessage):
        decode_from_server(line)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'{"id":1,"bytes":"x"}', Written),
        (b'{"id":1,"failed":[]}', Written),
        (b'{"id":1,"changed":true}', Flushed),
        (b'{"id":1,"lost":[1]}', Flushed),
        (b'{"id":1,"fetched":-1}', ShareStats),
        (b'{"id":1,"changed":[]}', Owned),
    ],
)
def test_a_reply_with_fields_of_another_type_is_a_bad_message(line, kind):
    answer = decode_from_server(line)
    assert isinstance(answer, Answer)
    with pytest.raises(BadMessage):
        decode_reply(answer, kind)


def test_garbled_lines_are_messages_or_bad_messages():
    chance = random.Random(3)
    lines = [
        *(encode_request(1, request) for request in SAMPLES),
        encode(Names(1, [(1, b"a", 2, 3, 4, 5), (1, b"gone")], True)),
        encode(Adopted(1, 2, 3)),
        encode(Hello("e", 2, True, 1, 5)),
        encode(Unsent({7: b"a"}, (8,), 0, True)),
        encode_reply(1, Flushed(Written(0, {b"a": "why"}), (b"a",), (b"a",))),
    ]
    characters = b'{}[]",:0123456789.eE-+truefalsn\\u dc\xff'
    for _ in range(20_000):
        line = bytearray(cut(chance.choice(lines)))
        for _ in range(chance.randrange(1, 4)):
            line[chance.randrange(len(line))] = chance.choice(characters)
        for decode in (decode_from_user, decode_from_server):
            try:
                found = decode(bytes(line))
                if isinstance(found, Answer):
                    for kind in (Done, Written, Flushed, ShareStats, Owned, Refused, Pinned, Use):
                        decode_reply(found, kind)
            except BadMessage:
                pass

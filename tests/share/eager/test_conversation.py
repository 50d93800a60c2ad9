"""The user's side of a conversation with a store, which may be hostile."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.share.eager.eagers import Rig, contents
from womm.errors import ShareError
from womm.share.eager.conversation import BLOCKS_BYTES, Conversation, check_clock
from womm.share.eager.stream import PodStream
from womm.store.pack import BadPack, Stamp, header
from womm.store.protocol import (
    BLOCKS,
    DIRECTORY,
    END,
    END_OF_LIST,
    FAILED,
    FILE,
    HELLO,
    LINK,
    LIST,
    VERSION,
    WELCOME,
)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.mark.parametrize(
    "skew_s,refused", [(0, False), (1.9, False), (-1.9, False), (2.1, True), (-3600, True)]
)
def test_clock_more_than_two_seconds_off_is_refused(skew_s: float, refused: bool) -> None:
    now = 1_800_000_000_000_000_000
    theirs = now + round(skew_s * 1e9)
    if refused:
        with pytest.raises(ShareError, match=r"clock is \d+\.\d s (behind|ahead of)"):
            check_clock(theirs, now - 1000, now + 1000)
    else:
        check_clock(theirs, now - 1000, now + 1000)


def test_push_with_syncback_refuses_a_store_whose_clock_is_off(rig: Rig) -> None:
    (rig.folder / "f").write_text("f")
    with pytest.raises(ShareError, match=r"the cluster's clock is 3600\.\d s ahead of"):
        rig.push(clock_ns=lambda: time.time_ns() - 3600 * 10**9)
    assert contents(rig.store) == {}
    rig.push(syncback=False, clock_ns=lambda: 0)


class Recorder(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


def talk_to(said: bytes, *, ended: bool = True) -> tuple[Conversation, Recorder]:
    """Return a conversation with a store that has said this; it is at its end, or takes what is sent.

    Nothing here waits: a test reads no more than was said.
    """
    stream, recorder = PodStream(asyncio.get_running_loop()), Recorder()
    stream.connection_made(recorder)
    stream.data_received(said)
    if ended:
        stream.connection_lost(None)
    return Conversation(stream), recorder


LISTED = (
    header(FILE, b"a", 0o644, 4, 10, 11)
    + header(DIRECTORY, b"d", 0o755, 0, 20, 21)
    + header(LINK, b"d/\xff\n ,", 0o777, 3, 30, 31)
)


async def test_list_is_read_with_the_welcome_before_it() -> None:
    said = header(WELCOME, b"id", VERSION, 5) + LISTED + header(END_OF_LIST, b"")
    talk, recorder = talk_to(said, ended=False)
    talk.hello()
    talk.ask_list()
    assert talk.list() == {
        b"a": Stamp(FILE, 0o644, 4, 10, 11),
        b"d": Stamp(DIRECTORY, 0o755, 0, 20, 21),
        b"d/\xff\n ,": Stamp(LINK, 0o777, 3, 30, 31),
    }
    assert (talk.answered, talk.identity) == (True, b"id")
    await asyncio.sleep(0)
    assert recorder.written == header(HELLO, b"", VERSION) + header(LIST, b"")


@pytest.mark.parametrize(
    "said",
    [
        header(FILE, b"d/../x", 0o644, 4, 1, 1),
        header(FILE, b"a/x", 0o644, 4, 1, 1),  # below a file
        header(FILE, b"d/\xff\n ,/x", 0o644, 4, 1, 1),  # below a link
        header(FILE, b"none/x", 0o644, 4, 1, 1),
        header(DIRECTORY, b"a", 0o755, 0, 1, 1),  # there already
        header(FILE, b"x", 0o644, -1, 1, 1),
        header(FILE, b"x", 0o644, 4, 1),
        header(FILE, b"x"),
        header(BLOCKS, b"x", 0o644, 4, 1, 1),
        header(END, b"", 1, 1),
        b"\0",
    ],
    ids=range(11),
)
async def test_list_that_no_folder_has_is_refused(said: bytes) -> None:
    talk, _ = talk_to(LISTED + said + header(END_OF_LIST, b""))
    with pytest.raises(BadPack):
        talk.list()


async def test_list_that_is_cut_anywhere_is_the_end_of_the_stream() -> None:
    said = LISTED + header(END_OF_LIST, b"")
    for at in range(len(said)):
        talk, _ = talk_to(said[:at])
        with pytest.raises(EOFError):
            talk.list()


async def test_store_that_cannot_go_on_says_why_whatever_was_asked() -> None:
    said = header(FAILED, b"no room: \x1b[31m" + b"x" * 5000)
    for ask in (Conversation.list, Conversation.welcome, lambda talk: talk.expect(END, 2)):
        talk, _ = talk_to(said)
        with pytest.raises(ShareError, match=r"^the store: no room: \\x1b\[31mx+") as refused:
            ask(talk)
        assert len(refused.value.message) < 1100


async def test_last_words_are_found_behind_what_nobody_has_read() -> None:
    talk, _ = talk_to(LISTED + header(FAILED, b"killed"))
    with pytest.raises(ShareError, match="the store: killed"):
        talk.last_words()
    for said in (b"", LISTED, LISTED + b"nonsense\0" + header(FAILED, b"killed"), b"x" * 100_000):
        talk, _ = talk_to(said)
        talk.last_words()


@pytest.mark.parametrize("version", [VERSION - 1, VERSION + 1, -1])
async def test_store_of_another_version_has_answered_and_is_refused(version: int) -> None:
    talk, _ = talk_to(header(WELCOME, b"id", version, 5))
    with pytest.raises(ShareError, match=f"speaks version {version} of the store, this womm {VERSION}"):
        talk.welcome()
    assert talk.answered


@pytest.mark.parametrize(
    "said", [header(WELCOME, b""), header(WELCOME, b"", 1, 2, 3), header(END, b"", 1, 2)], ids=range(3)
)
async def test_welcome_that_is_none_is_refused(said: bytes) -> None:
    talk, _ = talk_to(said)
    with pytest.raises(BadPack):
        talk.welcome()
    assert not talk.answered


async def test_blocks_are_as_many_bytes_as_the_store_says_within_bounds() -> None:
    talk, recorder = talk_to(header(BLOCKS, b"f", 3) + b"\0\1\2" + header(BLOCKS, b"f", 0), ended=False)
    assert (talk.blocks(b"f"), talk.blocks(b"f")) == (b"\0\1\2", b"")
    await asyncio.sleep(0)
    assert recorder.written == header(BLOCKS, b"f") * 2
    for size in (-1, BLOCKS_BYTES + 1):
        talk, _ = talk_to(header(BLOCKS, b"f", size), ended=False)
        with pytest.raises(BadPack, match="too many blocks"):
            talk.blocks(b"f")


async def test_end_is_the_stores_time() -> None:
    talk, recorder = talk_to(header(END, b"", 7, 123), ended=False)
    assert talk.end() == 123
    await asyncio.sleep(0)
    assert recorder.written == header(END, b"")

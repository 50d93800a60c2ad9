"""What one task has read is fetched ahead for the next one."""

import asyncio

from tests.fileserver.client import content
from tests.fileserver.lazy import Lazy
from tests.loop import until
from womm.errors import ShareError
from womm.share.lazy.learning import MOST_BYTES, Learning, in_parts
from womm.share.learned import LearnedFile
from womm.wire.ahead import AskUse, Learned, Prefetch, Use
from womm.wire.control import Answer, decode_reply, encode_request
from womm.wire.lines import Facts


class Asking:
    """A Conversation with a file server of the tests."""

    def __init__(self, lazy):
        self.control = lazy.user.control

    async def ask(self, request, reply):
        found = await self.control.ask(request.OP, **request.facts())
        return decode_reply(Answer(found["id"], Facts(found)), reply)


async def test_what_one_task_has_read_the_next_one_gets_ahead(top, place, tmp_path):
    (top / "d").mkdir()
    (top / "d/f").write_bytes(b"x" * 300_000)
    (top / "unused").write_bytes(b"y")
    async with Lazy(top, place / "one") as lazy:
        learning = Learning(Asking(lazy), LearnedFile(tmp_path / "learned"))  # type: ignore[arg-type]
        await learning.tell()  # nothing is known yet
        fs = lazy.fs
        directory = await fs.lookup(fs.root(), b"d")
        await content(fs, await fs.lookup(directory, b"f"))
        await learning.learn()
    async with Lazy(top, place / "two") as lazy:
        learning = Learning(Asking(lazy), LearnedFile(tmp_path / "learned"))  # type: ignore[arg-type]
        await learning.tell()
        await until(lambda: lazy.contents.fetcher.guesses.guessed >= 300_000)
        before = lazy.link.session().sent_requests
        fs = lazy.fs
        directory = await fs.lookup(fs.root(), b"d")
        assert len(await content(fs, await fs.lookup(directory, b"f"))) == 300_000
        assert lazy.link.session().sent_requests == before


async def test_an_end_does_not_fail_by_what_was_learned(tmp_path):
    class Silent:
        why = ""

        async def ask(self, request, reply):
            if self.why:
                raise ShareError(self.why)
            await asyncio.Event().wait()

    learning = Learning(Silent(), LearnedFile(tmp_path / "learned"))  # type: ignore[arg-type]
    for why in ("", "the connection was cut"):
        Silent.why = why
        await learning.learn_last(within_s=0.01)
    assert not (tmp_path / "learned").exists()


async def test_without_a_file_nothing_is_asked():
    learning = Learning(None, None)  # type: ignore[arg-type]
    await learning.tell()
    await learning.learn()
    assert encode_request(1, AskUse()) and Use((Learned(b"a", 1, 1),)).ok


def test_what_is_to_be_fetched_ahead_goes_in_messages_of_bounded_size():
    items = [Learned(b"usr/lib/\xff/%d" % number, number, number, (0, 1)) for number in range(20_000)]
    parts = list(in_parts(items))
    assert [item for part in parts for item in part] == items
    sizes = [len(encode_request(1, Prefetch(part))) for part in parts]
    assert len(sizes) > 1 and max(sizes) < MOST_BYTES
    assert list(in_parts([])) == [] and list(in_parts(items[:2], 1)) == [(items[0],), (items[1],)]

"""SETATTR on a lazy share."""

from tests.fileserver.client import again, content, make
from tests.fileserver.lazy import Lazy
from womm.nfs.constants import SHARE_BOTH
from womm.nfs.filesystem import NOW, Settings


async def test_mode_and_times_are_set_on_the_users_side(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f", b"content")
        await fs.setattr(node, Settings(mode=0o600, mtime_ns=5_000_000_000), None)
        found = (top / "f").stat()
        assert (found.st_mode & 0o777, found.st_mtime_ns) == (0o600, 5_000_000_000)
        seen = await fs.getattr(node, 0)
        assert (seen.mode, seen.mtime_ns) == (0o600, 5_000_000_000)
        assert (top / "f").read_bytes() == b"content"  # sent first, or its time would change again


async def test_what_is_so_already_is_not_asked_for(top, place):
    (top / "f").touch(mode=0o644)
    (top / "f").chmod(0o644)
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await fs.lookup(fs.root(), b"f")
        asked, change = lazy.link.session().sent_requests, node.change
        await fs.setattr(node, Settings(mode=0o644), None)
        assert (lazy.link.session().sent_requests, node.change) == (asked, change)


async def test_times_that_end_an_exclusive_create_are_those_of_its_making(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node, file, _, made = await fs.create(
            fs.root(), b"f", Settings(), verifier=b"12345678", exclusive=True, access=SHARE_BOTH
        )
        assert made and node.use.verifier == b"12345678"
        asked = lazy.link.session().sent_requests
        await fs.setattr(node, Settings(mtime_ns=NOW, atime_ns=NOW), file)
        assert (node.use.verifier, lazy.link.session().sent_requests) == (None, asked)
        await fs.close(file)


async def test_file_that_is_cut_to_nothing_loses_what_was_not_sent(top, place):
    async with Lazy(top, place) as lazy:
        fs = lazy.fs
        node = await make(fs, b"f")
        file = await fs.open(node, SHARE_BOTH)
        await fs.write(file, 0, memoryview(b"never sent"), False)
        await again(lambda: fs.setattr(node, Settings(size=0), file))
        assert (node.stat.size, lazy.contents.backlog.unsent_bytes) == (0, 0)
        await fs.close(file)
        assert await content(fs, node) == b""

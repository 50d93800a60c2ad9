"""Pinned files are there whatever becomes of the link."""

from tests.fileserver.client import content, fails
from tests.fileserver.lazy import Lazy
from womm.nfs.status import Status


async def walk(fs, path):
    node = fs.root()
    for name in path.split(b"/"):
        node = await fs.lookup(node, name)
    return node


async def test_a_pinned_program_needs_no_link(top, place):
    (top / "usr" / "bin").mkdir(parents=True)
    (top / "usr" / "lib").mkdir()
    (top / "bin").symlink_to("usr/bin")
    (top / "usr" / "bin" / "perl").symlink_to("/bin/perl5")
    (top / "usr" / "bin" / "perl5").write_bytes(b"p" * 300_000)
    (top / "usr" / "lib" / "libc").write_bytes(b"c")
    (top / "usr" / "share").mkdir()
    async with Lazy(top, place, static=True) as lazy:
        paths = ["bin/perl", "usr/lib/libc", "usr/share", "usr/none", "usr/lib/../bin/perl5"]
        found = await lazy.user.control.ask("pin", paths=paths)
        assert (found["bytes"], found["missing"]) == (300_001, ["usr/none"])
        await lazy.cut()
        assert await content(lazy.fs, await walk(lazy.fs, b"usr/bin/perl5")) == b"p" * 300_000
        assert await lazy.fs.readlink(await walk(lazy.fs, b"usr/bin/perl")) == b"/bin/perl5"
        await fails(Status.NOENT, walk(lazy.fs, b"usr/lib/absent"))
        await fails(Status.NOENT, walk(lazy.fs, b"usr/share/absent"))
        sent = lazy.blocks.pinned_bytes
        await lazy.connect()
        await walk(lazy.fs, b"usr/lib/libc")
        assert lazy.link.session().sent_requests == 0, "what was seen before a cut is believed after it"
        assert lazy.blocks.pinned_bytes == sent


async def test_a_pin_waits_for_a_cut_link(top, place):
    (top / "f").write_bytes(b"content")
    (top / "loop").symlink_to("loop")
    async with Lazy(top, place, connects=False, static=True) as lazy:
        await lazy.connect()
        await lazy.user.cut()
        await lazy.connect()
        found = await lazy.user.control.ask("pin", paths=["f", "loop"])
        assert (found["bytes"], found["missing"]) == (7, ["loop"])

"""Listings of a real directory: attributes, keys, cookies, names of any bytes, what cannot be looked at."""

import os
import sys

import pytest

from womm.nfs.backends.local import LocalFilesystem
from womm.nfs.constants import FileType
from womm.nfs.filesystem import WANT_KEY, WANT_SIZE
from womm.nfs.status import NFSError, Status

if not sys.platform.startswith("linux"):
    pytest.skip("the local backend needs Linux", allow_module_level=True)


@pytest.fixture
def top(tmp_path):
    path = tmp_path / "top"
    path.mkdir()
    return path


class _Serving:
    """`async with`: a started filesystem."""

    def __init__(self, top):
        self._real = LocalFilesystem(top)

    async def __aenter__(self):
        await self._real.start()
        return self._real

    async def __aexit__(self, *exc):
        await self._real.stop()


async def _list(fs, cookie=0, count=1000, want=WANT_KEY):
    return await fs.readdir(fs.root(), cookie, want, count)


async def test_entries_have_the_attributes_and_keys_of_their_files(top):
    (top / "f").write_bytes(b"x" * 5000)
    (top / "d").mkdir(mode=0o711)
    (top / "l").symlink_to("nowhere")
    os.mkfifo(top / "p")
    async with _Serving(top) as fs:
        listing = await _list(fs)
        assert listing.eof
        kinds = {entry.name: entry.attributes.kind for entry in listing.entries}
        assert kinds == {
            b"f": FileType.REGULAR,
            b"d": FileType.DIRECTORY,
            b"l": FileType.SYMLINK,
            b"p": FileType.FIFO,
        }
        for entry in listing.entries:
            node = await fs.lookup(fs.root(), entry.name)
            assert entry.key == node.key
            assert entry.attributes == await fs.getattr(node, 0x1FF)
            assert entry.cookie > 2


async def test_key_of_an_entry_that_was_never_looked_up_leads_to_its_file(top):
    (top / "f").write_bytes(b"content")
    async with _Serving(top) as fs:
        [entry] = (await _list(fs)).entries
        node = await fs.resolve(entry.key)
        assert (node.name, (await fs.getattr(node, WANT_SIZE)).size) == (b"f", 7)


@pytest.mark.parametrize("count", [1, 2, 7, 60])
async def test_directory_cut_into_pieces_has_each_name_once(top, count):
    names = {b"%d" % number + b"\xff\n" + b"x" * (number * 3 % 240) for number in range(60)}
    for name in names:
        os.close(os.open(os.fsencode(top) + b"/" + name, os.O_CREAT | os.O_WRONLY))
    async with _Serving(top) as fs:
        seen, cookie, eof = [], 0, False
        while not eof:
            listing = await _list(fs, cookie, count)
            assert len(listing.entries) <= count
            seen += [entry.name for entry in listing.entries]
            cookie = listing.entries[-1].cookie if listing.entries else cookie
            eof = listing.eof
        assert len(seen) == 60 and set(seen) == names


async def test_empty_directory_is_at_its_end_at_once(top):
    async with _Serving(top) as fs:
        assert (await _list(fs)) == (await _list(fs, count=1))
        listing = await _list(fs)
        assert (list(listing.entries), listing.eof) == ([], True)


@pytest.mark.parametrize("cookie", [2**63 + 3, 2**64 - 1])
async def test_cookie_that_no_listing_gave_is_a_bad_one(top, cookie):
    (top / "f").touch()
    async with _Serving(top) as fs:
        with pytest.raises(NFSError) as caught:
            await _list(fs, cookie)
        assert caught.value.status is Status.BAD_COOKIE


async def test_listing_leaves_no_descriptor_and_makes_no_node(top):
    for number in range(50):
        (top / str(number)).touch()
    async with _Serving(top) as fs:
        before = len(os.listdir("/proc/self/fd"))
        assert len((await _list(fs)).entries) == 50
        assert len(os.listdir("/proc/self/fd")) == before
        assert list(fs._tree.nodes.values()) == [fs.root()]


async def test_directory_that_was_removed_by_another_program_is_empty_or_stale(top):
    (top / "d").mkdir()
    async with _Serving(top) as fs:
        directory = await fs.lookup(fs.root(), b"d")
        os.rmdir(top / "d")
        try:
            listing = await fs.readdir(directory, 0, WANT_KEY, 10)
        except OSError:
            return  # the kernel has none to open
        assert not listing.entries

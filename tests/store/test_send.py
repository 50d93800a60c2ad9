"""Files of a tree as records: each as it was at one moment."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from womm.store.pack import CHUNK, Source, header
from womm.store.protocol import BIG, BLOCK_BYTES, DELTA, DIGEST_BYTES, FILE, LINK, PIECE, SMALL, TORN
from womm.store.receive import receive_pieces
from womm.store.send import Gone, Out, block_digests, digest, send_delta, send_file, send_link
from womm.store.tree import Found, Tree, walk


class Sending:
    """A tree, and what is sent of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = os.open(folder, os.O_RDONLY)
        self.tree = Tree(self.root)
        self.written = b""
        self.out = Out(self.write)

    def write(self, data: bytes) -> None:
        self.written += data

    def found(self, path: bytes) -> Found:
        return walk(self.root).entries[path]

    @property
    def sent(self) -> bytes:
        self.out.flush()
        return self.written

    @property
    def source(self) -> Source:
        return Source(io.BytesIO(self.sent).read)

    def close(self) -> None:
        self.tree.close()
        os.close(self.root)


@pytest.fixture
def sending(tmp_path: Path) -> Iterator[Sending]:
    folder = tmp_path / "folder"
    folder.mkdir()
    sending = Sending(folder)
    yield sending
    sending.close()


def received(source: Source, path: Path, size: int) -> bytes:
    """Write the pieces of a file; return its content."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        assert receive_pieces(source, fd, size)
    finally:
        os.close(fd)
    return path.read_bytes()


def test_out_writes_much_at_once_and_counts_what_it_has_not_written_yet() -> None:
    writes: list[int] = []
    out = Out(lambda data: writes.append(len(data)))
    out.flush()
    for _ in range(5):
        out.add(b"x" * (CHUNK // 4))
    assert (writes, out.total) == ([CHUNK], CHUNK // 4 * 5)
    out.flush()
    out.flush()
    assert (writes, out.total) == ([CHUNK, CHUNK // 4], CHUNK // 4 * 5)


@pytest.mark.parametrize("size", [0, 1, SMALL])
@pytest.mark.parametrize("is_expected", [True, False])
def test_small_file_is_a_header_and_its_content(sending: Sending, size: int, is_expected: bool) -> None:
    data = os.urandom(size)
    (sending.folder / "f").write_bytes(data)
    found = sending.found(b"f")
    sent = send_file(sending.out, sending.tree, b"f", found if is_expected else None, digests=True)
    assert sending.sent == header(FILE, b"f", found.stamp.mode, found.stamp.mtime_ns, size) + data
    assert sent == (found.ino, found.stamp, digest(data))


def test_file_is_sent_under_another_path_if_that_is_wanted(sending: Sending) -> None:
    (sending.folder / "f").write_bytes(b"x")
    found = sending.found(b"f")
    for expected in (found, None):
        send_file(sending.out, sending.tree, b"f", expected, digests=False, as_path=b"other/\xff")
    assert sending.sent == header(FILE, b"other/\xff", found.stamp.mode, found.stamp.mtime_ns, 1) + b"x" + (
        header(FILE, b"other/\xff", found.stamp.mode, found.stamp.mtime_ns, 1) + b"x"
    )


@pytest.mark.parametrize("change", ["grows", "shrinks", "is touched", "is another"])
def test_file_that_is_not_as_it_was_found_is_sent_as_it_is_now(sending: Sending, change: str) -> None:
    path = sending.folder / "f"
    path.write_bytes(b"before")
    found = sending.found(b"f")
    if change == "is another":
        path.unlink()
        path.write_bytes(b"later!")
    elif change == "is touched":
        os.utime(path, ns=(0, 5))
    else:
        path.write_bytes(b"x" * (10 if change == "grows" else 2))
    sent = send_file(sending.out, sending.tree, b"f", found, digests=True)
    source = sending.source
    record = source.record()
    assert record.numbers == (sent.stamp.mode, path.stat().st_mtime_ns, path.stat().st_size)
    assert source.exactly(record.numbers[2]) == path.read_bytes()
    assert sent.digest == digest(path.read_bytes())


def test_large_file_is_pieces_of_its_data_without_its_holes(sending: Sending, tmp_path: Path) -> None:
    size = SMALL * 40
    with open(sending.folder / "f", "wb") as file:
        file.truncate(size)
        file.seek(SMALL * 20)
        file.write(b"y" * SMALL * 2)
    found = sending.found(b"f")
    sent = send_file(sending.out, sending.tree, b"f", found, digests=True)
    assert (sent.stamp, sent.digest) == (found.stamp, b"")
    assert len(sending.sent) < SMALL * 3
    source = sending.source
    assert source.record() == (BIG, (found.stamp.mode, found.stamp.mtime_ns, size), b"f")
    assert received(source, tmp_path / "copy", size) == (sending.folder / "f").read_bytes()


def test_large_file_that_grows_under_its_reader_is_torn_and_comes_again(sending: Sending) -> None:
    path = sending.folder / "f"
    path.write_bytes(b"x" * (CHUNK * 2))
    grown: list[int] = []

    def write(data: bytes) -> None:
        sending.write(data)
        if not grown:
            grown.append(1)
            with open(path, "ab") as file:
                file.write(b"more")

    sent = send_file(Out(write), sending.tree, b"f", None, digests=False)
    assert sent.stamp.size == CHUNK * 2 + 4
    assert sending.written.count(PIECE.pack(0, 0) + TORN) == 1


def test_file_that_changes_whenever_it_is_read_is_gone(sending: Sending) -> None:
    path = sending.folder / "f"
    path.write_bytes(b"x" * (CHUNK * 2))

    def write(data: bytes) -> None:
        with open(path, "ab") as file:
            file.write(b"more")

    with pytest.raises(Gone):
        send_file(Out(write), sending.tree, b"f", None, digests=False)


@pytest.mark.parametrize("kind", ["nothing", "below a file", "link", "directory", "fifo"])
def test_what_is_no_regular_file_is_gone_and_nothing_is_sent(sending: Sending, kind: str) -> None:
    path = sending.folder / "f"
    if kind == "below a file":
        path.touch()
        path /= "below"
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    name = os.fsencode(path.relative_to(sending.folder))
    with pytest.raises(Gone):
        send_file(sending.out, sending.tree, name, None, digests=False)
    with pytest.raises(Gone):
        send_delta(sending.out, sending.tree, name, b"")
    assert sending.sent == b""


# -- differences
def test_digests_are_of_blocks_the_last_of_which_is_shorter(tmp_path: Path) -> None:
    data = os.urandom(BLOCK_BYTES * 2 + 5)
    (tmp_path / "f").write_bytes(data)
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        found = block_digests(fd, len(data))
        blocks = (data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES))
        assert found == b"".join(map(digest, blocks))
        assert len(found) == 3 * DIGEST_BYTES
        assert block_digests(fd, 0) == b""
        assert block_digests(fd, 1 << 50) == found  # it has become shorter meanwhile
    finally:
        os.close(fd)


@pytest.mark.parametrize("how", ["same", "middle", "longer", "shorter", "empty", "garbage"])
def test_delta_makes_the_older_version_equal_to_the_newer(sending: Sending, tmp_path: Path, how: str) -> None:
    old = os.urandom(BLOCK_BYTES * 4 + 5)
    new, blocks = {
        "same": (old, 0),
        "middle": (old[: BLOCK_BYTES + 1] + b"changed" + old[BLOCK_BYTES + 8 :], 1),
        "longer": (old + b"x", 1),
        "shorter": (old[: BLOCK_BYTES * 2], 0),
        "empty": (b"", 0),
        "garbage": (old, 5),
    }[how]
    copy = tmp_path / "copy"
    copy.write_bytes(old)
    (sending.folder / "f").write_bytes(new)
    with open(copy, "rb") as file:
        theirs = b"garbage" if how == "garbage" else block_digests(file.fileno(), len(old))
    sent = send_delta(sending.out, sending.tree, b"f", theirs)
    assert sent.stamp == sending.found(b"f").stamp
    assert blocks * BLOCK_BYTES >= len(sending.sent) - 500
    source = sending.source
    assert source.record()[::2] == (DELTA, b"f")
    assert received(source, copy, len(new)) == new


def test_delta_of_a_file_that_changes_meanwhile_is_torn_and_gone(sending: Sending) -> None:
    path = sending.folder / "f"
    path.write_bytes(os.urandom(CHUNK * 2))

    def write(data: bytes) -> None:
        sending.write(data)
        os.utime(path)

    out = Out(write)
    with pytest.raises(Gone):
        send_delta(out, sending.tree, b"f", b"")
    out.flush()
    assert sending.written.endswith(PIECE.pack(0, 0) + TORN)


# -- links
@pytest.mark.parametrize("target", [b"a", b"../..//etc/\xff \n", b"/" + b"n" * 4000], ids=range(3))
def test_link_is_its_target_as_it_is(sending: Sending, target: bytes) -> None:
    os.symlink(target, os.fsencode(sending.folder) + b"/l")
    found = sending.found(b"l")
    assert send_link(sending.out, sending.tree, b"l") == (found.ino, found.stamp, digest(target))
    assert sending.sent == header(LINK, b"l", found.stamp.mtime_ns, len(target)) + target


def test_link_that_is_none_any_more_is_gone(sending: Sending) -> None:
    (sending.folder / "f").touch()
    for path in (b"f", b"none", b"f/l", b"none/l"):
        with pytest.raises(Gone):
            send_link(sending.out, sending.tree, path)
    assert sending.sent == b""

"""What comes back is decided from two lists: what was copied, and what the store has."""

import pytest

from womm.share.control import Writable
from womm.share.eager.manifest import Ancestor, Base
from womm.share.eager.syncback import PullResult, changed, held, hidden
from womm.store.pack import Stamp
from womm.store.protocol import DIRECTORY, FILE, LINK

COPIED = Stamp(FILE, 0o644, 10, 1000, 2000)
FOLDER = Stamp(DIRECTORY, 0o755, 0, 1000, 2000)
STORE_NS = 3000
"""The copy ended then."""


def ancestor(entries: dict[bytes, Stamp], store_ns: int = STORE_NS) -> Ancestor:
    bases = {path: Base(stamp, 1, stamp) for path, stamp in entries.items()}
    return Ancestor(1, 1, store_ns, entries=bases)


@pytest.mark.parametrize(
    "now, is_changed",
    [
        (COPIED, False),
        (COPIED._replace(size=11), True),
        (COPIED._replace(mtime_ns=1001), True),
        (COPIED._replace(mode=0o755), True),
        (COPIED._replace(kind=LINK), True),
        (COPIED._replace(ctime_ns=STORE_NS - 1), False),  # the copy itself
        (COPIED._replace(ctime_ns=STORE_NS + 1), True),  # size and time were put back
    ],
)
def test_file_has_changed_by_content_mode_or_the_stores_own_record(now: Stamp, is_changed: bool) -> None:
    assert changed({b"f": now}, ancestor({b"f": COPIED})) == ([b"f"] if is_changed else [])


def test_record_of_a_store_that_told_no_time_says_nothing() -> None:
    assert changed({b"f": COPIED._replace(ctime_ns=9999)}, ancestor({b"f": COPIED}, store_ns=0)) == []


def test_directory_is_new_or_as_it_was_whatever_its_time_and_mode() -> None:
    theirs = {b"d": Stamp(DIRECTORY, 0o700, 0, 9, 9999), b"new": FOLDER, b"new/f": COPIED}
    assert changed(theirs, ancestor({b"d": FOLDER})) == [b"new", b"new/f"]


def test_what_is_gone_in_the_store_is_no_change() -> None:
    assert changed({}, ancestor({b"f": COPIED, b"d": FOLDER})) == []


class Objects:
    """An ignore rule: `*.o`, and directories `build`."""

    def is_ignored(self, path: bytes, is_dir: bool) -> bool:
        return path.endswith(b".o") or (is_dir and path.rpartition(b"/")[2] == b"build")


def test_what_is_ignored_or_staged_is_hidden_with_all_that_is_in_it() -> None:
    theirs = {
        b"a.o": COPIED,
        b"build": FOLDER,
        b"build/f": COPIED,
        b"build/d": FOLDER,
        b"build/d/f": COPIED,
        b"src": FOLDER,
        b"src/build": COPIED,  # a file of that name
        b"src/.womm-sync-t1": FOLDER,
        b"src/.womm-sync-t1/1": COPIED,
    }
    seen = {b"src", b"src/build"}
    assert hidden(list(theirs), theirs, Objects()) == theirs.keys() - seen
    assert hidden(list(theirs), theirs, None) == {b"src/.womm-sync-t1", b"src/.womm-sync-t1/1"}
    # Only a file in it has changed: the directory itself is not in the list.
    assert hidden([b"build/d/f", b"src/build"], theirs, Objects()) == {b"build/d/f"}


def test_womms_own_files_and_what_is_outside_of_share_write_are_held_back() -> None:
    theirs = {
        b"out": FOLDER,
        b"out/f": COPIED,
        b"out/.womm": COPIED,
        b"out/.WOMMIGNORE": COPIED,
        b"f": COPIED,
        b"new": FOLDER,
        b"new/deep": FOLDER,
        b"new/f": COPIED,
    }
    found = held(list(theirs), theirs, Writable.only([b"out", b"new/deep"]))
    assert found.back == [b"out", b"out/f", b"new", b"new/deep"]
    assert found.own == [b"out/.womm", b"out/.WOMMIGNORE"]
    assert found.outside == [b"f", b"new/f"]
    everything = held(list(theirs), theirs, Writable())
    assert everything.outside == [] and everything.own == found.own


def test_results_of_several_connections_are_one() -> None:
    one = PullResult((b"a",), ((b"b", b"b.womm-t1"),), 5, (b"c",), ((b"d", "no"),), (b".womm",), (b"e",))
    assert one + PullResult() == PullResult() + one == one
    both = one + one
    assert (both.brought, both.size_bytes, both.outside) == ((b"a", b"a"), 10, (b"e", b"e"))

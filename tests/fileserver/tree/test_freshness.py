"""Which answers are believed."""

import itertools

import pytest

from womm.fileserver.tree.freshness import Freshness
from womm.fileserver.tree.nodes import FileNode
from womm.fileserver.tree.table import Table
from womm.nfs.constants import FileType
from womm.wire.attributes import Stat

STAT = Stat(0o100644, 10, 1000, 1000, 1000, 1, 5, 1, 8)


@pytest.fixture
def fresh(tmp_path):
    table = Table(tmp_path)
    yield Freshness(table)
    table.close()


@pytest.fixture
def top():
    return FileNode(1, FileType.DIRECTORY, 1, 1, itertools.count(1).__next__)


def child(above, name, kind=FileType.REGULAR, fileid=7):
    node = FileNode(fileid, kind, 1, fileid, itertools.count(1).__next__)
    above.directory.enter(name, node)
    node.linked(above, name)
    return node


def test_stamp_changes_with_every_change_and_the_epoch_with_every_connection(fresh):
    first = fresh.stamp()
    fresh.told()
    second = fresh.stamp()
    fresh.renew()
    assert first[0] == second[0] < fresh.stamp()[0]
    assert len({first, second, fresh.stamp()}) == 3


@pytest.mark.parametrize("when", ["before", "during", "from during to after", "after"])
def test_answer_says_nothing_of_names_that_a_client_has_changed_since_it_was_asked(fresh, top, when):
    def overtaken(asked):
        return fresh.name_overtaken(top, b"f", asked), fresh.name_overtaken(top, b"g", asked)

    if when == "before":
        with fresh.changing((top, b"f")):
            pass
        with fresh.question() as asked:
            assert overtaken(asked) == (False, False)
    elif when == "during":
        with fresh.question() as asked:
            with fresh.changing((top, b"f")):
                pass
            assert overtaken(asked) == (True, False)
    elif when == "from during to after":
        with fresh.question() as asked, fresh.changing((top, b"f")):
            assert overtaken(asked) == (True, False)
    else:
        with fresh.question() as asked:
            pass
        with fresh.question() as asked:
            assert overtaken(asked) == (False, False)


def test_flush_changes_no_name(fresh, top):
    file = child(top, b"f")
    with fresh.question() as asked, fresh.changing((top, b"f")), file.use.sending():
        assert not fresh.name_overtaken(top, b"f", asked)
        with fresh.changing((top, b"f")):  # a client's change beside it
            assert fresh.name_overtaken(top, b"f", asked)


def test_older_answer_says_nothing_of_a_name_that_a_newer_one_has_told(fresh, top):
    file = child(top, b"f")
    with fresh.question() as asked:
        fresh.told()
        assert not fresh.name_overtaken(top, b"f", asked)
        file.seen(STAT, epoch=fresh.epoch)
        assert fresh.name_overtaken(top, b"f", asked)


def test_listing_says_nothing_of_a_directory_in_which_a_client_has_changed_something(fresh, top):
    below = child(top, b"d", FileType.DIRECTORY)
    with fresh.question() as asked:
        with fresh.changing((below, b"f")):
            pass
        assert fresh.entry_overtaken(top, b"d", asked) and not fresh.name_overtaken(top, b"d", asked)


def test_answer_about_a_path_on_which_a_client_has_renamed_something_may_be_another_files(fresh, top):
    below = child(top, b"d", FileType.DIRECTORY)
    deeper = child(below, b"e", FileType.DIRECTORY, 8)
    with fresh.question() as asked:
        assert not fresh.path_overtaken(deeper, asked) and not fresh.is_moving(deeper)
        with fresh.changing((top, b"d")):
            assert fresh.is_moving(deeper)
        assert fresh.path_overtaken(deeper, asked) and not fresh.is_moving(deeper)

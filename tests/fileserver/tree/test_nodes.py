"""What happens to a file, as its node tells it: `FileNode` and `Directory`."""

import ast
import itertools
import stat as modes
from pathlib import Path

import pytest

import womm.fileserver
from womm.fileserver.tree.nodes import Directory, FileNode, attributes_of, cookie_of
from womm.fileserver.tree.use import FileUse
from womm.fileserver.writelog import WriteLog, WriteLogs
from womm.nfs.constants import FileType
from womm.wire.attributes import Stat

STAT = Stat(modes.S_IFREG | 0o644, 10, 1000, 1000, 1000, 1, 5, 1, 8)


@pytest.fixture
def file():
    return FileNode(7, FileType.REGULAR, 1, 5, itertools.count(1).__next__)


@pytest.fixture
def log(tmp_path):
    logs = WriteLogs(tmp_path)
    log = WriteLog(logs, 7)
    yield log
    log.close(remove=True)
    logs.close()


def directory(fileid=1):
    return FileNode(fileid, FileType.DIRECTORY, 1, fileid, itertools.count(1).__next__)


# -- what the user's side says ------------------------------------------------------------------------
def test_first_look_is_taken_as_it_is(file):
    change = file.change
    assert not file.seen(STAT, epoch=3)
    assert (file.stat, file.version, file.base, file.checked_epoch) == (STAT, STAT.version, STAT.base, 3)
    assert (file.change, file.user_edits) == (change, 0)


def test_same_version_changes_nothing_that_clients_cache(file):
    file.seen(STAT, epoch=3)
    change = file.change
    assert not file.seen(STAT._replace(atime_ns=2000, blocks=16))
    assert not file.seen(STAT._replace(atime_ns=2000, blocks=16, mode=modes.S_IFREG | 0o600, nlink=2))
    assert (file.stat.mode, file.stat.nlink) == (modes.S_IFREG | 0o600, 2)
    assert (file.change, file.user_edits, file.checked_epoch) == (change, 0, 3)


def test_edit_by_the_user_drops_blocks_and_is_counted(file):
    file.seen(STAT)
    change = file.change
    edited = STAT._replace(size=11, mtime_ns=2000, ctime_ns=2000)
    assert file.seen(edited, epoch=2)
    assert file.change > change
    assert (file.user_edits, file.version, file.base) == (1, edited.version, edited.base)


def test_chmod_by_the_user_drops_blocks_but_is_no_edit(file):
    file.seen(STAT)
    change = file.change
    assert file.seen(STAT._replace(ctime_ns=2000))
    assert file.change > change and file.user_edits == 0


def test_own_change_of_names_or_mode_keeps_blocks_and_change(file):
    file.seen(STAT)
    change = file.change
    assert not file.seen(STAT._replace(ctime_ns=2000, nlink=2), own=True)
    assert (file.change, file.user_edits, file.stat.ctime_ns) == (change, 0, 2000)
    assert file.base == STAT.base


def test_own_change_of_content_drops_blocks_and_is_no_edit(file):
    file.seen(STAT)
    assert file.seen(STAT._replace(size=3, mtime_ns=2000, ctime_ns=2000), own=True)
    assert (file.user_edits, file.base) == (0, ())


def test_changed_directory_doubts_its_names():
    top = directory()
    stat = STAT._replace(mode=modes.S_IFDIR | 0o755)
    top.seen(stat)
    top.directory.listed(1, set())
    top.directory.absent[b"x"] = 1
    assert not top.seen(stat._replace(mtime_ns=2000, ctime_ns=2000))
    assert not top.directory.knows(b"x", 1) and not top.directory.is_complete(1)


def test_changed_link_is_read_again(file):
    link = FileNode(8, FileType.SYMLINK, 1, 6, itertools.count(1).__next__)
    link.seen(STAT)
    link.leads_to(b"there")
    link.seen(STAT)
    assert link.target == b"there"
    link.seen(STAT._replace(ctime_ns=2000))
    assert link.target is None


def test_doubted_file_keeps_what_is_known(file):
    file.seen(STAT, epoch=3)
    change = file.change
    file.doubted()
    assert (file.checked_epoch, file.stat, file.change) == (0, STAT, change)
    file.user_changed()
    assert file.change > change


# -- its names ----------------------------------------------------------------------------------------
def test_file_with_two_names_has_the_first_ones_path(file):
    top, below = directory(), directory(2)
    below.linked(top, b"d")
    file.linked(below, b"f")
    file.linked(top, b"g")
    assert (file.path(), file.report_by_path()) == (b"d/f", b"d/f")
    file.unlinked(below, b"f")
    assert (file.path(), file.report_name()) == (b"g", b"g")


def test_file_that_is_gone_is_reported_by_its_last_name(file):
    top, below = directory(), directory(2)
    below.linked(top, b"d")
    file.linked(below, b"f")
    file.seen(STAT)
    below.unlinked(top, b"d")
    below.lost()
    file.unlinked(below, b"f")
    file.lost()
    assert (file.path(), file.report_name()) == (b"?", b"d/f")
    assert file.gone and not file.removed and file.stat.nlink == 0


def test_last_name_that_a_client_removes_is_reported_to_nobody(file):
    top = directory()
    file.linked(top, b"f")
    file.seen(STAT)
    change = file.change
    file.unlinked(top, b"f")
    file.lost()
    file.client_unlinked(0)
    assert file.removed and file.report_name() == b"" and file.change > change


@pytest.mark.parametrize(("known", "left"), [(2, 1), (1, 1)])
def test_one_of_several_names_that_a_client_removes_leaves_the_file(file, known, left):
    """The server may not have seen the other name."""
    top = directory()
    file.linked(top, b"f")
    if known == 2:
        file.linked(top, b"g")
    file.seen(STAT._replace(nlink=2), epoch=1)
    file.unlinked(top, b"f")
    if known == 1:
        file.lost()
    file.client_unlinked(left)
    assert not file.removed
    if known == 2:
        assert (file.path(), file.stat.nlink, file.checked_epoch) == (b"g", 1, 0)


def test_moved_file_has_no_name_until_it_is_linked(file):
    top = directory()
    file.linked(top, b"f")
    assert file.moved() == [(top, b"f")]
    assert (file.links, file.gone) == ([], False)


# -- its content --------------------------------------------------------------------------------------
def write(file, log, offset, data, now_ns):
    if file.use.log is None:
        file.write_begins(log, file.user_edits)
    log.append(offset, data, now_ns)
    file.wrote(offset + len(data), now_ns)


def test_written_file_shows_its_clients_size_and_times(file, log):
    file.seen(STAT)
    change = file.change
    write(file, log, 8, b"abcd", 5000)
    assert (file.stat.size, file.stat.mtime_ns) == (12, 5000) and file.change > change
    assert attributes_of(file, 0, 0).used == 8 * 512 + 4
    # What the user's side says of size and times is older than that.
    assert not file.seen(STAT._replace(mode=modes.S_IFREG | 0o600))
    assert (file.stat.size, file.stat.mtime_ns, file.stat.mode & 0o777) == (12, 5000, 0o600)


def test_edit_by_the_user_below_unsent_writes_drops_blocks_and_keeps_the_writes(file, log):
    file.seen(STAT)
    write(file, log, 0, b"ab", 5000)
    assert file.seen(STAT._replace(size=20, mtime_ns=2000))
    assert (file.stat.size, file.base) == (10, STAT.base)


def test_look_during_a_flush_says_nothing_of_the_content(file, log):
    file.seen(STAT)
    write(file, log, 0, b"ab", 5000)
    with file.use.sending():
        assert not file.seen(STAT._replace(size=20, mtime_ns=2000))
    assert file.stat.mtime_ns == 5000


def test_client_that_does_not_know_the_users_edit_writes_on_no_base(file, log):
    file.seen(STAT)
    known = file.user_edits
    file.seen(STAT._replace(size=11, mtime_ns=2000))
    file.write_begins(log, known)
    assert file.base == ()


def test_recovered_log_lies_over_what_is_seen_first(file, log):
    log.append(0, b"x" * 30, 5000)
    file.recovered(log)
    assert not file.seen(STAT)
    assert (file.stat.size, file.stat.mtime_ns, file.version) == (30, 5000, STAT.version)
    assert file.base == ()


def test_flush_leaves_size_and_times_that_clients_have_seen(file, log):
    file.seen(STAT)
    write(file, log, 8, b"abcd", 5000)
    file.use.log_ends()
    change = file.change
    after = STAT._replace(size=12, mtime_ns=5000, ctime_ns=9000, blocks=24)
    assert not file.flushed(after)
    assert (file.version, file.base, file.change) == (after.version, (), change)
    assert (file.stat.ctime_ns, file.stat.blocks) == (5000, 24)


def test_flush_that_finds_another_size_shows_it(file, log):
    file.seen(STAT)
    write(file, log, 8, b"abcd", 5000)
    file.use.log_ends()
    change = file.change
    assert file.flushed(STAT._replace(size=50, mtime_ns=5000))
    assert file.stat.size == 50 and file.change > change


def test_flush_with_more_to_come_keeps_what_clients_see(file, log):
    file.seen(STAT)
    write(file, log, 8, b"abcd", 5000)
    assert not file.flushed(STAT._replace(size=50, mtime_ns=5000))
    assert file.stat.size == 12


@pytest.mark.parametrize("size", [True, False])
def test_setattr_of_a_size_writes_on_what_it_has_left(file, size):
    file.seen(STAT)
    file.was_set(STAT._replace(mtime_ns=7000), size=size, mtime=True)
    assert file.base == (() if size else STAT._replace(mtime_ns=7000).base)
    assert file.version == (STAT if size else STAT._replace(mtime_ns=7000)).version


# -- the names in a directory -------------------------------------------------------------------------
def test_names_come_in_the_order_of_their_cookies_whatever_comes_and_goes(file):
    names = Directory()
    for number in range(200):
        names.enter(b"%d" % number, file)
    first, eof = names.after(0, 50)
    assert not eof and first == sorted(first)
    for number in range(0, 200, 2):
        names.leave(b"%d" % number)
    names.enter(b"new", file)
    rest, eof = names.after(first[-1][0], 1000)
    assert eof
    left = {b"%d" % number for number in range(1, 200, 2)} | {b"new"}
    assert [name for _, name in rest] == sorted(
        (name for name in left if cookie_of(name) > first[-1][0]), key=cookie_of
    )


def test_name_is_known_while_its_file_was_checked_and_nothing_doubts_it(file):
    top = directory()
    names = top.directory
    names.enter(b"f", file)
    file.linked(top, b"f")
    assert not names.knows(b"f", 2)
    file.seen(STAT, epoch=2)
    assert names.knows(b"f", 2) and not names.knows(b"f", 3)
    names.name_doubted(b"f")
    assert not names.knows(b"f", 2)
    names.name_seen(b"f")
    file.linked(top, b"g")  # with two names only a listing says which of them are left
    assert not names.knows(b"f", 2)
    names.listed(2, set())
    assert names.knows(b"f", 2) and names.is_complete(2)


def test_absent_name_is_known_until_it_is_doubted_or_entered(file):
    names = Directory()
    names.name_absent(b"f", 2)
    assert names.knows(b"f", 2)
    names.name_doubted(b"f")
    assert not names.knows(b"f", 2)
    names.name_absent(b"f", 2)
    names.enter(b"f", file)
    assert b"f" not in names.absent


def test_listing_knows_all_names_but_the_stale_ones():
    names = Directory()
    assert (names.missed(), names.missed()) == (1, 2)
    names.listed(2, {b"changing"})
    assert names.knows(b"other", 2) and not names.knows(b"changing", 2)
    assert not names.is_complete(2) and names.misses == 0


# -- who may change it --------------------------------------------------------------------------------
def test_nobody_else_assigns_the_fields_of_nodes():
    folder = Path(womm.fileserver.__file__).parent
    fields = {*FileNode.__slots__, *FileUse.__slots__, *Directory.__slots__}
    found = []
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            targets: list[ast.expr] = []
            if isinstance(node, ast.Assign):
                targets = [*node.targets]
            elif isinstance(node, ast.AugAssign | ast.AnnAssign):
                targets = [node.target]
            flat = [part for target in targets for part in ast.walk(target)]
            found += [
                f"{path.name}:{part.lineno} {part.attr}"
                for part in flat
                if isinstance(part, ast.Attribute)
                and isinstance(part.ctx, ast.Store)
                and part.attr in fields
                and not (isinstance(part.value, ast.Name) and part.value.id == "self")
            ]
    assert found == []

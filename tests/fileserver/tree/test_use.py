"""How a file is used: opens, the handle, the log."""

from typing import Any

import pytest

from womm.fileserver.tree.use import FileUse, Handle
from womm.fileserver.writelog import WriteLog, WriteLogs


@pytest.fixture
def log(tmp_path):
    logs = WriteLogs(tmp_path)
    log = WriteLog(logs, 7)
    yield log
    log.close(remove=True)
    logs.close()


class Session:
    dead = False


def test_handle_is_held_as_long_as_its_session_lives():
    use = FileUse()
    session: Any = Session()
    first, second = Handle(session, b"1", False), Handle(session, b"2", True)
    assert (use.take_handle(first), use.held, use.write_admitted) == (None, first, False)
    assert (use.take_handle(second), use.held, use.write_admitted) == (first, second, True)
    session.dead = True
    assert (use.held, use.take_handle(None), use.write_admitted) == (None, None, True)


def test_file_is_written_until_its_log_is_sent_and_confirmed(log):
    use = FileUse()
    before = use.written
    use.log_begins(log)
    with use.sending():
        assert use.log_ends() is log
        during = use.written
    assert (before, during, use.written, use.log_ends()) == (False, True, False, None)


def test_name_is_leaving_until_its_removal_has_ended_or_failed():
    use = FileUse()

    def fail(seen):
        with use.leaving_name():
            seen.append(use.leaving)
            raise OSError

    seen: list[int] = []
    with pytest.raises(OSError):
        fail(seen)
    assert (seen, use.leaving) == ([1], 0)

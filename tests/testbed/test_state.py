"""What womm remembers of a testbed: the record, the lock, and who may read it."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from womm.errors import ImageError
from womm.testbed.state import Record, State, project_hash


@pytest.fixture
def state(womm_home, tmp_path):
    return State.of(tmp_path)


def test_state_is_this_users_alone_and_the_record_and_the_lock_are_not_in_the_shared_folder(state):
    with state.locked():
        state.save(Record(container="x"))
    assert {path.stat().st_mode & 0o777 for path in (state.folder, state.shared)} == {0o700}
    assert list(state.shared.iterdir()) == []
    assert {path.stat().st_mode & 0o077 for path in state.folder.iterdir()} == {0}


def test_hash_is_the_same_each_time_and_another_for_another_folder():
    assert project_hash(Path("/a"), b"k") == project_hash(Path("/a"), b"k")
    assert len({project_hash(Path(os.fsdecode(name)), b"k") for name in (b"/a", b"/b", b"/\xff")}) == 3
    assert len(project_hash(Path("/a"), b"k")) == 8


def test_hash_is_another_for_another_user_who_may_share_engine_and_registry(womm_home, tmp_path, monkeypatch):
    mine = State.of(tmp_path).hash
    assert State.of(tmp_path).hash == mine
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another user's"))
    assert State.of(tmp_path).hash != mine


def test_record_comes_back_as_it_was_with_names_that_are_not_utf8(state):
    assert state.load() == Record()
    names = frozenset(map(os.fsdecode, (b"a", b"\xff/x", "ä\n".encode())))
    record = Record("womm-testbed-x", "unix:///x", names, "r:1")
    state.save(record)
    assert State.of(state.project).load() == record
    state.save(replace(record, root_owned=None))
    assert state.load().root_owned is None
    assert {path.name for path in state.folder.iterdir()} == {"record.json", "shared"}


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"version": 99}', "null"])
def test_record_that_is_damaged_or_of_another_version_is_one_line_and_what_to_type(state, content):
    (state.folder / "record.json").write_text(content)
    with pytest.raises(ImageError) as refused:
        state.load()
    assert "record.json" in refused.value.message
    assert refused.value.hint is not None


def test_lock_is_held_by_one_process_which_the_message_names(state):
    program = "import sys; from pathlib import Path; from womm.testbed.state import State\n"
    program += "with State.of(Path(sys.argv[1])).locked(): print('held', flush=True); sys.stdin.read()"
    words = [sys.executable, "-P", "-c", program, str(state.project)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdout.readline() == b"held\n"
        with pytest.raises(ImageError, match="another womm works on the testbed") as refused, state.locked():
            pass
        assert str(child.pid) in (refused.value.hint or "")
        child.kill()
    with state.locked():
        pass


def test_state_folder_that_cannot_be_made_is_one_line(womm_home, tmp_path):
    womm_home.state.rmdir()
    womm_home.state.write_text("")
    with pytest.raises(ImageError, match="cannot make"):
        State.of(tmp_path)

"""What is remembered of a store, from its first copy until it is forgotten."""

from pathlib import Path

import pytest

from womm.share.eager.manifest import Ancestor
from womm.share.eager.state import StoreLost, StoreState, state_name


def test_state_that_lasts_keeps_what_both_sides_have_and_whether_a_copy_has_begun(tmp_path: Path) -> None:
    path = tmp_path / "state"
    state = StoreState(path, lasting=True)
    assert (state.exists(), state.load(), state.has_begun) == (False, None, False)
    state.begin()
    state.save(Ancestor(1, 2, 3))
    again = StoreState(path, lasting=True)
    assert (again.exists(), again.load(), again.has_begun) == (True, Ancestor(1, 2, 3), True)
    again.end(b"store")
    assert not StoreState(path, lasting=True).has_begun
    again.forget()
    assert list(tmp_path.iterdir()) == []


def test_state_that_does_not_last_leaves_no_mark(tmp_path: Path) -> None:
    state = StoreState(tmp_path / "state", lasting=False)
    state.begin()
    state.end(b"store")
    assert list(tmp_path.iterdir()) == []


def test_store_is_another_one_only_after_one_was_filled_that_tells_its_name(tmp_path: Path) -> None:
    state = StoreState(tmp_path / "state", lasting=True)
    assert not state.is_another(b"one")
    state.end(b"one")
    assert not state.is_another(b"one")
    state.recognize(b"one")
    with pytest.raises(StoreLost):
        state.recognize(b"two")
    state.end(b"")
    assert not state.is_another(b"two")


def test_state_file_has_a_name_for_each_folder_and_store() -> None:
    names = {state_name(Path(folder), store) for folder in ("/a", "/b") for store in ("x", "y")}
    assert len(names) == 4
    assert state_name(Path("/a"), "x") in names

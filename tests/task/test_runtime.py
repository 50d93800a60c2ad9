"""The task's folder for sockets."""

import os
import subprocess
from pathlib import Path

import pytest

from womm import worker
from womm.errors import EngineError
from womm.task.runtime import SOCKET_PATH_LIMIT, runtime_folder


def test_folder_is_ours_alone_and_removed_with_all_in_it(womm_home):
    with runtime_folder("abcdefgh", os.environ) as folder:
        assert folder == womm_home.runtime / "womm-abcdefgh"
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "sub").mkdir()
        (folder / "sub" / "file").touch()
    assert not folder.exists()


def test_folder_is_removed_after_an_error_and_when_it_is_gone_already(womm_home):
    with pytest.raises(ZeroDivisionError), runtime_folder("abcdefgh", os.environ) as folder:
        raise ZeroDivisionError
    assert not folder.exists()
    with runtime_folder("abcdefgh", os.environ) as folder:
        folder.rmdir()


def test_folder_that_is_there_belongs_to_another_task(womm_home):
    (womm_home.runtime / "womm-abcdefgh").mkdir()
    with pytest.raises(FileExistsError), runtime_folder("abcdefgh", os.environ):
        pass
    assert (womm_home.runtime / "womm-abcdefgh").exists()


@pytest.mark.parametrize("bad", ["", "/no/such/folder", "long", "file"])
def test_folder_elsewhere_when_the_runtime_folder_will_not_do(womm_home, tmp_path, monkeypatch, bad):
    if bad == "long":
        path = tmp_path / ("x" * SOCKET_PATH_LIMIT)
        path.mkdir()
        bad = str(path)
    elif bad == "file":
        (tmp_path / "file").touch()
        bad = str(tmp_path / "file")
    with runtime_folder("abcdefgh", {"XDG_RUNTIME_DIR": bad}) as folder:
        assert folder.name == "womm-abcdefgh"
        assert len(os.fsencode(folder)) <= SOCKET_PATH_LIMIT
        assert not str(folder).startswith(bad or "/nothing")
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_folder_where_no_program_may_run_is_passed_over(tmp_path, womm_home):
    # In a mount namespace of its own: the machine's mounts stay as they are.
    script = (
        f"mount -t tmpfs -o noexec none {womm_home.runtime} && cd / && exec python3 -c "
        '"from womm.task.runtime import runtime_folder; import os\n'
        "with runtime_folder('noexecut', os.environ) as folder: print(folder)\""
    )
    import sys

    script = script.replace("python3", sys.executable)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(worker.AGENT.parents[2])},
    )
    assert done.stdout.strip()
    assert not done.stdout.startswith(str(womm_home.runtime))


@pytest.mark.parametrize("name", ["a:b", "a b", "a\tb", "a\nb", "it's", "a$b", "a;b", 'a"b', "a\\b", "é"])
def test_folder_whose_path_could_break_is_passed_over(womm_home, tmp_path, name):
    """PATH, the first line of a script and a shell's line each know some characters as their own."""
    (womm_home.runtime / name).mkdir()
    given = {"XDG_RUNTIME_DIR": str(womm_home.runtime / name), "TMPDIR": str(womm_home.runtime)}
    with runtime_folder("abcdefgh", given) as folder:
        assert folder == womm_home.runtime / "womm-abcdefgh"


def test_folder_of_a_relative_name_is_passed_over(womm_home, monkeypatch):
    monkeypatch.chdir(womm_home.runtime)
    (womm_home.runtime / "here").mkdir()
    with runtime_folder("abcdefgh", {"XDG_RUNTIME_DIR": "here", "TMPDIR": str(womm_home.runtime)}) as folder:
        assert folder == womm_home.runtime / "womm-abcdefgh"


def test_no_folder_at_all_gives_one_sentence_and_a_hint(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "access", lambda *args: False)
    given = {"XDG_RUNTIME_DIR": "/a:b"}
    with (
        pytest.raises(EngineError, match="no folder for sockets") as caught,
        runtime_folder("abcdefgh", given),
    ):
        pass
    assert "/a:b (':' in its path), /tmp (not writable)" in caught.value.message
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("export XDG_RUNTIME_DIR=")


def test_folder_is_never_where_pods_see_it(womm_home, tmp_path):
    """They could put another program in the shim's place, and read keys."""
    shared = tmp_path / "proj"
    (shared / "tmp").mkdir(parents=True)
    (tmp_path / "alias").symlink_to(shared / "tmp")
    for place in (shared, shared / "tmp", tmp_path / "alias"):
        env = {"XDG_RUNTIME_DIR": str(place), "TMPDIR": str(place)}
        with runtime_folder("abcdefgh", env) as folder:
            assert folder.parent in {place, Path("/tmp")}  # its path may be too long
        with runtime_folder("abcdefgh", env, shared) as folder:
            assert folder.parent not in {place, shared}
    with pytest.raises(EngineError, match="shared with pods"), runtime_folder("abcdefgh", env, Path("/")):
        pass

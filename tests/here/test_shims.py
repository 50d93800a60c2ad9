"""Folders of shims, and the version that is chosen in a project."""

import pytest

from womm.here import shims


@pytest.fixture
def pyenv(tmp_path):
    root = tmp_path / ".pyenv"
    for name in ("3.9.18", "3.12.1", "3.12.10"):
        (root / "versions" / name / "bin").mkdir(parents=True)
    for name in ("bin", "shims", "plugins/pyenv-virtualenv/shims"):
        (root / name).mkdir(parents=True)
    (root / "bin/pyenv").touch()
    (root / "version").write_text("3.9.18\n")
    return root


def chosen(pyenv, folder, env=None, shim="shims"):
    found = shims.resolve(str(pyenv / shim), folder, env or {})
    assert found is not None
    return [
        path.removeprefix(f"{pyenv}/versions/").removesuffix("/bin") for path in found.folders
    ], found.system


def test_resolve_the_managers_own_version_holds_elsewhere(pyenv, tmp_path):
    assert chosen(pyenv, tmp_path) == (["3.9.18"], False)
    assert chosen(pyenv, tmp_path, shim="plugins/pyenv-virtualenv/shims") == (["3.9.18"], False)


def test_resolve_a_projects_file_counts_below_it(pyenv, tmp_path):
    folder = tmp_path / "proj" / "deep"
    folder.mkdir(parents=True)
    (tmp_path / "proj/.python-version").write_text("3.12 # newest\nsystem\n")
    assert chosen(pyenv, folder) == (["3.12.10"], True)
    assert chosen(pyenv, folder, {"PYENV_VERSION": "3.12.1:3.9.18"}) == (["3.12.1", "3.9.18"], False)


def test_resolve_a_version_that_is_not_there_leaves_the_systems(pyenv, tmp_path):
    assert chosen(pyenv, tmp_path, {"PYENV_VERSION": "2.7"}) == ([], True)
    assert chosen(pyenv, tmp_path, {"PYENV_VERSION": "../../x"}) == ([], True)


def test_resolve_other_folders_are_none(pyenv, tmp_path):
    (tmp_path / "shims").mkdir()
    assert shims.resolve(str(tmp_path / "shims"), tmp_path, {}) is None
    assert shims.resolve(str(pyenv / "bin"), tmp_path, {}) is None
    assert shims.is_manager(str(pyenv / "bin"))
    assert not shims.is_manager(str(pyenv / "versions/3.9.18/bin"))

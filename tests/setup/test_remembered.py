"""The prefix in the user's config.toml."""

import stat

import pytest

from womm.errors import ProjectError
from womm.setup import remembered


@pytest.fixture
def path(womm_home):
    return womm_home.config / "womm" / "config.toml"


def test_prefix_is_remembered_in_a_private_file_and_forgotten(path):
    assert remembered.prefix() == ""
    assert remembered.remember("r.example.org/me/") == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert remembered.prefix() == "r.example.org/me/"
    assert remembered.remember("r.example.org/me/") is None
    assert remembered.forget() == ("r.example.org/me/", path)
    assert (remembered.prefix(), remembered.forget()) == ("", None)


def test_prefix_leaves_comments_and_other_settings_alone(path):
    path.parent.mkdir()
    path.write_text('# Mine.\nkube-pods = 4  # few\nprefix = "old.example.org/x"\n')
    path.chmod(0o644)
    assert remembered.prefix() == "old.example.org/x/"
    remembered.remember("new.example.org/y/")
    assert path.read_text() == '# Mine.\nkube-pods = 4  # few\nprefix = "new.example.org/y/"\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    remembered.forget()
    assert path.read_text() == "# Mine.\nkube-pods = 4  # few\n"


def test_prefix_that_is_none_counts_as_none_and_can_be_forgotten(path):
    path.parent.mkdir()
    path.write_text('prefix = "A B"\n')
    assert remembered.prefix() == ""
    assert remembered.forget() == ("A B", path)


def test_prefix_of_a_damaged_file_is_an_error_that_names_it(path):
    path.parent.mkdir()
    path.write_text("prefix = \n")
    with pytest.raises(ProjectError, match=r"config\.toml is not TOML"):
        remembered.prefix()


def test_prefix_without_a_home_folder_is_not_remembered(womm_home, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    with pytest.raises(ProjectError, match="cannot make"):
        remembered.remember("r.example.org/me/")


def test_roots_are_added_to_those_that_are_known(path):
    path.parent.mkdir()
    path.write_text('prefix = "r.example.org/"\nhere-roots = ["/home/me/a"]\n')
    assert remembered.remember_roots(["/home/me/b", "!/home/me/c", "/home/me/a"]) == path
    assert path.read_text().endswith('here-roots = ["/home/me/a", "/home/me/b", "!/home/me/c"]\n')
    path.unlink()
    remembered.remember_roots(["/home/me/a"])
    assert path.read_text().endswith('\nhere-roots = ["/home/me/a"]\n')

"""Programs that womm starts are looked up in PATH, and never in the current folder."""

import pytest

from womm.programs import search_path, which


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """A program `tool` in the folder `bin`, and another one in the current folder."""
    for folder in (tmp_path / "bin", tmp_path / "here"):
        folder.mkdir()
        (folder / "tool").write_text("#!/bin/sh\n")
        (folder / "tool").chmod(0o755)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "bin" / "tool"


@pytest.mark.parametrize("entries", ["", ":", ".", "./", "bin", "../bin", "::.:", "~/bin"])
def test_entries_that_mean_the_current_folder_are_left_out(tool, entries):
    assert search_path({"PATH": f"{entries}:/usr/bin:{entries}"}) == "/usr/bin"
    assert which("tool", {"PATH": entries}) is None
    assert which("tool", {"PATH": f"{entries}:{tool.parent}"}) == str(tool)


def test_first_program_of_the_path_is_taken_and_only_one_that_can_run(tool, tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "tool").write_text("#!/bin/sh\n")
    environ = {"PATH": f"{tmp_path / 'first'}:{tmp_path / 'gone'}:{tool.parent}"}
    assert which("tool", environ) == str(tool)
    (tmp_path / "first" / "tool").chmod(0o755)
    assert which("tool", environ) == str(tmp_path / "first" / "tool")


def test_name_with_a_slash_is_a_path_as_it_is(tool):
    assert which("./tool", {"PATH": "/nowhere"}) == "./tool"
    assert which(str(tool), {"PATH": ""}) == str(tool)
    assert which("./other", {"PATH": "/usr/bin"}) is None


def test_without_a_path_the_systems_own_is_searched(tool, monkeypatch):
    assert which("sh", {}) in {"/bin/sh", "/usr/bin/sh"}
    assert which("tool", {}) is None
    monkeypatch.setenv("PATH", f".:{tool.parent}")
    assert which("tool") == str(tool)


def test_folder_with_odd_bytes_in_its_name_is_searched(tmp_path, tool):
    odd = tmp_path / "gr\udcfc n\n"
    odd.mkdir()
    tool.rename(odd / "tool")
    assert which("tool", {"PATH": f".:{odd}"}) == str(odd / "tool")

"""`.womm` as `womm setup` reads and writes it, and that of the original womm.

tests/cli/test_setup.py has the whole command: comments, links, line ends, trust.
"""

import json

import pytest

from womm.errors import ProjectError, SettingsError
from womm.project import OriginalError, find
from womm.setup import dotfile
from womm.setup.dotfile import Dotfile

ORIGINAL = {
    "share_kind": "eager-1",
    "share_path": "/home/audrey/proj/womm",
    "image": "docker.io/rhelmot/womm-image-awtmaomf",
    "cwd": "/home/audrey/proj/womm",
    "hostname": "laptop",
    "namespace": None,
    "secret_name": None,
}


@pytest.mark.parametrize(
    ("kind", "share"),
    [("lazy", "lazy"), ("eager-1", "eager"), ("eager-2", "eager-syncback"), ("none", "none"), ("?", None)],
)
def test_originals_kinds_of_share(tmp_path, kind, share):
    found = dotfile.original(tmp_path / ".womm", json.dumps({**ORIGINAL, "share_kind": kind}).encode())
    assert found.values.get("share") == share


def test_originals_keys_keep_their_meaning(tmp_path):
    given = {**ORIGINAL, "namespace": "mine", "secret_name": "key", "share_path": str(tmp_path)}
    found = dotfile.original(tmp_path / ".womm", json.dumps(given).encode())
    assert found.values == {
        "cluster": "kubernetes",
        "namespace": "mine",
        "image": "docker.io/rhelmot/womm-image-awtmaomf",
        "pull-secret": "key",
        "share": "eager",
        "prefix": "docker.io/rhelmot/",
    }
    assert [note.partition(", in JSON")[0] for note in found.notes] == [
        f"womm: {tmp_path}/.womm was the original womm's"
    ]


def test_originals_shared_folder_is_said_where_it_was_another_one(tmp_path):
    found = dotfile.original(tmp_path / ".womm", json.dumps(ORIGINAL).encode())
    assert (
        f"it shared /home/audrey/proj/womm; a project shares the folder that .womm is in: {tmp_path}"
        in (found.notes[1])
    )


def test_originals_bad_value_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="namespace"):
        dotfile.original(tmp_path / ".womm", json.dumps({**ORIGINAL, "namespace": "No_Name"}).encode())


def test_originals_file_is_found_and_named(tmp_path):
    (tmp_path / ".womm").write_text(json.dumps(ORIGINAL))
    with pytest.raises(OriginalError) as caught:
        find(tmp_path)
    assert caught.value.message == f"{tmp_path}/.womm is the original womm's, in JSON: womm setup rewrites it"
    assert caught.value.hint == "womm setup"


@pytest.mark.parametrize("content", ["{", "{}", "[1]"])
def test_other_json_is_no_toml_and_nothing_else(tmp_path, content):
    (tmp_path / ".womm").write_text(content + "\n")
    with pytest.raises(ProjectError) as caught:
        find(tmp_path)
    assert not isinstance(caught.value, OriginalError)


def test_edited_takes_out_what_is_empty_and_spells_keys_as_they_were(tmp_path):
    (tmp_path / ".womm").write_text('version = 1\npull_secret = "a"  # old\nbase = "b:1"\n')
    existing = find(tmp_path)
    found = Dotfile(tmp_path / ".womm", {}, existing)
    text = dotfile.edited(found, {"pull-secret": "", "base": "b:2", "share": "none", "context": ""})
    assert text == 'version = 1\nbase = "b:2"\nshare = "none"\n'

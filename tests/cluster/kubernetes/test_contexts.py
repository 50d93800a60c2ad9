"""The contexts of a kubeconfig, read without the official client."""

import json
import subprocess
import sys

import pytest

from womm.cluster.kubernetes.contexts import Contexts, known
from womm.errors import ClusterError


def config(path, current, **namespaces):
    named = [
        {"name": name, "context": {"cluster": "c", **({"namespace": space} if space else {})}}
        for name, space in namespaces.items()
    ]
    path.write_text(json.dumps({"current-context": current, "contexts": named}))
    return path


def test_contexts_with_their_namespaces_and_the_current_one(tmp_path, monkeypatch):
    path = config(tmp_path / "k", "lab", lab="research", cloud="")
    expected = Contexts({"lab": "research", "cloud": "default"}, "lab")
    assert known(str(path)) == expected
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert known("") == expected
    assert expected.resolved("", "") == ("lab", "research")
    assert expected.resolved("cloud", "mine") == ("cloud", "mine")


def test_contexts_of_several_files_and_the_first_current_one(tmp_path):
    first, second = config(tmp_path / "1", "", a="x"), config(tmp_path / "2", "b", b="y")
    found = known(f"{first}:{tmp_path}/none::{second}")
    assert found == Contexts({"a": "x", "b": "y"}, "b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n", "k is not a kubeconfig"),
        ("{a: b\n", "line 2 is not YAML"),
        ("contexts: [{context: {}}]", "'name'"),
        ("contexts: 7", "not iterable"),
    ],
)
def test_contexts_of_a_strange_file_are_one_line(tmp_path, content, message):
    path = tmp_path / "k"
    path.write_text(content)
    with pytest.raises(ClusterError) as caught:
        known(str(path))
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_context_that_is_not_there_is_named(tmp_path):
    found = known(str(config(tmp_path / "k", "", lab="")))
    with pytest.raises(ClusterError, match="names no current context"):
        found.resolved("", "")
    with pytest.raises(ClusterError, match="has no context 'nowhere'"):
        found.resolved("nowhere", "")


def test_contexts_import_no_client():
    code = "import sys; import womm.cluster.kubernetes.contexts; print('kubernetes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"

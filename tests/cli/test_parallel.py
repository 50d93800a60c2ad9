"""How the words of `womm parallel` are sorted into womm's and GNU parallel's, and what they imply."""

import pytest

from tests.cli.running import run
from womm.cli.parallel import VALUED, scan
from womm.errors import UsageError

# -n: kubectl's takes a name, GNU parallel's (--max-args) a number.


@pytest.mark.parametrize(
    ("words", "namespace", "parallel"),
    [
        ("-n research -- echo", "research", "echo"),
        ("-n 2 -- echo", None, "-n 2 echo"),
        ("-n 2 -n research -- echo", "research", "-n 2 echo"),
        ("-n research -n 2 -k -- echo", "research", "-n 2 -k echo"),
        ("-n2 -- echo", None, "-n2 echo"),
        ("-- -n 2 echo", None, "-n 2 echo"),
        ("-- -n research echo", None, "-n research echo"),
        ("--namespace 7 -- echo", "7", "echo"),
        ("--namespace=research -- echo", "research", "echo"),
        ("-n 2-1 -- echo", "2-1", "echo"),
        ("-kn 2 -- echo", None, "-kn 2 echo"),
    ],
)
def test_scan_n_is_the_namespace_unless_a_number_follows(words, namespace, parallel):
    found = scan(words.split())
    assert found.values.get("namespace") == namespace
    assert found.parallel == parallel.split()
    assert found.separated


@pytest.mark.parametrize("words", ["-n", "-n -- echo", "-n  "])
def test_scan_n_without_a_value_is_refused(words):
    with pytest.raises(UsageError, match="-n needs a value"):
        scan(words.split())


@pytest.mark.parametrize(
    "option", ["--context", "--namespace", "--kubeconfig", "--image", "--cluster", "--pod-template"]
)
def test_scan_takes_the_options_of_clusters(option):
    for words in ([option, "x"], [f"{option}=x"]):
        found = scan(["-k", *words, "-j2", "--", "echo"])
        assert found.values == {VALUED[option]: "x"}
        assert found.parallel == ["-k", "-j2", "echo"]
    with pytest.raises(UsageError, match=f"{option} needs a value"):
        scan([option, "--", "echo"])
    with pytest.raises(UsageError, match=f"{option} stands after --"):
        scan(["--", option, "x", "echo"])


@pytest.mark.parametrize("words", [("parallel", "--kube-pods", "1"), ("shell",)])
def test_namespace_without_a_project_asks_for_an_image(words, womm_home, tmp_path):
    result = run(*words, "-n", "research", "--", "echo", cwd=tmp_path)
    assert result.status == 254
    assert result.err.splitlines() == [
        "womm: which image do the pods run? The project names none",
        "womm: hint: --image here: this machine's programs;"
        " or an image: womm setup --image NAME --share none --yes",
    ]


def test_image_without_a_kubeconfig_is_one_line_and_a_hint(womm_home, tmp_path):
    words = ["parallel", "--kube-pods", "1", "--image", "tools", "--", "echo", ":::", "1"]
    result = run(*words, cwd=tmp_path, KUBECONFIG=None)
    assert (result.status, result.out) == (254, "")
    assert len(result.err.splitlines()) == 2
    assert "no cluster is configured: there is no kubeconfig" in result.err
    assert [*womm_home.runtime.iterdir()] == []


@pytest.mark.parametrize(
    ("share", "why"), [("lazy", "files come from this machine"), ("eager", "not there yet")]
)
def test_async_is_refused_with_the_reason_that_holds(womm_home, tmp_path, share, why):
    words = ["parallel", "--kube-pods", "1", "--share", share, "--async", "--", "echo", ":::", "1"]
    result = run(*words, cwd=tmp_path)
    assert (result.status, result.out) == (2, "")
    assert why in result.err
    assert len(result.err.splitlines()) == 2


def test_share_options_are_womms_and_their_switches_take_no_value():
    found = scan(["--share", "lazy", "--share-readonly", "-k", "--keep", "--", "echo"])
    assert found.values == {"share": "lazy", "share_readonly": "true", "keep": "true"}
    assert found.parallel == ["-k", "echo"]


def test_share_write_may_be_given_more_than_once():
    found = scan(["--share-write", "out/", "--share-write=log,a/b", "--", "echo"])
    assert found.values == {"share_write": "out/,log,a/b"}
    assert found.parallel == ["echo"]


@pytest.mark.parametrize("words", [("parallel", "--kube-pods", "1"), ("shell",)])
def test_share_write_that_leads_out_of_the_folder_is_one_line(womm_home, tmp_path, words):
    result = run(*words, "--share-write", "ok", "--share-write", "../x", "--", "echo", cwd=tmp_path)
    assert (result.status, result.out) == (2, "")
    assert result.err.splitlines() == [
        "womm: --share-write ok,../x: must be paths within the shared folder, without .., such as"
        " out/,log.txt, or in a file a list of them"
    ]


@pytest.mark.parametrize("word", ["--share=lazy", "--share-readonly", "--share-write=x", "--keep"])
def test_share_option_after_the_separator_is_refused(word):
    with pytest.raises(UsageError, match="stands after --"):
        scan(["--", word, "echo"])

"""The words of `womm shell`. What it does with them: tests/task/test_shell.py."""

import pytest

from tests.cli.running import run

pytestmark = pytest.mark.usefixtures("womm_home")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--kube-cpu", "0"), "--kube-cpu 0: must be a number of CPUs"),
        (("--kube-mem", "1gb"), "(did you mean 1Gi?)"),
        (("--cluster", "moon"), "--cluster moon: must be local or kubernetes"),
        (("--share", "lazily"), "--share lazily: must be none or eager"),
        (("--share-write", "a", "--share-write", "../b"), "--share-write a,../b: must be paths within"),
        (("-n", "A"), "--namespace A: must be the name of a namespace"),
        (("--no-such",), "No such option"),
    ],
)
def test_words_that_cannot_be_meant_are_usage_errors(tmp_path, words, message):
    result = run("shell", *words, "--", "touch", "ran", cwd=tmp_path)
    assert (result.status, result.out) == (2, "")
    assert message in result.err
    assert "Traceback" not in result.err
    assert not (tmp_path / "ran").exists()


def test_options_end_at_the_first_word_of_the_command(tmp_path):
    result = run("-q", "shell", "--", "echo", "--kube-cpu", "-n", "--", cwd=tmp_path)
    assert (result.status, result.out, result.err) == (0, "--kube-cpu -n --\n", "")


@pytest.mark.parametrize(
    ("command", "printed"),
    [
        (("echo a  b; echo $((1+1))",), "a b\n2\n"),
        (("echo", "a  b; echo", "$HOME", "it's", ""), "a  b; echo $HOME it's \n"),
        (("printf", "%s", "a\nb\udcff"), "a\nb\udcff"),
    ],
)
def test_one_word_is_a_line_and_several_are_a_command(tmp_path, command, printed):
    result = run("-q", "shell", "--", *command, cwd=tmp_path)
    assert (result.status, result.out, result.err) == (0, printed, "")


def test_help_has_every_option_once_and_examples():
    result = run("shell", "--help")
    assert result.status == 0
    assert result.out.startswith("Usage: womm shell [OPTIONS] [-- COMMAND]")
    for option in ("--kube-cpu", "--share-write", "--keep", "-n, --namespace"):
        assert result.out.count(f"  {option} ") <= 2
        assert option in result.out
    assert "womm shell -- 'tar c src | xz' > src.tar.xz" in result.out

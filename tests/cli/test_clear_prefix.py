"""`womm clear-prefix`."""

from tests.cli.running import run


def test_clear_prefix_says_what_it_forgot_and_keeps_the_rest(womm_home, tmp_path):
    path = womm_home.config / "womm" / "config.toml"
    path.parent.mkdir()
    path.write_text('kube-pods = 4  # few\nprefix = "docker.io/rhelmot/"\n')
    result = run("clear-prefix", cwd=tmp_path)
    assert (result.status, result.out) == (0, "")
    assert result.err == f"womm: {path} has the prefix docker.io/rhelmot/ no more\n"
    assert path.read_text() == "kube-pods = 4  # few\n"


def test_clear_prefix_without_one_says_so(womm_home, tmp_path):
    result = run("clear-prefix", cwd=tmp_path)
    assert (result.status, result.err) == (0, "womm: no prefix is remembered\n")
    assert list(womm_home.config.iterdir()) == []

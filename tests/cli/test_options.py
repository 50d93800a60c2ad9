"""The options of every command that talks to a cluster."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.trusting import accept
from womm.cli.options import OF_KUBERNETES, cluster_options, here, known_settings, load_settings, with_cluster
from womm.errors import TrustError


@pytest.mark.parametrize("name", OF_KUBERNETES)
def test_with_cluster_what_only_kubernetes_has_means_kubernetes(name):
    assert with_cluster({name: "x"}) == {name: "x", "cluster": "kubernetes"}
    assert with_cluster({name: "x", "cluster": "local"})["cluster"] == "local"
    assert not with_cluster({name: None}).get("cluster")


def test_with_cluster_of_other_flags_chooses_nothing_and_changes_nothing_given():
    given = {"share": "lazy", "kube_pods": "2", "context": "", "namespace": None}
    assert with_cluster(given) == given
    with_cluster({**given, "image": "x"})
    assert "cluster" not in given


def test_cluster_options_are_kubectls():
    @click.command
    @cluster_options
    def command(**flags):
        click.echo(repr(sorted(flags.items())))

    run = CliRunner().invoke
    assert run(command, ["-n", "lab", "--context=c", "--kubeconfig", "k"]).output == (
        "[('context', 'c'), ('kubeconfig', 'k'), ('namespace', 'lab')]\n"
    )
    assert run(command, ["--namespace", "lab"]).output.count("None") == 2
    assert run(command, ["-n"]).exit_code == 2
    helped = run(command, ["--help"]).output
    assert [line.split()[0] for line in helped.splitlines() if "  -" in line][:3] == [
        "--context",
        "-n,",
        "--kubeconfig",
    ]


def test_settings_of_a_command_are_those_of_the_project_here(womm_home, tmp_path, monkeypatch):
    (tmp_path / "proj" / "below").mkdir(parents=True)
    (tmp_path / "proj" / ".womm").write_text('version = 1\nnamespace = "lab"\n')
    monkeypatch.chdir(tmp_path / "proj" / "below")
    with pytest.raises(TrustError):
        load_settings({})
    accept(tmp_path / "proj")
    assert load_settings({}).namespace == "lab"
    found = load_settings({"context": "c"})
    assert (found.cluster, found.context, found.namespace) == ("kubernetes", "c", "lab")


def test_settings_for_existing_tasks_pass_over_a_project_that_is_not_accepted(
    womm_home, tmp_path, monkeypatch, capsys
):
    (tmp_path / ".womm").write_text('version = 1\nnamespace = "lab"\n')
    monkeypatch.chdir(tmp_path)
    assert known_settings({"context": "c"}).namespace == ""
    warned = capsys.readouterr().err
    assert warned.startswith("womm: ")
    assert str(tmp_path / ".womm") in warned


def test_folder_that_is_gone_has_no_project(womm_home, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    assert here() == gone
    gone.rmdir()
    assert here() == Path("/")
    assert load_settings({}).project is None

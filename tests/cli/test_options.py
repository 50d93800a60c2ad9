"""The options of every command that talks to a cluster."""

import pytest

from womm.cli.options import OF_KUBERNETES, with_cluster


@pytest.mark.parametrize("name", OF_KUBERNETES)
def test_with_cluster_what_only_kubernetes_has_means_kubernetes(name):
    assert with_cluster({name: "x"}) == {name: "x", "cluster": "kubernetes"}
    assert with_cluster({name: "x", "cluster": "local"})["cluster"] == "local"
    assert not with_cluster({name: None}).get("cluster")

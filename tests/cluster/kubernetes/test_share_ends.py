"""Shares of whole tasks when somebody is in the way: `finish`, local jobslots, no network, pods of others."""

import hashlib
import json
import os
import secrets
import signal
import time
from pathlib import Path

import pytest

from tests.cluster.kubernetes.project import Project
from tests.cluster.kubernetes.proxy import proxied
from tests.cluster.kubernetes.test_share_host import on_nodes
from tests.cluster.kubernetes.test_shared_tasks import fill, shared, tree, write
from tests.conftest import Home
from tests.faults.tasks import wait_for, womm
from tests.realcluster import images
from tests.soak import count
from womm.cluster.base import Loss
from womm.cluster.kubernetes.share_manifests import FILE_SERVER
from womm.journal.events import JobEnded, JobLost, JobStarted, PodGone

__all__ = ["shared"]
pytestmark = [pytest.mark.slow, pytest.mark.soak]

KINDS = pytest.mark.parametrize("kind", ["lazy", "eager-syncback"])


@KINDS
def test_finish_keeps_what_was_written_and_leaves_nothing(
    shared: Project, fileserver_image: str, womm_home: Home, kind: str
) -> None:
    write(shared, fileserver_image, kind)
    with shared.started(
        "parallel", "--kube-pods", "2", "--", "echo {} >kept{}; sleep 1000", ":::", "1", "2"
    ) as run:
        wait_for(lambda: len(run.events(JobStarted)) == 2 or run.process.poll(), f"the jobs: {run.err}", 200)
        time.sleep(3)
        began = time.monotonic()
        for _ in range(2):
            finished = womm(shared.folder, "finish", run.task)
            assert finished.returncode == 0, finished
        assert run.wait(60) != 0
        assert run.out == b""
    shared.nothing_left(womm_home.runtime, 60 - (time.monotonic() - began))
    assert [(shared.folder / f"kept{n}").read_text() for n in (1, 2)] == ["1\n", "2\n"]


@KINDS
def test_local_jobs_have_the_folder_itself(
    shared: Project, fileserver_image: str, womm_home: Home, kind: str
) -> None:
    write(shared, fileserver_image, kind)
    fill(shared.folder)
    (shared.folder / "sub").mkdir()
    before = tree(shared.folder)
    numbers = [str(number) for number in range(30)]
    command = "sleep 1; sha256sum <'src/file {}.txt' >out/{}; pwd >>out/{}; echo $WOMM_POD"
    words = ["parallel", "--kube-pods", "1", "--local-procs", "1", "--", "-k", command, ":::", *numbers]
    with shared.started(*words) as run:
        assert run.wait(300) == 0, run.err
        pods = set(run.out.decode().split())
        local = f"{run.task}-local"
    assert len(pods) == 2 and local in pods, (pods, run.err)
    for number in numbers:
        told = f"{before[f'src/file {number}.txt']}  -\n{shared.folder}\n"
        assert (shared.folder / f"out/{number}").read_text() == told
    made = {*(f"out/{number}" for number in numbers), "womm.in", "womm.out", "womm.err"}
    assert {name: value for name, value in tree(shared.folder).items() if name not in made} == before
    shared.nothing_left(womm_home.runtime)


def test_network_that_is_away_for_minutes_costs_a_lazy_task_nothing(
    shared: Project, fileserver_image: str, womm_home: Home
) -> None:
    """Jobs begin, read files that nobody has fetched, and write, while nothing gets through."""
    folder, jobs = shared.folder, 60
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    content = {number: os.urandom(300_000) for number in range(jobs)}
    for number, data in content.items():
        (folder / f"in/{number}").write_bytes(data)
    with proxied(shared.kube.kubeconfig, folder.parent) as (proxy, kubeconfig):
        write(shared, fileserver_image, "lazy", kubeconfig=str(kubeconfig), procs_per_pod="2")
        command = "for n in 1 2; do cat in/{} >>out/{} || exit; sleep 0.5; done; sha256sum <out/{}"
        words = ["parallel", "--kube-pods", "2", "--joblog", "log", "--", "-k", command, ":::"]
        with shared.started(*words, *map(str, content)) as run:
            wait_for(lambda: len(run.events(JobEnded)) >= 4 or run.process.poll(), f"jobs: {run.err}", 200)
            proxy.freeze()
            time.sleep(count(20, 200))
            proxy.cut()  # as when the machine comes back with another address
            proxy.thaw()
            assert run.wait(400) == 0, run.err
            assert run.events(JobLost, PodGone) == []
            printed = run.out.decode().split()[::2]
        shared.nothing_left(womm_home.runtime)
    assert printed == [hashlib.sha256(data * 2).hexdigest() for data in content.values()]
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == {
        str(number): data * 2 for number, data in content.items()
    }


def test_pods_of_others_reach_the_port_and_see_nothing(
    shared: Project, fileserver_image: str, womm_home: Home
) -> None:
    """From the same namespace, from another one, and from a node's own network. Guesses in earnest, of paths
    and of handles, are tests/nfs/test_fuzz.py's."""
    write(shared, fileserver_image, "lazy")
    (shared.folder / "crown").write_text("jewels\n")
    kubectl = shared.kube.kubectl
    image = images.tools_image(shared.kube.registry).pinned
    guesses = "; ".join(
        f"nfs-ls nfs://$1/womm-{secrets.token_hex(16)}?version=4 && exit 9" for _ in range(count(5, 200))
    )
    script = f"nfs-ls nfs://$1/?version=4; {guesses}; nfs-ls nfs://$1/womm-?version=4 && exit 9; echo none"
    with (
        kubectl.namespace() as other,
        shared.started("parallel", "--kube-pods", "1", "--", "cat {}; sleep 1000", ":::", "crown") as run,
    ):
        wait_for(lambda: run.events(JobStarted) or run.process.poll(), f"the job: {run.err}", 200)
        (service,) = kubectl.json("get", "services", "-n", shared.namespace, "-l", f"womm/task={run.task}")[
            "items"
        ]
        address = service["spec"]["clusterIP"]
        (pod,) = shared.pod_objects(run.task)
        (path,) = [volume["nfs"]["path"] for volume in pod["spec"]["volumes"] if "nfs" in volume]
        places = [(shared.namespace, {}), (other, {}), (shared.namespace, {"hostNetwork": True})]
        for number, (namespace, spec) in enumerate(places):
            name = f"other{number}"
            kubectl.run_pod(namespace, name, image, "sleep", "1000", nodeName="node1", **spec)
            kubectl.wait_ready(namespace, name)
            words = ["exec", "-n", namespace, name, "--"]
            seen = kubectl.text(*words, "sh", "-c", script + " 2>&1", "sh", address)
            assert seen.endswith("none\n")
            assert "crown" not in seen and path not in seen, seen
            # With the path it is all there: what is seen above is not for want of a way.
            url = f"nfs://{address}{path}/crown?version=4"
            assert kubectl.text(*words, "nfs-cat", url) == "jewels\n"
            kubectl.run("delete", "pod", name, "-n", namespace, "--wait=false")
        run.process.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
    shared.nothing_left(womm_home.runtime)


def test_shell_whose_share_is_lost_ends(shared: Project, fileserver_image: str, womm_home: Home) -> None:
    """It would wait for its folder for ever, and its terminal knows no Ctrl-C."""
    write(shared, fileserver_image, "eager")
    with shared.started("shell", "--", "echo ready; sleep 1000") as run:
        wait_for(lambda: run.out or run.process.poll() is not None, "the shell", 200)
        assert run.out == b"ready\n", run.err
        which = ["-n", shared.namespace, "-l", f"app.kubernetes.io/component={FILE_SERVER}"]
        shared.kube.kubectl.run("delete", "deployment", *which, "--wait=false")
        assert run.wait(120) == 254, run.err
        assert "the file server is removed" in run.err
    shared.nothing_left(womm_home.runtime)


@pytest.mark.timeout(900)
def test_file_server_on_a_node_that_is_lost_is_replaced(
    shared: Project, fileserver_image: str, nfs_nodes: list[str], womm_home: Home
) -> None:
    """Its pod would be `Terminating` for as long as its node is an object, and the next one not be asked."""
    kubectl, network = shared.kube.kubectl, shared.kube.own.network
    gone, well = nfs_nodes
    (shared.folder.parent / "pod.yaml").write_text(json.dumps(on_nodes(well)))
    write(shared, fileserver_image, "eager-syncback", orphan_timeout="10m")
    (shared.folder / "name").write_text("laptop\n")

    def server_node(but: str = "") -> str:
        pods = [p for p in shared.pod_objects(run.task, FILE_SERVER) if p["metadata"]["name"] != but]
        return str(pods[0]["spec"].get("nodeName", "")) if pods else ""

    others = ["node1", well]
    kubectl.run("cordon", *others)
    try:
        command = ": {}; cat name; sleep 20; echo pod >made"
        with shared.started("parallel", "--kube-pods", "1", "--", command, ":::", "x") as run:
            wait_for(lambda: run.task and server_node() == gone, f"its node: {run.err}", 100)
            kubectl.run("uncordon", *others)
            wait_for(lambda: run.events(JobStarted) or run.process.poll() is not None, run.err, 200)
            (server,) = shared.pods(run.task, FILE_SERVER)
            kubectl.run("cordon", gone)
            with network.cut(int(gone.removeprefix("node"))):
                shared.delete_pod(server, grace_s=60)
                assert run.wait(500) == 0, run.err
            assert f"node {gone} has not confirmed the end of 1 pod: removed without it" in run.err
            assert [event.cause for event in run.events(JobLost)] == [Loss.DISK.value]
    finally:
        kubectl.run("uncordon", gone, *others)
    assert (shared.folder / "made").read_text() == "pod\n"
    shared.kube.own.wait_ready()
    shared.nothing_left(womm_home.runtime)


def test_shell_brings_back_what_it_made_in_an_eager_share(
    shared: Project, fileserver_image: str, womm_home: Home
) -> None:
    write(shared, fileserver_image, "eager-syncback")
    (shared.folder / "name").write_text("laptop\n")
    with shared.started("shell", "--", "cat name; echo pod >written; rm name") as run:
        assert run.wait(200) == 0, run.err
        assert run.out == b"laptop\n"
        assert "1 file (4 B) brought back" in run.err
    assert (shared.folder / "written").read_text() == "pod\n"
    assert Path(shared.folder / "name").read_text() == "laptop\n"  # nothing is deleted here
    shared.nothing_left(womm_home.runtime)

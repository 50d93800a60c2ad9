"""A share on a node that has no NFS client: node1 has this machine's kernel, and no mount.nfs."""

import re
import shutil
import signal
from dataclasses import replace
from functools import partial

import pytest

from tests.cluster.kubernetes.project import Project
from tests.faults.tasks import wait_for, womm
from womm.cluster.kubernetes.advice import EXPORT

pytestmark = pytest.mark.slow

WAITS = (
    r"waiting for a worker: 1 FailedMount \(node1 has no NFS client: install nfs-common there,"
    r" choose nodes by node-selector, or --share eager\)"
)
HINT = "apt-get install nfs-common"


@pytest.fixture
def shared(project: Project, fileserver_image: str) -> Project:
    """A project whose folder pods get."""
    if shutil.which("mount.nfs"):
        pytest.skip("this machine, and so node1, may be able to mount NFS")
    folder = project.folder / "proj"  # the home folder lies beside it
    folder.mkdir()
    shared = replace(project, folder=folder)
    shared.write(share="lazy", fileserver_image=fileserver_image, kube_cpu="50m", ready_timeout="5m")
    return shared


def test_lazy_share_is_told_by_parallel_shell_and_doctor(shared: Project) -> None:
    jobs = shared.started("parallel", "--kube-pods", "1", "--", "echo", ":::", "1", name="parallel")
    shell = shared.started("shell", "--", "true", name="shell")
    with jobs as one, shell as other, shared.started("doctor", name="doctor") as doctor:
        # Each check is printed when it is over: those of the cluster long before the worker's.
        wait_for(lambda: b"\nok  quota: " in doctor.out or doctor.process.poll(), "the cluster's checks")
        assert doctor.process.poll() is None, doctor.err
        assert b"worker" not in doctor.out
        for run in (one, other):
            told = partial(re.search, f"(?m)^womm: {WAITS}$")
            wait_for(lambda: told(run.err) or run.process.poll() is not None, "the reason")  # noqa: B023
            assert told(run.err), run.err
            run.process.send_signal(signal.SIGTERM)
        assert doctor.wait() == 1, doctor.err
        worker, hint, quickest = doctor.out.decode().splitlines()[-3:]
        assert worker.startswith("!!  worker: none will come: FailedMount (node1 has no NFS client: ")
        assert re.match(f"    .*{HINT}.*--share eager$", hint)
        assert re.match(
            "ok  quickest: .* --share eager: a node has no NFS client, so neither --image here", quickest
        )
        assert "womm: waiting for a worker: " in doctor.err
        assert (one.wait(), other.wait()) == (143, 143)
        for run in (one, other, doctor):
            said = run.err + run.out.decode()
            assert not EXPORT.search(said), "the export's path is its only lock"


@pytest.mark.soak
@pytest.mark.parametrize(
    ("kind", "status", "told"),
    [
        ("eager", 0, "ok  share: each pod gets a copy of its own of {}"),
        ("eager-syncback", 1, "!!  worker: none will come: FailedMount (node1 has no NFS client: "),
    ],
)
def test_doctor_knows_whether_an_eager_share_can_be(
    shared: Project, kind: str, status: int, told: str
) -> None:
    done = womm(shared.folder, "doctor", WOMM_SHARE=kind)
    assert done.returncode == status, done.stderr
    assert f"\n{told.format(shared.folder)}" in done.stdout


def test_eager_share_is_copied_into_each_pod_instead(shared: Project) -> None:
    (shared.folder / "sub").mkdir()
    (shared.folder / "sub" / "data").write_text("hello\n")
    words = ["parallel", "-k", "--kube-pods", "2", "--share", "eager", "--ready-timeout", "5m"]
    command = "cat data; echo {} >new.{}; pwd"
    with shared.started(*words, "--", f"cd sub; {command}", ":::", "1", "2", "3") as run:
        assert run.wait() == 0, run.err
        assert run.out.decode() == f"hello\n{shared.folder}/sub\n" * 3
        assert run.err.count("node1 has no NFS client: each pod gets a copy of its own") == 1
    assert [path.name for path in (shared.folder / "sub").iterdir()] == ["data"]

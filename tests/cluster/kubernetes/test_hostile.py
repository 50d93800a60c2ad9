"""A hostile job, root in a pod of a real cluster, against both kinds of shares that write here."""

import json
from pathlib import Path

import pytest

from tests.cluster.kubernetes.project import Project
from tests.cluster.kubernetes.test_shared_tasks import shared
from tests.conftest import Home
from tests.share.lazy.hostiles import broken, make_target, scripts

__all__ = ["shared"]
# In each run there is the same on a real kernel (tests/fileserver/test_hostile.py), which is quicker.
pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(3600)]

MOUNT = "$(sed -n 's,^\\([0-9.]*\\):\\(/womm-[0-9a-f]*\\) .*,\\1:2049\\2,p' /proc/mounts | head -n 1)"
"""Where the share is mounted from: every pod knows."""


@pytest.mark.parametrize("kind", ["lazy", "eager-syncback"])
def test_hostile_job_changes_nothing_of_womms_and_nothing_but_what_it_may_write(
    shared: Project, fileserver_image: str, womm_home: Home, tmp_path: Path, kind: str
) -> None:
    target = make_target(shared.folder, tmp_path / "outside")
    options = {"share": kind, "fileserver_image": fileserver_image, "pod_template": "../pod.yaml"}
    # That image has python; as root, as jobs often are.
    pod = shared.folder.parent / "pod.yaml"
    template = json.loads(pod.read_text())
    template["spec"]["securityContext"] = {"runAsUser": 0, "runAsGroup": 0}
    pod.write_text(json.dumps(template))
    shared.write(image=fileserver_image, kube_cpu="300m", **options)
    script = scripts(shared.folder / "out")
    target = target.again()
    words = target.words(f"out/{script}", str(shared.folder), write=True, slow=10)
    line = f': {{}}; [ "$(id -u)" = 0 ] && {words} --server "{MOUNT}"'
    with shared.started(
        "parallel", "--kube-pods", "1", "--share-write", "out/", "--", line, ":::", "x"
    ) as run:
        assert run.wait(3000) == 0, run.err
        if kind == "lazy":
            assert broken(run.out) == []
            assert "jobs cannot change Makefile: share-write is out" in run.err
        else:
            assert "not below a path of share-write, so not brought back" in run.err
            assert "what jobs have made of womm's own files is not brought back" in run.err
    target.untouched(write=True)
    shared.nothing_left(womm_home.runtime)

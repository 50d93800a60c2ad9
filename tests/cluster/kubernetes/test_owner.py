"""Files of a share belong, in pods, to the user that the image names, and here to the user."""

import os

import pytest

from tests.cluster.kubernetes.project import Project
from tests.cluster.kubernetes.test_shared_tasks import fill, shared
from tests.conftest import Home
from tests.faults.tasks import started

__all__ = ["shared"]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["lazy", pytest.param("eager-syncback", marks=pytest.mark.soak)])
def test_files_belong_to_the_images_user(
    shared: Project, fileserver_image: str, womm_home: Home, kind: str
) -> None:
    image = shared.kube.images["worker-user"].pinned
    options = {"fileserver_image": fileserver_image, "image": image, "kube_cpu": "300m"}
    shared.write(pod_template="../pod.yaml", share=kind, **options)
    fill(shared.folder)
    (shared.folder / "src/deep/run").write_text("#!/bin/sh\nid -u\n")
    (shared.folder / "src/deep/run").chmod(0o700)
    command = (
        "id -u; stat -c %u .. . deep 'file 3.txt' deep/run | sort -u; ./deep/run;"
        " echo x >new{}; mkdir made{}; stat -c %u new{} made{} | sort -u; find .. ! -user 1000"
    )
    # The working folder is below the share's: kubelet and the kernel have looked at both before any job.
    words = ["parallel", "--kube-pods", "2", "--", "-k", command, ":::", "1", "2", "3", "4"]
    with started(shared.folder / "src", *words) as run:
        assert run.wait(300) == 0, run.err
        assert run.out.split() == [b"1000"] * 16, run.err
    for path in (shared.folder / "src/new1", shared.folder / "src/made4"):
        assert path.stat().st_uid == os.getuid()
    shared.nothing_left(womm_home.runtime)

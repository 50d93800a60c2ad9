"""From an empty folder to jobs in pods: `womm setup`, in one line and as a dialogue, then `womm parallel`.

The program that the script needs comes from a file in the folder: the tests' docker has no network.
"""

from pathlib import Path

import pytest

from tests.cli.running import run
from tests.conftest import Home
from tests.faults.tasks import started
from tests.image.dockerd import BASE
from tests.realcluster.configs import NFS_SETTINGS
from tests.realcluster.fixtures import KubeCluster
from tests.setup.projects import answer, in_terminal
from tests.soak import SOAK

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TOOL = "#!/bin/sh\nwhile read -r line; do echo $MODE $line; done\n"
SCRIPT = "#!/bin/sh\ntool <$1 >$1.out\ntool <$1\n"


@pytest.fixture
def settings(
    kube_cluster: KubeCluster, nfs_nodes: list[str], makes_images: dict[str, str], tmp_path: Path
) -> dict[str, str]:
    """The environment of somebody who has a kubeconfig; pods are small, and on nodes that can mount NFS."""
    return {
        "KUBECONFIG": str(kube_cluster.kubeconfig),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "WOMM_KUBE_CPU": "100m",
        "WOMM_KUBE_MEM": "64Mi",
        **NFS_SETTINGS,
        **makes_images,
    }


@pytest.fixture
def folder(
    settings: dict[str, str], womm_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with a script, and no `.womm`."""
    folder = tmp_path / "proj"
    folder.mkdir()
    for name, text in (("tool", TOOL), ("script", SCRIPT)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    for number in range(3):
        (folder / f"{number}.txt").write_text(f"line of {number}\n")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def words(kube_cluster: KubeCluster, kube_namespace: str) -> list[str]:
    base = kube_cluster.images["worker"].tagged
    prefix = f"{kube_cluster.registry}/setup/"
    return ["--namespace", kube_namespace, "--base", base, "--prefix", prefix, "--fileserver-base", BASE]


def parallel(folder: Path) -> list[str]:
    names = "".join(f"{number}.txt\n" for number in range(3))
    with started(
        folder, "parallel", "--kube-pods", "2", "--", "-k", "./script {}", stdin=names.encode()
    ) as run:
        assert run.wait(300) == 0, run.err
        return run.out.decode().splitlines()


EXPECTED = [f"fast line of {number}" for number in range(3)]


def test_setup_in_one_line_then_jobs_in_pods_with_each_share(folder: Path, words: list[str]) -> None:
    install = "install -m 755 tool /usr/local/bin/tool"
    result = run(
        "setup", "--share", "lazy", *words, "--run", install, "--env", "MODE=fast", "--yes", cwd=folder
    )
    assert (result.status, result.out) == (0, ""), result.err
    assert parallel(folder) == EXPECTED
    outputs = [folder / f"{number}.txt.out" for number in range(3)]
    assert [path.read_text() for path in outputs] == [f"{line}\n" for line in EXPECTED]
    for share in ("eager", "eager-syncback", "none") if SOAK else ("none",):
        for path in outputs:
            path.unlink(missing_ok=True)
        again = run("setup", "--share", share, "--yes", cwd=folder)
        assert again.status == 0, again.err
        assert "womm: docker" not in again.err  # the image stays
        if share == "none":
            shell = run("shell", "--", "echo $MODE | tool", cwd=folder)
            assert (shell.status, shell.out) == (0, "fast fast\n"), shell.err
        else:
            assert parallel(folder) == EXPECTED
        assert [path.exists() for path in outputs] == [share == "eager-syncback"] * 3


@pytest.mark.soak  # the dialogue of the README is typed in each run
def test_setup_by_its_dialogue_then_jobs_in_pods(folder: Path, words: list[str]) -> None:
    given = dict(zip(words[::2], words[1::2], strict=True))
    with in_terminal(folder, "setup", "--fileserver-base", BASE) as child:
        answer(child, "How do you want to share", "2")
        answer(child, "In which namespace", given["--namespace"])
        answer(child, "Which pull secret", "")
        answer(child, "What is the docker hub name", given["--base"])
        answer(child, "What is a prefix", given["--prefix"])
        child.expect_exact("testbed:")
        child.sendline("install -m 755 tool /usr/local/bin/tool")
        child.expect_exact("testbed:")
        child.sendline("export MODE=fast")
        child.expect_exact("testbed:")
        child.sendline("./script 0.txt")
        child.expect_exact("fast line of 0")
        child.sendline("exit")
        answer(child, "Does it work? y/n", "y")
        child.expect_exact("womm doctor", timeout=300)
        child.wait()
        assert child.exitstatus == 0
    assert parallel(folder) == EXPECTED

"""womm as users get it: of its wheel, its modules compiled, in folders far from the checkout."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import CI, Home
from tests.image.dockerd import BASE
from tests.installation import ROOT
from tests.realcluster.configs import NFS_SETTINGS
from tests.realcluster.fixtures import KubeCluster
from womm.cli.main import COMMANDS

pytestmark = pytest.mark.slow
DEADLINE_S = 420.0
RECIPE = "images/fileserver"
MANIFESTS = "manifests"


def run(installed: Path, folder: Path, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run the installed womm; nothing of the environment leads to the checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(installed), *words],
        cwd=folder,
        env={**kept, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def good(done: "subprocess.CompletedProcess[str]") -> str:
    """Return what a command that must not fail has printed."""
    assert done.returncode == 0, f"{done.args}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_in_ci_womm_is_the_installed_one_here_and_in_what_tests_start(
    womm_home: Home, tmp_path: Path
) -> None:
    """With CI=true a womm that is imported from the checkout would hide what a wheel lacks."""
    asked = "import womm; print(womm.__file__)"
    found = set()
    for place in (tmp_path, ROOT):
        found.add(subprocess.check_output([sys.executable, "-c", asked], cwd=place, text=True).strip())
    assert found == {sys.modules["womm"].__file__}
    assert not CI or {"site-packages"} & {*Path(found.pop()).parts}


def test_installation_has_every_file_of_the_sources_and_is_compiled(installed: Path) -> None:
    asked = "import womm; print(womm.__file__)"
    python = installed.with_name("python")
    package = Path(subprocess.check_output([python, "-I", "-c", asked], text=True).strip()).parent
    assert not package.is_relative_to(ROOT / "womm")
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "womm", RECIPE, MANIFESTS], cwd=ROOT, text=True
    )
    names = [name for name in listed.split("\0") if name]
    assert len(names) > 100
    places = {name: name.replace(RECIPE, "womm/image/recipes/fileserver") for name in names}
    places |= {name: f"womm/{name}" for name in names if name.startswith(f"{MANIFESTS}/")}
    lacking = [name for name, place in places.items() if not (package.parent / place).is_file()]
    assert lacking == []
    assert (package / "vendor" / "parallel").is_file()
    assert list(package.glob("image/recipes/fileserver/__pycache__/*.pyc"))


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_starts(installed: Path, womm_home: Home, tmp_path: Path, name: str) -> None:
    assert good(run(installed, tmp_path, name, "--help")).startswith("Usage: ")


def test_local_workers_run_jobs_and_a_shell(installed: Path, womm_home: Home, tmp_path: Path) -> None:
    jobs = ["parallel", "-k", "--kube-pods", "2", "--", "echo {} in $PWD", ":::", "1", "2"]
    assert good(run(installed, tmp_path, *jobs)) == f"1 in {tmp_path}\n2 in {tmp_path}\n"
    assert good(run(installed, tmp_path, "logs", "last")) == f"1 in {tmp_path}\n2 in {tmp_path}\n"
    assert good(run(installed, tmp_path, "shell", "--", "pwd")) == f"{tmp_path}\n"
    assert "GNU parallel" in good(run(installed, tmp_path, "doctor"))


def test_image_is_made_of_the_recipe_alone(installed: Path, tmp_path: Path) -> None:
    """pip compiles unpack.py: a folder is beside it that is no part of the recipe."""
    asked = """if True:
        import os
        from womm.image.fileserver import context
        with context("x86_64", lambda folder, machine: None) as place:
            print(sorted(os.listdir(place)), os.listdir(place / "wheels"))
    """
    words = [str(installed.with_name("python")), "-I", "-c", asked]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"\['Dockerfile', 'unpack\.py', 'wheels'\] \['womm-[^']+-py3-none-any\.whl'\]\n", done.stdout
    )


@pytest.fixture
def share_env(
    womm_home: Home, kube_cluster: KubeCluster, nfs_nodes: list[str], makes_images: dict[str, str]
) -> dict[str, str]:
    """The environment of a womm that makes images and whose pods are on nodes that can mount NFS."""
    small = {"WOMM_KUBE_CPU": "50m", "WOMM_KUBE_MEM": "64Mi"}
    return {"KUBECONFIG": str(kube_cluster.kubeconfig), **small, **NFS_SETTINGS, **makes_images}


@pytest.mark.soak  # minutes, and with CI=true the whole suite runs with an installed womm
@pytest.mark.timeout(1800)
def test_share_from_setup_to_jobs_a_shell_and_doctor(
    installed: Path, tmp_path: Path, kube_cluster: KubeCluster, kube_namespace: str, share_env: dict[str, str]
) -> None:
    """As the README says: `setup --prefix` makes the image, and pods see the folder, lazily and eagerly."""
    folder = tmp_path / "proj"
    (folder / "src").mkdir(parents=True)
    for number in "12":
        (folder / "src" / f"part{number}.txt").write_text("line\n" * int(number))

    def womm(*words: str) -> str:
        return good(run(installed, folder, *words, **share_env))

    prefix, image = f"{kube_cluster.registry}/installed/", kube_cluster.images["worker"].pinned
    words = ["--image", image, "--namespace", kube_namespace, "--prefix", prefix, "--fileserver-base", BASE]
    womm("setup", *words, "--share", "lazy", "--yes")
    written = tomllib.loads((folder / ".womm").read_text())
    assert written["fileserver-image"].startswith(f"{prefix}womm-fileserver@sha256:")

    jobs = ["parallel", "-k", "--kube-pods", "1", "--"]
    counted = womm(*jobs, "wc -l <{}; gzip -9 <{} >{}.gz", ":::", "src/part1.txt", "src/part2.txt")
    assert counted.split() == ["1", "2"]
    assert sorted(path.name for path in (folder / "src").glob("*.gz")) == ["part1.txt.gz", "part2.txt.gz"]
    assert womm("shell", "--", "pwd; cat src/part1.txt") == f"{folder}\nline\n"
    found = womm("doctor")
    assert re.search(r"(?m)^ok  share: first byte", found), found
    assert womm(*jobs[:4], "--share", "eager", "--", "cat", ":::", "src/part1.txt") == "line\n"

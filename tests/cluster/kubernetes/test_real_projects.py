"""What a new user does first: real projects, on a lazy share, with what it gives here beside it.

Sources and wheels come from the package index; the pods have Debian's gcc, python and git.
"""

import hashlib
import os
import random
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.kubernetes.project import Project
from tests.cluster.kubernetes.test_shared_tasks import shared, tree
from tests.conftest import Home
from tests.faults.tasks import Run
from tests.realcluster import images
from womm.journal.events import ShareTraffic

__all__ = ["shared"]
pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(1800)]
PATIENCE_S = 1500


@pytest.fixture
def project_of(shared: Project, fileserver_image: str) -> Project:
    image = images.compiler_image(shared.kube.registry).pinned
    options = {"share": "lazy", "fileserver_image": fileserver_image, "pod_template": "../pod.yaml"}
    shared.write(image=image, kube_cpu="300m", kube_mem="300Mi", **options)
    return shared


def pip(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", *words], check=True)


def sources(folder: Path, requirement: str) -> Path:
    """Unpack a source distribution in a folder; return where."""
    with_builder = folder / "builder"
    pip("install", "--target", str(with_builder), "setuptools>=77", "wheel", "poetry-core")
    where = {**os.environ, "PYTHONPATH": str(with_builder)}
    words = ["download", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "-d", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "-q", *words, requirement], check=True, env=where)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return Path(str(archive).removesuffix(".tar.gz"))


@contextmanager
def run_in_pods(project: Project, womm_home: Home, *words: str, stdin: bytes = b"") -> Iterator[Run]:
    """Run `womm WORDS` to its end; what was in the folder is as it was, and nothing is left."""
    before = tree(project.folder)
    began = time.monotonic()
    with project.started(*words, stdin=stdin) as run:
        assert run.wait(PATIENCE_S) == 0, run.err
        taken_s = time.monotonic() - began
        traffic = run.events(ShareTraffic)[-1]
        print(f"{words[0]}: {taken_s:.0f} s, {traffic}\n{run.err}", file=sys.stderr)
        yield run
    after = tree(project.folder)
    changed = [name for name, digest in before.items() if after.get(name) != digest]
    assert [name for name in changed if name not in {"womm.in", "womm.out", "womm.err"}] == []
    project.nothing_left(womm_home.runtime)


def test_c_project_compiled_in_pods_gives_the_same_objects(
    project_of: Project, womm_home: Home, tmp_path: Path
) -> None:
    """The library zstd: about thirty files, of 100 to 8,000 lines, that include each other's headers."""
    source = sources(tmp_path / "sdist", "backports.zstd==1.8.0") / "src/c/zstd/lib"
    folder = project_of.folder
    subprocess.run(["cp", "-a", str(source), str(folder / "lib")], check=True)
    files = sorted(
        str(path.relative_to(folder)) for path in folder.glob("lib/*/*.[cS]") if path.parent.name != "legacy"
    )
    assert len(files) >= 30
    compiled = "gcc -O1 -Ilib -Ilib/common -c {} -o %s/{/.}.o"
    (folder / "out").mkdir()
    words = ["parallel", "--kube-pods", "2", "--", compiled % "out"]
    with run_in_pods(project_of, womm_home, *words, stdin="".join(f"{name}\n" for name in files).encode()):
        pass
    here = tmp_path / "here"
    here.mkdir()
    for name in files:
        command = [
            "gcc",
            "-O1",
            "-Ilib",
            "-Ilib/common",
            "-c",
            name,
            "-o",
            str(here / f"{Path(name).stem}.o"),
        ]
        subprocess.run(command, cwd=folder, check=True)
    assert tree(folder / "out") == tree(here)
    assert len(tree(here)) == len(files)


def test_pytest_suite_spread_over_pods_passes_the_same_tests(
    project_of: Project, womm_home: Home, tmp_path: Path
) -> None:
    """tomlkit's: 1,203 tests in ten files, with pytest in a folder of the project."""
    source = sources(tmp_path / "sdist", "tomlkit==0.15.2")
    folder = project_of.folder
    subprocess.run(["cp", "-a", f"{source}/.", str(folder)], check=True)
    pip("install", "--target", str(folder / "deps"), "pytest==9.2.*", "PyYAML")
    files = sorted(str(path.relative_to(folder)) for path in folder.glob("tests/test_*.py"))
    command = "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=deps:. python3 -m pytest -q -p no:cacheprovider {}"
    words = ["parallel", "--kube-pods", "2", "--", "-k", command]
    with run_in_pods(
        project_of, womm_home, *words, stdin="".join(f"{name}\n" for name in files).encode()
    ) as run:
        there = [int(number) for number in re.findall(r"(\d+) passed", run.out.decode())]
    here = []
    for name in files:
        result = subprocess.run(
            ["sh", "-c", command.replace("{}", name).replace("python3", sys.executable)],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        here += [int(number) for number in re.findall(r"(\d+) passed", result.stdout)]
    assert there == here
    assert sum(here) > 1000


def test_images_resized_into_a_folder_are_the_same(
    project_of: Project, womm_home: Home, tmp_path: Path
) -> None:
    folder, total = project_of.folder, 2000
    pip("install", "--target", str(folder / "deps"), "--only-binary", ":all:", "pillow==13.*")
    (folder / "resize.py").write_text(
        "import sys\n"
        "from PIL import Image\n"
        "for name in sys.argv[2:]:\n"
        "    with Image.open(f'in/{name}') as image:\n"
        "        image.resize((64, 48)).save(f'{sys.argv[1]}/{name}')\n"
    )
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    make = (
        "import random\nfrom PIL import Image\nchance = random.Random(1)\n"
        f"for number in range({total}):\n"
        "    image = Image.frombytes('RGB', (32, 24), chance.randbytes(32 * 24 * 3)).resize((320, 240))\n"
        "    image.save(f'in/{number:04d}.png')\n"
    )
    here = {**os.environ, "PYTHONPATH": str(folder / "deps")}
    subprocess.run([sys.executable, "-c", make], cwd=folder, env=here, check=True)
    names = sorted(os.listdir(folder / "in"))
    command = "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=deps python3 resize.py out {}"
    words = ["parallel", "--kube-pods", "2", "--", "-n", "25", command]
    with run_in_pods(project_of, womm_home, *words, stdin="".join(f"{name}\n" for name in names).encode()):
        pass
    beside = tmp_path / "beside"
    beside.mkdir()
    subprocess.run(
        [sys.executable, "resize.py", str(beside), *names],
        cwd=folder,
        env=here | {"PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
    )
    assert tree(folder / "out") == tree(beside)
    assert len(tree(beside)) == total


def test_git_repository_used_from_a_pod(project_of: Project, womm_home: Home) -> None:
    folder, chance = project_of.folder, random.Random(2)
    for number in range(3000):
        path = folder / f"d{number % 50}/f{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{number}\n" * chance.randint(1, 60))
    (folder / ".gitignore").write_text("womm.*\n")
    git = git_in(folder)
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    script = (
        "set -e; export HOME=/tmp; git config --global safe.directory '*'; git config user.name pod;"
        " git config user.email pod@example.org; git status --porcelain; git checkout -qb pod;"
        " echo changed >>d7/f7; git rm -q d8/f8; mkdir new; echo new >new/file; git add -A;"
        " git commit -qm second;"
        " git gc -q; git log --format=%s; git diff --stat HEAD~1 | tail -1"
    )
    with project_of.started("shell", "--", script) as run:
        assert run.wait(PATIENCE_S) == 0, run.err
        printed = run.out.decode().splitlines()
    assert printed[:2] == ["second", "first"], printed
    assert printed[2].strip().startswith("3 files changed")
    assert len(printed) == 3
    assert git("fsck", "--strict", "--no-dangling") == ""
    assert git("log", "--format=%s %an").splitlines() == ["second pod", "first user"]
    assert git("show", "--stat=200", "--format=", "HEAD", "--", "d7", "d8", "new").count("|") == 3
    assert (folder / "d7/f7").read_text().endswith("changed\n")
    assert not (folder / "d8/f8").exists()
    digests = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in git("ls-files").split()
    }
    clone = folder / "clone"
    git("clone", "-q", ".", str(clone))
    copies = {name: digest for name, digest in tree(clone).items() if not name.startswith(".git/")}
    assert copies == digests
    project_of.nothing_left(womm_home.runtime)


def git_in(folder: Path) -> Callable[..., str]:
    def git(*words: str) -> str:
        who = ["-c", "user.name=user", "-c", "user.email=user@example.org"]
        result = subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True)
        return result.stdout.strip()

    return git

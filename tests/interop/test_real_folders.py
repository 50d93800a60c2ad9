"""The jobs of a new user on real folders: womm's results are plain GNU parallel's."""

import hashlib
import subprocess
import sys
import sysconfig
from itertools import cycle, islice
from pathlib import Path

import pytest

from tests.interop.plain import read_joblog
from tests.soak import count

pytestmark = pytest.mark.slow
PLAIN = ["perl", str(Path(__file__).parents[2] / "vendor" / "parallel" / "build" / "parallel"), "-j4"]
WOMM = [str(Path(sys.executable).with_name("womm")), "-q", "parallel", "--kube-pods", "4", "--"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A git repository with many files, of names and sizes that vary."""
    folder = tmp_path_factory.mktemp("repository")
    for number in range(count(2_000, 10_000)):
        place = folder / f"part {number % 40:02d}" / f"d{number % 7}"
        place.mkdir(parents=True, exist_ok=True)
        text = "".join(f"line {line} of file {number}\n" for line in range(number % 50))
        (place / f"file-{number:05d}.txt").write_text(text + ("TODO\n" if number % 11 == 0 else ""))
    git = ["git", "-c", "user.name=womm", "-c", "user.email=womm@localhost", "-C", str(folder)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "files"], check=True)
    return folder


def results(program, words, folder):
    """Sorted lines of stdout, and the exit status, of a run over the repository's files."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=folder, stdout=subprocess.PIPE, check=True).stdout
    done = subprocess.run(
        [*program, "-0", *words], cwd=folder, input=files, stdout=subprocess.PIPE, check=False
    )
    return sorted(done.stdout.splitlines()), done.returncode


@pytest.mark.parametrize(
    "words",
    [
        ["-X", "sha256sum"],
        ["-N", "100", "grep", "-c", "TODO"],
        ["-m", "wc", "-c"],
        ["-n", "50", "-k", "gzip -c {} | gzip -dc | sha256sum"],
    ],
    ids=["hash", "grep", "count", "compress"],
)
def test_jobs_over_a_repository_give_what_plain_parallel_gives(repository, womm_home, words):
    assert results(WOMM, words, repository) == results(PLAIN, words, repository)


def test_compressing_a_copy_gives_the_same_files(repository, womm_home, tmp_path):
    trees = []
    for name, program in (("plain", PLAIN), ("womm", WOMM)):
        copy = tmp_path / name
        subprocess.run(["cp", "-a", f"{repository}/part 01", copy], check=True)
        files = b"".join(bytes(path.relative_to(copy)) + b"\n" for path in sorted(copy.rglob("*.txt")))
        subprocess.run([*program, "gzip", "-n", "{}"], cwd=copy, input=files, check=True)
        trees.append(
            {str(path.relative_to(copy)): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
        )
    assert trees[0] == trees[1]
    assert all(name.endswith(".gz") for name in trees[1])


def test_jobs_on_the_standard_library_are_as_plain_parallels(womm_home, tmp_path):
    library = Path(sysconfig.get_path("stdlib"))
    sources = sorted(path for path in library.rglob("*.py") if "site-packages" not in path.parts)
    each = count(80, 6_667)
    files = "".join(f"{path}\n" for path in islice(cycle(sources), each)).encode()
    ran = []
    for name, program in (("plain", PLAIN), ("womm", WOMM)):
        joblog = tmp_path / name
        words = ["-k", "--joblog", str(joblog), "{1} <{2}", ":::", "gzip", "sha256sum", "wc", "::::", "-"]
        done = subprocess.run([*program, *words], input=files, capture_output=True, check=False)
        printed = hashlib.sha256(done.stdout).hexdigest()
        ran.append((done.returncode, done.stderr, read_joblog(joblog), printed))
    plain, ours = ran
    assert len(plain[2]) == 3 * each
    assert ours == plain

"""The lazy share on the two-node test cluster: file server on node1, NFS clients on nodes with other kernels.

Strategy: it measures the whole way, from the user's folder over an exec of the API server into the file
server and from there to a kernel's NFS client. Nodes in user-mode Linux are one slow core each, so figures
of one node can be compared with others of such a node only. A cold read is of a file with a new name: a file
server forgets nothing that has not changed. The slow link is bench.slowlink.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from bench.kube import Kube, Project
from bench.report import Figure, Section, absolute, compared
from bench.run import BenchError, Place, interleave, measure
from bench.shared import MEMORY, Shared, memory_server, shared
from bench.slowlink import SlowLink, slow_link
from bench.stats import Target, spread
from tests.realcluster.cache import cached, scratch

MB = 1_000_000
LINK_MB_PER_S = 20.0
ROUND_TRIPS_S = (0.02, 0.05)
NUMPY = "numpy==2.4.6"
"""Its wheels are for the pods' Python, which is Debian's 3.11, not for the one that runs here."""

_OF_KUBECTL = Target(least=0.4)
_OF_LINK = Target(least=0.9)
_OF_MEMORY = Target(least=0.9)
_UPLINK = Target(most=1.05)
_IMPORT = Target(most=3.0)
_STATUS = Target(most=3.0)
_REQUESTS = Target(most=0.0, unit="")
_ARRIVAL = Target(most=1.0, unit="s")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes and counts. `kept_mb` is less than the file server has in its memory."""

    stream_mb: int
    slow_mb: int
    far_mb: int
    kept_mb: int
    tree_mb: int
    files: int
    arrivals: int
    rounds: int


FULL = Sizes(
    stream_mb=1000, slow_mb=1000, far_mb=128, kept_mb=96, tree_mb=64, files=5000, arrivals=12, rounds=5
)
QUICK = Sizes(stream_mb=16, slow_mb=16, far_mb=16, kept_mb=16, tree_mb=8, files=300, arrivals=2, rounds=1)
ARRIVAL_BYTES = 4096
SLOW_ARRIVAL_MB = 40


@dataclass(frozen=True, slots=True)
class _Read:
    """MB/s, and milliseconds of CPU for each MB."""

    mb_per_s: float
    user_ms: float
    server_ms: float


def fast(place: Place, kube: Kube) -> Section:
    """Over a link that is as fast as the API server lets it be."""
    sizes = QUICK if place.quick else FULL
    with kube.project(place) as project:
        _plain_pod(project)
        memory = memory_server(project)
        with shared(project, memory=memory) as task:
            figures = [
                *_cold_reads(task, project, sizes.stream_mb, sizes.rounds, _OF_KUBECTL),
                _second_read(task, sizes),
                *_imports(task, sizes),
                absolute(
                    f"from the close of a file of {ARRIVAL_BYTES:,} bytes to the user's folder",
                    spread([task.arrival_s(f"small{n}", ARRIVAL_BYTES)[0] for n in range(sizes.arrivals)]),
                    "s",
                    _ARRIVAL,
                ),
            ]
    return Section(
        "Kubernetes: the lazy share",
        f"A cold read is `dd` of a new file of {sizes.stream_mb} MB in a pod on a node in user-mode Linux"
        " (one slow core), from the job's submission to its end with barrier and flush; beside `kubectl exec"
        " -i POD -- sh -c 'cat > /dev/null' < FILE` with such a file, into a pod on the file server's node,"
        f" from its start to its end. The second read is another node's, of {sizes.kept_mb} MB, beside that"
        " node's read of as much from womm's NFS server with its files in memory, on the file server's node;"
        " by the pod's clock. `import numpy` is timed within python, from a venv in the folder beside a copy"
        " in the pod, each once before.",
        figures,
    )


def slow(place: Place, kube: Kube) -> Section:
    """Over a link like a user's."""
    sizes = QUICK if place.quick else FULL
    rounds = min(3, sizes.rounds)
    with kube.project(place) as project:
        _plain_pod(project)
        own = project.place.folder / "link"
        own.mkdir()
        where = replace(place, folder=own)
        with slow_link(where, kube.kubectl.kubeconfig) as link:
            there = replace(kube, kubectl=replace(kube.kubectl, kubeconfig=link.kubeconfig))
            over = replace(project, kube=there)
            with shared(project, kubeconfig=link.kubeconfig) as task:
                link.set(mb_per_s=LINK_MB_PER_S)
                figures = _cold_reads(task, over, sizes.slow_mb, rounds, _OF_LINK)
                figures += [_uplink(task, link, sizes, rounds), _slow_arrival(task, over, rounds)]
                for round_trip_s in ROUND_TRIPS_S:
                    link.set(mb_per_s=LINK_MB_PER_S, round_trip_s=round_trip_s)
                    figures += _far(_cold_reads(task, over, sizes.far_mb, rounds, _OF_LINK)[:1], round_trip_s)
                    link.set(round_trip_s=round_trip_s)
                    figures += _far(_git(task, link, sizes, rounds), round_trip_s)
                link.set()
    return Section(
        "Kubernetes: the lazy share over a slow link",
        f"A proxy between this machine and the API server carries {LINK_MB_PER_S:g} MB/s in each direction;"
        " where a figure names a round trip it has that, too, and for git no limit. Cold reads as above, of"
        f" {sizes.slow_mb} MB. The tree is {sizes.tree_mb} MB in 100 files, read by two kernels and libnfs,"
        " all at once; bytes are those that the proxy passes from this machine to the cluster,"
        " with TLS, SSH and the jobs."
        " A file's transfer is the time of `kubectl exec POD -- head -c N /dev/zero` for as many bytes, from"
        " the first one on, or that of the close itself (the node sends it to the file server), if longer."
        f" `git status` is of a repository of {sizes.files:,} files in 100 folders whose index"
        " was written here, by the pods' user id; beside it one SFTP client in the file server's pod that"
        " lists the same folders one after the other over the same link.",
        figures,
    )


def _far(figures: list[Figure], round_trip_s: float) -> list[Figure]:
    return [replace(figure, what=f"{round_trip_s * 1000:g} ms: {figure.what}") for figure in figures]


def _plain_pod(project: Project) -> None:
    project.kube.kubectl.run_pod(project.namespace, "plain", project.kube.image, "sleep", "100000")
    project.kube.kubectl.wait_ready(project.namespace, "plain")


def _cold_reads(task: Shared, project: Project, size_mb: int, rounds: int, target: Target) -> list[Figure]:
    def ours() -> _Read:
        path = task.new_file(size_mb * MB)
        before = task.stats()
        ran = task.run(f"dd if={path.name} of=/dev/null bs=1M 2>/dev/null")
        after = task.stats()
        path.unlink()
        cpu = [(after[name] - before[name]) / size_mb * 1000 for name in ("user_cpu_s", "server_cpu_s")]
        return _Read(size_mb / ran.wall_s, *cpu)

    def theirs() -> _Read:
        path = task.new_file(size_mb * MB)
        words = project.kubectl("exec", "-i", "plain", "--", "sh", "-c", "cat > /dev/null")
        run = measure(replace(project.place, folder=task.project.place.folder), words, path, timeout_s=600)
        path.unlink()
        return _Read(size_mb / run.wall_s, run.cpu_s / size_mb * 1000, 0.0)

    task.run(f"sha256sum {task.new_file(MB).name}")
    found = interleave({"womm": ours, "kubectl": theirs}, rounds=rounds, budget_s=120)
    reads, plain = found["womm"], found["kubectl"]
    return [
        compared(
            f"cold read of {size_mb} MB, beside kubectl exec -i",
            [read.mb_per_s for read in reads],
            [read.mb_per_s for read in plain],
            "MB/s",
            target,
        ),
        compared(
            "its CPU on the user's side, beside kubectl's",
            [read.user_ms for read in reads],
            [read.user_ms for read in plain],
            "ms/MB",
        ),
        absolute("its CPU of the file server", spread([read.server_ms for read in reads]), "ms/MB"),
    ]


def _second_read(task: Shared, sizes: Sizes) -> Figure:
    kept = f"{MEMORY}/kept"
    size = sizes.kept_mb * MB
    path = task.new_file(size)
    task.run(f"dd if={path.name} of={kept} bs=1M 2>/dev/null && dd if={kept} iflag=nocache count=0", 1)

    def rate(name: str) -> float:
        return sizes.kept_mb / task.seconds(f"dd if={name} bs=1M of=/dev/null 2>/dev/null", 1)

    def second() -> float:
        fresh = task.new_file(size)
        task.run(f"dd if={fresh.name} of=/dev/null bs=1M 2>/dev/null", 0)
        before = task.stats()["read_bytes"]
        found = rate(fresh.name)
        if task.stats()["read_bytes"] != before:
            raise BenchError("the second read went to the user's folder")
        fresh.unlink()
        return found

    def memory() -> float:
        task.run(f"dd if={kept} iflag=nocache count=0 2>/dev/null", 1)
        return rate(kept)

    found = interleave({"womm": second, "memory": memory}, rounds=sizes.rounds, budget_s=120)
    what = "second read, from another node, beside the memory backend"
    return compared(what, found["womm"], found["memory"], "MB/s", _OF_MEMORY)


def _imports(task: Shared, sizes: Sizes) -> list[Figure]:
    """Lay a venv into the folder; none where numpy cannot be had."""
    venv = task.folder / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").symlink_to("/usr/bin/python3")
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    packages = venv / "lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    with tarfile.open(numpy_packages()) as archive:
        archive.extractall(packages, filter="data")
    ask = "import time; a = time.perf_counter(); import numpy; print(time.perf_counter() - a)"

    def imported(where: str) -> float:
        return float(task.run(f"{where}/bin/python -c '{ask}'").out[0])

    cold = imported("venv")
    task.run("cp -a venv /tmp/venv")
    local, share = partial(imported, "/tmp/venv"), partial(imported, "venv")
    local(), share()
    before = task.stats()["requests"]
    found = interleave({"womm": share, "local": local}, rounds=2 * sizes.rounds, budget_s=120)
    requests = task.stats()["requests"] - before
    what = "import numpy, warm, beside the pod's own disk"
    return [
        compared(what, found["womm"], found["local"], "s", _IMPORT),
        absolute("import numpy, the first time", spread([cold]), "s"),
        absolute("questions to the user's side in all warm imports", spread([float(requests)]), ""),
    ]


def numpy_packages() -> Path:
    """Return a tar archive of a site-packages folder with numpy. It calls pip once. Raises BenchError."""

    def make(partial_file: Path) -> None:
        with scratch("numpy") as folder:
            words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
            words += ["--python-version", "3.11", "--target", str(folder), NUMPY]
            result = subprocess.run(words, capture_output=True, text=True, check=False)
            if result.returncode:
                raise BenchError(f"pip does not bring numpy: {result.stderr.strip()[-300:]}")
            with tarfile.open(partial_file, "w") as archive:
                archive.add(folder, arcname=".")

    return cached(f"site-packages-{NUMPY.replace('==', '-')}.tar", make)


def _uplink(task: Shared, link: SlowLink, sizes: Sizes, rounds: int) -> Figure:
    """Two kernels and libnfs read one tree for the first time, at once.

    libnfs in one pod only: it names itself to the server by its process number, which pods share.
    """
    files = 100
    libnfs = (
        "m=$(grep ' nfs4 ' /proc/self/mounts | head -n 1 | cut -d ' ' -f 1);"
        ' for f in TREE/*; do nfs-cat "nfs://${m%%:*}${m#*:}/$f?version=4" || exit; done | wc -c'
    )

    task.run("touch /tmp/libnfs", 1)

    def copies() -> float:
        tree = task.new_name("tree")
        tree.mkdir()
        for number in range(files):
            size = sizes.tree_mb * MB * 2 * (number + 1) // (files * (files + 1))
            (tree / f"f{number}").write_bytes(os.urandom(size))
        total = sum(path.stat().st_size for path in tree.iterdir())
        before, _ = link.passed()
        other = libnfs.replace("TREE", tree.name)
        found = task.run(f"[ -e /tmp/libnfs ] && ({other}) & cat {tree.name}/* | wc -c; wait", 0, 1)
        up = link.passed()[0] - before
        if any(int(count) != total for out in found.out for count in out.split()):
            raise BenchError(f"{found.out} bytes were read instead of {total}")
        shutil.rmtree(tree)
        return up / total

    return absolute(
        f"uplink for {sizes.tree_mb} MB that two kernels and libnfs read, beside one copy",
        spread([copies() for _ in range(rounds)]),
        "x",
        _UPLINK,
    )


def _slow_arrival(task: Shared, over: Project, rounds: int) -> Figure:
    size = SLOW_ARRIVAL_MB * MB
    words = over.kubectl("exec", "plain", "--", "head", "-c", str(size), "/dev/zero")

    def ours() -> tuple[float, float]:
        return task.arrival_s(task.new_name("large").name, size)

    def transfer() -> tuple[float, float]:
        run = measure(over.place, words)
        if run.out_bytes != size:
            raise BenchError(f"{run.out_bytes} bytes came over the link instead of {size}")
        return run.wall_s - (run.first_s or 0.0), 0.0

    found = interleave({"womm": ours, "kubectl": transfer}, rounds=rounds, budget_s=60)
    # No file is there before its node has sent it to the file server, which takes a slow core longer.
    beyond = [
        there - max(closed, moved)
        for (there, closed), (moved, _) in zip(found["womm"], found["kubectl"], strict=True)
    ]
    return absolute(
        f"from the close of a file of {SLOW_ARRIVAL_MB} MB to the user's folder, less its transfer",
        spread(beyond),
        "s",
        _ARRIVAL,
    )


def _git(task: Shared, link: SlowLink, sizes: Sizes, rounds: int) -> list[Figure]:
    """Each round has a repository of its own, of which the cluster knows nothing."""
    first = task.folder.parent / "repository"
    if not first.exists():
        _make_repository(first, sizes.files)
    names = [task.new_name("repo").name for _ in range(rounds)]
    for name in names:
        shutil.copytree(first, task.folder / name, symlinks=True)
    time.sleep(1.1)  # else git does not trust the times of files as young as its index
    for name in names:
        _git_here(task.folder / name, "status")
    listed, cold, warm, plain, questions, passed = [], [], [], [], [], []
    status = partial(_status, task)
    task.run("git init -q /tmp/other; git -C /tmp/other status")  # git itself is in the pod's memory
    for name in names:
        _, seconds = task.listing(name)
        listed.append(seconds)
        cold.append(status(name))
        plain.append(status(name))
        before, bytes_before = task.stats()["requests"], sum(link.passed())
        warm.append(status(name, "--no-optional-locks"))
        passed.append(sum(link.passed()) - bytes_before)
        questions.append(task.stats()["requests"] - before)
    return [
        compared(f"git status of {sizes.files:,} files, cold, beside a listing", cold, listed, "s", _STATUS),
        compared("the same, warm, with git's lock file", plain, listed, "s"),
        compared("the same, warm, without (--no-optional-locks)", warm, listed, "s"),
        absolute("its questions to the user's side", spread(questions), "", _REQUESTS),
        absolute("its bytes over the link, with the job's", spread(passed), ""),
    ]


def _status(task: Shared, name: str, *options: str) -> float:
    return task.seconds(f"git {' '.join(options)} -C {name} status --porcelain")


def _make_repository(repo: Path, files: int) -> None:
    for number in range(files):
        path = repo / f"d{number % 100}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n" * 40)
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"], ["gc", "-q"]):
        _git_here(repo, *words)


def _git_here(repo: Path, *words: str) -> None:
    git = ["git", "-C", str(repo), "-c", "user.name=b", "-c", "user.email=b@example.org", *words]
    subprocess.run(git, check=True, capture_output=True)

"""`womm parallel` and `womm shell` on a real cluster, in the user's own folder."""

import hashlib
import json
import os
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.kubernetes.project import Project
from tests.cluster.kubernetes.test_reasons import project_in
from tests.cluster.kubernetes.test_share_host import LEVEL, on_nodes
from tests.conftest import Home
from tests.faults.tasks import joblog_lines, started, wait_for, womm
from tests.soak import count
from womm import process
from womm.cluster.base import Loss
from womm.cluster.kubernetes.share_manifests import FILE_SERVER
from womm.journal.events import JobEnded, JobLost, JobStarted, ShareTraffic, ShareUnsent

pytestmark = pytest.mark.slow


@pytest.fixture
def shared(project: Project, fileserver_image: str, nfs_nodes: list[str]) -> Project:
    """A project whose pods are on nodes that can mount NFS; `write_shared` says how."""
    folder = project.folder / "proj"
    folder.mkdir()
    (project.folder / "pod.yaml").write_text(json.dumps(on_nodes(*nfs_nodes)))
    return replace(project, folder=folder)


def write(shared: Project, image: str, kind: str, **changes: str) -> None:
    shared.write(pod_template="../pod.yaml", share=kind, fileserver_image=image, kube_cpu="300m", **changes)


def tree(folder: Path) -> dict[str, str]:
    """Every file below, with its content's hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def fill(folder: Path) -> None:
    (folder / "src/deep").mkdir(parents=True)
    (folder / "out").mkdir()
    for number in range(30):
        (folder / f"src/file {number}.txt").write_text(f"{number}\n" * (number * 50))
    (folder / "src/deep/big.txt").write_bytes(os.urandom(3_000_000))
    (folder / "link").symlink_to("src/deep")


@pytest.mark.parametrize("kind", ["lazy", pytest.param("eager-syncback", marks=pytest.mark.soak)])
def test_jobs_read_the_folder_and_what_they_write_is_there_at_the_end(
    shared: Project, fileserver_image: str, womm_home: Home, kind: str
) -> None:
    write(shared, fileserver_image, kind)
    fill(shared.folder)
    before = tree(shared.folder)
    names = sorted(str(path.relative_to(shared.folder)) for path in shared.folder.rglob("*.txt"))
    words = ["parallel", "--kube-pods", "2", "--", "-k", "pwd; sha256sum <{} | tee out/{/}.sum"]
    with shared.started(*words, stdin="".join(f"{name}\n" for name in names).encode()) as run:
        assert run.wait(300) == 0, run.err
        printed = run.out.decode().splitlines()
        if kind == "lazy":
            traffic = run.events(ShareTraffic)[-1]
            size = sum((shared.folder / name).stat().st_size for name in names)
            assert size <= traffic.fetched < 1.05 * size + 10_000
            assert traffic.unwritten == 0
            assert "written back" in run.err
        else:
            traffic = run.events(ShareTraffic)[-1]
            size = sum((shared.folder / name).stat().st_size for name in before)
            assert size <= traffic.fetched < size + 10_000
            assert traffic.written == len(names) * 68  # what sha256sum prints
            assert f"{len(names)} files (2.11 kB) brought back" in run.err
    assert printed[::2] == [str(shared.folder)] * len(names)
    assert [line.split()[0] for line in printed[1::2]] == [before[name] for name in names]
    after = tree(shared.folder)
    for name in names:
        assert (shared.folder / f"out/{Path(name).name}.sum").read_text().split()[0] == before[name]
    made = {f"out/{Path(name).name}.sum" for name in names} | {"womm.in", "womm.err", "womm.out"}
    assert {name: value for name, value in after.items() if name not in made} == before
    shared.nothing_left(womm_home.runtime)


def test_lazy_share_is_fresh_for_each_job_of_a_running_task(
    shared: Project, fileserver_image: str, womm_home: Home
) -> None:
    """The stale `ls` of the guide: by test -e, stat and a deleted name, without a look at the directory."""
    rounds = count(10, 200)
    write(shared, fileserver_image, "lazy")
    folder = shared.folder
    (folder / "sub").mkdir()
    for number in range(rounds):
        (folder / f"sub/gone.{number}").touch()
    check = "{ test -e sub/new.{}; echo $?; stat -c %s size; test -e sub/gone.{}; echo $?; } >out.{}"
    os.mkfifo(folder / "lines")
    lines = os.open(folder / "lines", os.O_RDWR)
    try:
        words = ["parallel", "--kube-pods", "2", "--", "-j1", check]
        with shared.started(*words, stdin=folder / "lines") as run:
            for number in range(rounds):
                (folder / f"sub/new.{number}").touch()
                with open(folder / "size", "a") as size:
                    size.write("x" * 7)
                (folder / f"sub/gone.{number}").unlink()
                os.write(lines, b"%d\n" % number)
                told = folder / f"out.{number}"

                def is_told(told: Path = told) -> bool:
                    return told.exists() and len(told.read_text().split()) == 3

                wait_for(lambda: is_told() or run.process.poll() is not None, f"job {number}: {run.err}", 200)
                assert told.read_text().split() == ["0", str(7 * (number + 1)), "1"], (number, run.err)
            os.close(lines)
            lines = -1
            assert run.wait(120) == 0, run.err
    finally:
        if lines >= 0:
            os.close(lines)
    shared.nothing_left(womm_home.runtime)


def test_shell_has_the_share(shared: Project, fileserver_image: str, womm_home: Home) -> None:
    write(shared, fileserver_image, "lazy")
    (shared.folder / "name").write_text("laptop\n")
    with shared.started("shell", "--", "cat name; echo pod >written; rm name") as run:
        assert run.wait(200) == 0, run.err
        assert run.out == b"laptop\n"
    assert (shared.folder / "written").read_text() == "pod\n"
    assert not (shared.folder / "name").exists()
    shared.nothing_left(womm_home.runtime)


@pytest.mark.soak
@pytest.mark.parametrize("changes", [{}, {"share_write": "none,out"}], ids=["all", "share-write"])
def test_doctor_times_the_share_and_leaves_nothing(
    shared: Project, fileserver_image: str, womm_home: Home, changes: dict[str, str]
) -> None:
    write(shared, fileserver_image, "lazy", **changes)
    (shared.folder / "out").mkdir()
    before = sorted(os.listdir(shared.folder))
    result = womm(shared.folder, "doctor", "-o", "json")
    checks = [check for check in json.loads(result.stdout)["checks"] if check["name"] == "share"]
    assert [check["level"] for check in checks] == ["ok", "ok"], result.stdout
    first, second = (check["text"] for check in checks)
    assert re.match(
        r"first byte of a file after \d+ ms, \d+ MB/s to a pod, \d+ files a second looked at", first
    )
    assert re.match(r"\d+ MB/s from a pod into the folder, \d+ files a second made", second)
    assert sorted(os.listdir(shared.folder)) == before
    shared.nothing_left(womm_home.runtime)


@pytest.mark.soak
def test_task_whose_user_slept_too_long_ends_at_once_and_keeps_what_was_written(
    shared: Project, fileserver_image: str, womm_home: Home
) -> None:
    """F: the laptop sleeps for longer than the orphan timeout. Nothing waits for what will not come back."""
    write(shared, fileserver_image, "lazy", orphan_timeout="20s")
    with shared.started("parallel", "--kube-pods", "1", "--", "echo {} >kept; sleep 1000", ":::", "x") as run:
        kept = shared.folder / "kept"
        wait_for(lambda: kept.exists() or run.process.poll() is not None, f"the file: {run.err}", 200)
        wait_for(lambda: kept.read_text() == "x\n", "what is in it", 60)
        run.process.send_signal(signal.SIGSTOP)
        try:
            wait_for(lambda: shared.objects() == [], "the end of all objects", 200)
        finally:
            run.process.send_signal(signal.SIGCONT)
        assert run.wait(60) == 254, run.err
        assert "removed from the cluster" in run.err
        assert run.out == b""
    assert kept.read_text() == "x\n"
    shared.nothing_left(womm_home.runtime)


@pytest.mark.soak
def test_file_for_which_the_users_disk_has_no_room_any_more_is_named_at_the_end(
    shared: Project, fileserver_image: str, womm_home: Home
) -> None:
    """The disk copies_into_pods up while this machine sleeps, when a job has written already."""
    write(shared, fileserver_image, "lazy")
    small = shared.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], check=True)
    try:
        command = "sleep 3; head -c 2000000 /dev/zero >small/{}; echo written >fine; sleep 1000"
        with shared.started("parallel", "--kube-pods", "1", "--", command, ":::", "data") as run:
            wait_for(lambda: run.events(JobStarted) or run.process.poll() is not None, "the job", 200)
            run.process.send_signal(signal.SIGSTOP)
            (small / "filler").write_bytes(bytes(3_500_000))
            time.sleep(8)  # the machine sleeps, the job writes
            run.process.send_signal(signal.SIGCONT)
            wait_for(lambda: run.events(ShareUnsent) or run.process.poll() is not None, run.err, 100)
            run.process.send_signal(signal.SIGINT)
            assert run.wait(200) == 130, run.err
            told = run.events(ShareUnsent)[-1]
        assert (told.names, told.count) == (("small/data",), 1)
        assert "No space left on device" in told.reason
        assert "small/data" in run.err and "No space left on device" in run.err
        assert (shared.folder / "fine").read_text() == "written\n"
        assert (small / "filler").read_bytes() == bytes(3_500_000)
        assert not [path.name for path in small.iterdir() if path.name not in {"data", "filler"}]
        shared.nothing_left(womm_home.runtime)
    finally:
        subprocess.run(["umount", "-l", small], check=True)


@pytest.mark.timeout(600)
@pytest.mark.soak
def test_lost_disk_of_the_file_server_has_unsettled_jobs_run_again_and_loses_no_file(
    shared: Project, fileserver_image: str, womm_home: Home
) -> None:
    """The pod is frozen, so that it sends nothing more, and then deleted: another one takes its place."""
    write(shared, fileserver_image, "lazy", procs_per_pod="2")
    rounds = count(1, 5)
    folder, jobs = shared.folder, 12 + 12 * rounds
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    content = {number: os.urandom(200_000) for number in range(jobs)}
    for number, data in content.items():
        (folder / f"in/{number}").write_bytes(data)
    command = (
        "cd out && mkdir -p d{}; for part in 1 2 3 4; do"
        " { echo $WOMM_ATTEMPT; cat ../in/{}; } >d{}/$part.new || exit;"
        " mv d{}/$part.new d{}/$part && { echo $WOMM_ATTEMPT; cat ../in/{}; } >>d{}/all || exit;"
        " sleep 0.3; done; tail -c 200000 <d{}/4 | sha256sum; echo $WOMM_ATTEMPT"
    )
    words = ["parallel", "--kube-pods", "2", "--joblog", "log", "--", "-k", command]
    numbers = "".join(f"{number}\n" for number in content)
    with shared.started(*words, stdin=numbers.encode()) as run:
        for loss in range(1, rounds + 1):

            def has_moved_on(least: int = 10 * loss) -> bool:
                return run.process.poll() is not None or len(run.events(JobEnded)) >= least

            wait_for(has_moved_on, f"jobs: {run.err}", 200)
            (server,) = shared.pods(run.task, FILE_SERVER)
            for pid in shared.kube.own.pod_processes(shared.namespace, server):
                process.kill(pid, signal.SIGSTOP)
            time.sleep(1)  # jobs write, and nothing of it goes on
            shared.delete_pod(server)

            def is_told(times: int = loss) -> bool:
                return run.process.poll() is not None or has_been_told(run.err, times)

            wait_for(is_told, f"the news: {run.err}", 200)
        assert run.wait(400) == 0, run.err
        lost = run.events(JobLost)
        assert lost and {event.cause for event in lost} == {Loss.DISK.value}
        ended = [event.seq or 0 for event in run.events(JobEnded)]
        assert sorted(ended) == list(range(1, jobs + 1))
        printed = run.out.decode().splitlines()
    assert len(joblog_lines(folder / "log")) == jobs
    assert "Stale" not in run.err and "error" not in run.err, run.err
    assert len(printed) == 2 * jobs
    for number, data in content.items():
        digest, attempt = printed[2 * number : 2 * number + 2]
        assert digest.split()[0] == hashlib.sha256(data).hexdigest()
        assert int(attempt) == 1 + sum(event.job == number + 1 for event in lost)
        found = {path.name: path.read_bytes() for path in (folder / f"out/d{number}").iterdir()}
        whole = b"%s\n" % attempt.encode() + data
        assert {name: found[name] for name in "1234"} == dict.fromkeys("1234", whole), number
        # Appended: what earlier attempts have left is in front.
        assert found["all"].endswith(whole * 4), number
    shared.nothing_left(womm_home.runtime)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("grace_s", [0, pytest.param(60, marks=pytest.mark.soak)])
def test_lost_disk_under_an_eager_share_is_filled_again_and_never_taken_for_what_was_copied(
    shared: Project, fileserver_image: str, womm_home: Home, grace_s: int
) -> None:
    """With 60 s of grace the old file server serves on beside the new one: what jobs have written is brought
    back, and jobs wait until it has gone."""
    write(shared, fileserver_image, "eager-syncback", procs_per_pod="2")
    folder, jobs = shared.folder, 16
    fill(folder)
    (folder / "sub").mkdir()
    for number in range(jobs):
        (folder / f"src/in.{number}").write_text(f"{number}\n" * 1000)
    before = tree(folder)
    command = (
        "sleep 1; sum=$(cat ../src/in.* | sha256sum) && sleep 1; echo $sum >../out/{}; ls ../src | wc -l"
    )
    words = ["parallel", "--kube-pods", "2", "--", "-k", command, ":::", *map(str, range(jobs))]
    with started(folder / "sub", *words) as run:
        wait_for(lambda: len(run.events(JobEnded)) >= 4 or run.process.poll(), f"jobs: {run.err}", 200)
        (server,) = shared.pods(run.task, FILE_SERVER)
        shared.delete_pod(server, grace_s)
        assert run.wait(400) == (0 if grace_s else 254), run.err
        ended, lost = run.events(JobEnded), run.events(JobLost)
        printed = run.out.decode().split()
        told = re.search(r"with it what (\d+) jobs wrote that had ended by .*: run them again", run.err)
    assert "the folder is copied again" in run.err, run.err
    assert bool(told) != bool(grace_s), run.err
    missing = int(told[1]) if told else 0
    assert lost and {event.cause for event in lost} == {Loss.DISK.value}
    assert sorted(event.seq or 0 for event in ended) == list(range(1, jobs + 1))
    assert {event.exit for event in ended} == {0}
    files = sum(name.startswith("src/") and name.count("/") == 1 for name in before) + 1  # and src/deep
    assert printed == [str(files)] * jobs
    content = b"".join((folder / f"src/in.{number}").read_bytes() for number in sorted(range(jobs), key=str))
    digest = hashlib.sha256(content).hexdigest()
    made = {path.name: path.read_text().split()[0] for path in (folder / "out").iterdir()}
    assert set(made.values()) == {digest}
    assert missing < jobs and len(made) == jobs - missing
    spared = {f"out/{name}" for name in made} | {"sub/womm.err", "sub/womm.out"}
    assert {name: value for name, value in tree(folder).items() if name not in spared} == before
    shared.nothing_left(womm_home.runtime)


def test_eager_share_under_restricted_fills_each_worker_and_those_that_come_later(
    project: Project, womm_home: Home
) -> None:
    """No NFS volumes there: an emptyDir in each pod, and no file server."""
    with project_in(project, "proj", {f"{LEVEL}/enforce": "restricted"}) as one:
        folder = one.folder
        fill(folder)
        (folder / ".wommignore").write_text("secret\n")
        (folder / "secret").touch()
        (folder / "src/tool").write_text("#!/bin/sh\necho tool\n")
        (folder / "src/tool").chmod(0o755)
        names = sorted(path.name for path in folder.glob("src/*.txt"))
        options = {"share": "eager", "kube_cpu": "100m"}
        one.write(image=one.kube.images["worker-user"].pinned, **options)
        before = tree(folder)
        command = (
            "[ {#} = 1 ] && [ $WOMM_ATTEMPT = 1 ] && exec sleep 1000; id -u; pwd; ./tool; sha256sum <{};"
            " ls -A .. | grep -c ^secret; chmod 600 {}; echo more >>{}; mkdir -p d"
        )
        words = ["parallel", "--kube-pods", "2", "--", "-k", command, ":::", *names[:6]]
        with started(folder / "src", *words) as run:
            wait_for(lambda: run.events(JobStarted) or run.process.poll(), "the first job", 200)
            held = next(event.pod for event in run.events(JobStarted) if event.seq == 1)
            pods = {pod["metadata"]["name"]: pod["spec"] for pod in one.pod_objects(run.task)}
            assert all("nfs" not in volume for volume in pods[held]["volumes"])
            assert one.pods(run.task, FILE_SERVER) == []
            one.delete_pod(held)
            assert run.wait(300) == 0, run.err
        printed = run.out.decode().splitlines()
        assert "each pod gets a copy of its own" in run.err
        for number, name in enumerate(names[:6]):
            assert printed[5 * number : 5 * number + 5] == [
                "1000",
                f"{folder}/src",
                "tool",
                f"{before[f'src/{name}']}  -",
                "0",
            ]
        made = {"src/womm.err", "src/womm.out"}
        assert {name: value for name, value in tree(folder).items() if name not in made} == before
        wait_for(lambda: one.objects() == [], "the end of all objects", 60)


def has_been_told(text: str, times: int) -> bool:
    return len(re.findall(r"disk is lost: \d+ jobs? runs? again", text)) >= times

"""`--image here`: pods that see this machine's programs, on nodes that have nothing but two small images.

The images are a busybox, which lends its root, and a Debian with python3, in which the file server runs: no
image has womm in it, and no project has a `.womm`.
"""

import importlib.metadata
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests import installation
from tests.cluster.kubernetes.project import Project
from tests.cluster.kubernetes.proxy import proxied
from tests.cluster.kubernetes.test_reasons import RESTRICTED
from tests.conftest import Home
from tests.faults.tasks import DEADLINE_S, Run, environment, started, wait_for, womm
from tests.realcluster.configs import NFS_SETTINGS
from tests.realcluster.fixtures import KubeCluster
from tests.soak import count
from womm.cluster.base import Loss
from womm.cluster.kubernetes.share_manifests import FILE_SERVER
from womm.journal.events import JobEnded, JobLost, PodGone

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("nfs_nodes")]

SOURCES = 5
MAKEFILE = f"""\
OBJECTS = $(patsubst %,part%.o,$(shell seq {SOURCES})) main.o
prog: $(OBJECTS)
\t$(CC) -o $@ $^ -lm
%.o: %.c
\t$(CC) -O1 -g -c -o $@ $<
"""
PART = """\
#include <math.h>
#include <stdio.h>
double partNUMBER(double x) { return sin(x) * NUMBER; }
"""
MAIN = """\
#include <stdio.h>
double part1(double);
int main(void) { printf("%.3f\\n", part1(2)); return 0; }
"""
SUITE = """\
import decimal, json, sqlite3

def test_decimal(tmp_path):
    (tmp_path / "f").write_text(json.dumps(str(decimal.Decimal(1) / 3)))

def test_database():
    assert sqlite3.connect(":memory:").execute("select 6 * 7").fetchone() == (42,)
"""
SAME = (
    "perl -MPOSIX -e 'print \"perl $] \", floor(2.5), qq(\\n)'",
    "python -c 'import ssl, sys; print(sys.version, sys.prefix, sys.base_prefix, ssl.OPENSSL_VERSION)'",
    # The folder's name is in the objects.
    "d=/tmp/womm$(pwd | cksum | tr -cd 0-9) && mkdir $d && cp c/* $d && cd $d && make -s -j2 && ./prog"
    " && sha256sum -- *.o prog && rm -r $d",
    "python -m pytest -q -p no:cacheprovider suite.py | sed 's/ in .*//'",
    "readlink -f $(command -v awk); awk 'BEGIN { print 6 * 7 }'",
    "locale -a | sort; LC_ALL=C.UTF-8 perl -CO -e 'print chr 252'; TZ=Europe/Berlin date -d @0",
    "getent passwd root daemon; getent group adm; stat -c '%a %U:%G' /usr/bin/env /bin/sh",
    "echo $LANG $VIRTUAL_ENV; command -v perl python make",
)
"""Each prints the same here and in a pod."""
OTHER = (
    ("find /usr/bin -maxdepth 1 -perm /6000 -type f | wc -l", "0"),
    ("touch /usr/bin/x 2>/dev/null || echo refused", "refused"),
    ("cat /etc/shadow 2>/dev/null || echo hidden", "hidden"),
    ("touch /tmp/x /var/tmp/x ~/x && grep -c $WOMM_POD /etc/hosts", "1"),
)
"""What is otherwise in a pod."""
OF_ANOTHER_USER = (
    ("id -u", "1000"),
    ("python -c 'import decimal, sqlite3; print(decimal.Decimal(6) * 7)'", "42"),
    ("mkdir -p ~/.cache && echo kept >~/.cache/x && cat ~/.cache/x", "kept"),
    ("id-of-root -u; stat -c %a $(command -v id-of-root)", "1000\n755"),
    ("capable-grep CapEff /proc/self/status", "CapEff:\t0000000000000000"),
)
"""What jobs of user 1000 print. The last two are programs with privileges here."""
NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
"""cap_net_raw=ep as a file has it (struct vfs_ns_cap_data of linux/capability.h)."""
LOADS = "python -c 'import email.message, http.client, xml.dom.minidom; print({} * 7)'"


@dataclass(frozen=True)
class Here:
    """A folder without a `.womm`, and the variables with which its jobs see this machine's programs."""

    folder: Path
    kube: KubeCluster
    namespace: str
    env: dict[str, str]

    def started(self, *words: str, debug: bool = False, **options: Any) -> AbstractContextManager[Run]:
        given: dict[str, Any] = {**self.env, **options}
        first = ["--debug"] if debug else []
        return started(self.folder, *first, "parallel", "--image", "here", *words, **given)

    @property
    def project(self) -> Project:
        return Project(self.folder, self.kube, self.namespace)

    @property
    def programs(self) -> Path:
        """A folder of PATH here and in pods."""
        return Path(self.env["VIRTUAL_ENV"], "bin")

    def printed_here(self, command: str) -> str:
        """What a command prints on this machine."""
        words, env = ["sh", "-c", command], environment(**self.env)
        done = subprocess.run(words, cwd=self.folder, env=env, stdout=subprocess.PIPE, check=True)
        return done.stdout.decode()


@pytest.fixture
def here(
    womm_home: Home, kube_cluster: KubeCluster, kube_namespace: str, python_image: str
) -> Iterator[Here]:
    folder = womm_home.home.parent / "proj"
    (folder / "c").mkdir(parents=True)
    environ = womm_home.home / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environ], check=True)
    env = {
        "KUBECONFIG": str(kube_cluster.kubeconfig),
        "WOMM_NAMESPACE": kube_namespace,
        "WOMM_HERE_IMAGE": kube_cluster.images["worker-noperl"].tagged,
        "WOMM_FILESERVER_PYTHON": python_image,
        "WOMM_KUBE_CPU": "700m",
        "WOMM_KUBE_MEM": "200Mi",
        "PATH": f"{environ}/bin:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(environ),
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "LANG": "C.UTF-8",
        **NFS_SETTINGS,
    }
    made = Here(folder, kube_cluster, kube_namespace, env)
    yield made
    made.project.nothing_left(womm_home.runtime)


def confirmed(here: Here) -> str:
    """Return the folders in homes that womm wants to be confirmed, as it says them."""
    with here.started("--kube-pods", "1", "--share", "none", "--", "true", ":::", "1") as run:
        assert run.wait(60) == 2, run.err
    found = re.search(r"--here-roots ([^\s,]+)", run.err)
    assert found, run.err
    return found[1]


def write_project(folder: Path) -> None:
    """Write a C program of some files, and a suite for pytest."""
    for number in range(1, SOURCES + 1):
        (folder / f"c/part{number}.c").write_text(PART.replace("NUMBER", str(number)))
    (folder / "c/main.c").write_text(MAIN)
    (folder / "c/Makefile").write_text(MAKEFILE)
    (folder / "suite.py").write_text(SUITE)


def test_jobs_see_the_folder_and_this_machines_programs(here: Here) -> None:
    write_project(here.folder)
    roots = confirmed(here)
    assert here.env["VIRTUAL_ENV"] in roots.split(":")
    sleeps = "touch loading; python -c 'import email.message, http.client, xml.dom.minidom; print(7)'"
    commands = [*SAME, *(command for command, _ in OTHER), sleeps]
    lines = "".join(f"{command}\n" for command in commands).encode()
    words = ["--kube-pods", "2", "--share", "lazy", "--here-roots", roots]
    words += ["--", "-k", "--tagstring", "{#}", "sh -c {}"]
    with here.started(*words, stdin=lines) as run:
        loading = here.folder / "loading"
        wait_for(lambda: loading.exists() or run.process.poll() is not None, "the last job", 300)
        run.process.send_signal(signal.SIGSTOP)  # this machine sleeps while programs are being loaded
        time.sleep(3)
        run.process.send_signal(signal.SIGCONT)
        assert run.wait(300) == 0, run.err
        printed = run.out.decode()
    found = [line.partition("\t") for line in printed.splitlines()]
    outputs = {
        command: "".join(f"{text}\n" for seq, _, text in found if seq == str(number))
        for number, command in enumerate(commands, 1)
    }
    expected = {command: here.printed_here(command) for command in SAME}
    expected |= {command: f"{text}\n" for command, text in OTHER} | {sleeps: "7\n"}
    assert outputs == expected, run.err


def test_jobs_of_another_user_have_a_home_and_no_program_gives_them_privileges(here: Here) -> None:
    of_root, capable = here.programs / "id-of-root", here.programs / "capable-grep"
    shutil.copy("/usr/bin/id", of_root)
    of_root.chmod(0o4755)
    shutil.copy("/usr/bin/grep", capable)
    os.setxattr(capable, "security.capability", NET_RAW)
    template = here.folder / "pod.json"
    template.write_text(json.dumps({"spec": {"securityContext": {"runAsUser": 1000, "runAsGroup": 1000}}}))
    words = ["--kube-pods", "1", "--share", "none", "--here-roots", confirmed(here)]
    words += ["--pod-template", str(template), "--", "-k", "sh -c {}", ":::"]
    with here.started(*words, *(command for command, _ in OF_ANOTHER_USER)) as run:
        assert run.wait(300) == 0, run.err
        assert run.out.decode() == "".join(f"{text}\n" for _, text in OF_ANOTHER_USER), run.err


def test_restricted_namespace_is_refused_before_anything_is_made(here: Here) -> None:
    refused = "refuses NFS volumes (Pod Security `restricted`), and pods need one to see this machine's"
    with here.kube.kubectl.namespace(RESTRICTED) as namespace:
        env = {**here.env, "WOMM_NAMESPACE": namespace, "WOMM_HERE_ROOTS": "none", "WOMM_IMAGE": "here"}
        before = here.kube.kubectl.objects(namespace)
        words = ["--image", "here", "--kube-pods", "1", "--share", "lazy", "--", "true", ":::", "1"]
        done = womm(here.folder, "parallel", *words, **env)
        assert (done.returncode, done.stdout) == (254, ""), done.stderr
        assert refused in done.stderr and " created: " not in done.stderr
        assert "womm: hint: womm setup --image NAME" in done.stderr
        status, checks = doctor(here, "-n", namespace, **env)
        assert status == 1
        assert refused in checks["worker"]["text"]
        assert checks["quickest"]["text"].startswith("--image NAME --share eager: the namespace refuses NFS")
        assert here.kube.kubectl.objects(namespace) == before


def doctor(here: Here, *words: str, **env: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Return the exit status and the checks by name; of several with one name, the first."""
    done = womm(here.folder, "doctor", "-o", "json", *words, **{**here.env, **env})
    checks = json.loads(done.stdout)["checks"]
    return done.returncode, {check["name"]: check for check in reversed(checks)}


@pytest.mark.soak
def test_doctor_tries_the_programs_of_this_machine(here: Here) -> None:
    roots = confirmed(here)
    status, checks = doctor(here, "-n", here.namespace, WOMM_HERE_ROOTS=roots, WOMM_SHARE="lazy")
    told = {name: check["text"] for name, check in checks.items()}
    assert status == 0 and not [check for check in checks.values() if check["level"] == "missing"], checks
    assert told["programs"].startswith("--image here: pods can see this machine's programs: ")
    assert re.match(r"here runs after [\d.]+ s, as uid 0, with perl 5\.", told["image"])
    assert told["share"].startswith("first byte of a file after ")
    assert told["quickest"].startswith("to begin: --image here --share lazy, which makes nothing; ")


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["none", "eager-syncback"])
def test_jobs_see_the_programs_with_any_share_or_none(here: Here, kind: str) -> None:
    (here.folder / "c/number").write_text("7\n")
    commands = {"none": "perl -le 'print {} * 7' | sed s/^/=/"}
    command = commands.get(kind, "awk '{ print \"=\" $1 * {} }' c/number")
    words = ["--kube-pods", "1", "--share", kind, "--here-roots", "none", "--", command]
    with here.started(*words, ":::", "6", "7") as run:
        assert run.wait(300) == 0, run.err
        assert sorted(run.out.split()) == [b"=42", b"=49"]


@pytest.mark.soak
def test_link_that_is_cut_while_a_program_is_loaded_is_waited_for(here: Here) -> None:
    """Nothing of python has gone to the pod when the link stands still."""
    roots = confirmed(here)
    with proxied(here.kube.kubeconfig, here.folder.parent) as (proxy, kubeconfig):
        words = ["--kube-pods", "1", "--share", "lazy", "--here-roots", roots, "--"]
        words += [f"touch loading.{{}}; sleep 2; {LOADS}", ":::", "6"]
        with here.started(*words, KUBECONFIG=str(kubeconfig)) as run:
            loading = here.folder / "loading.6"
            wait_for(lambda: loading.exists() or run.process.poll() is not None, "the job", 200)
            proxy.freeze()
            time.sleep(count(10, 60))
            proxy.cut()  # as when the machine comes back with another address
            proxy.thaw()
            assert run.wait(300) == 0, run.err
            assert run.out == b"42\n", run.err
            assert run.events(JobLost, PodGone) == []


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["none", "lazy"])
def test_file_server_that_is_lost_gets_womm_and_the_programs_again(here: Here, kind: str) -> None:
    """Jobs go on; those that may have lost what they wrote run again."""
    jobs, roots = 16, confirmed(here)
    command = f"sleep 1; {LOADS} && perl -MPOSIX -e 'print floor({{}}.5), qq(\\n)'"
    words = ["--kube-pods", "2", "--share", kind, "--here-roots", roots, "--", "-k", command, ":::"]
    with here.started(*words, *map(str, range(jobs)), debug=True) as run:

        def has_moved_on(least: int) -> bool:
            return run.process.poll() is not None or len(run.events(JobEnded)) >= least

        wait_for(lambda: has_moved_on(4), f"jobs: {run.err}", 200)
        (server,) = here.project.pods(run.task, FILE_SERVER)
        here.project.delete_pod(server)
        assert run.wait(400) == 0, run.err
        assert run.out.decode().split() == [text for n in range(jobs) for text in (str(n * 7), str(n))]
        assert run.events(PodGone) == []
        assert {event.cause for event in run.events(JobLost)} <= {Loss.DISK.value}
        assert len(set(re.findall(r"(\S+) has womm: \d+ bytes", run.err))) == 2, run.err
        assert "bytes of programs are pinned again" in run.err


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_new_user_with_a_kubeconfig_and_neither_docker_nor_a_womm_file_needs_one_command(
    here: Here, tmp_path: Path
) -> None:
    """A suite for pytest and a C program, with the womm of its wheel in an environment of its own."""
    write_project(here.folder)
    python = new_environment(tmp_path / "fresh", "womm", "pytest")
    env = {**here.env, "VIRTUAL_ENV": str(python.parents[1]), "DOCKER_HOST": "unix:///nowhere"}
    env["PATH"] = f"{python.parent}:{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | env
    del kept["PYTHONPATH"]
    jobs = ["python -m pytest -q suite.py | tail -n 1", "make -s -j2 -C c && c/prog"]

    def new_user(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [str(python.with_name("womm")), "parallel", "-k", "--kube-pods", "2", "--share", "lazy"]
        command += ["--image", "here", *words, "--", "sh -c {}", ":::", *jobs]
        return subprocess.run(
            command,
            cwd=here.folder,
            env=kept,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    asked = new_user()  # nobody is at a terminal: it says what to type
    found = re.search(r"--here-roots ([^\s,]+)", asked.stderr)
    assert found and asked.returncode == 2, asked.stderr
    done = new_user("--here-roots", found[1])
    assert done.returncode == 0, done.stderr
    suite, value = done.stdout.splitlines()
    assert re.match("2 passed in ", suite), done
    assert value == "0.909"
    made = {path.name: path.read_bytes() for path in (here.folder / "c").glob("*.o")}
    assert len(made) == SOURCES + 1
    for name in made:
        (here.folder / "c" / name).unlink()
    here.printed_here("make -s -C c")
    assert {name: (here.folder / "c" / name).read_bytes() for name in made} == made
    assert not (here.folder / ".womm").exists()


def new_environment(folder: Path, *names: str) -> Path:
    """Make a virtual environment as pip would: the womm of its wheel, and copies of what these need."""
    python = installation.make(folder)
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "others.pth").unlink()
    for found in needed(names):
        for file in found.files or []:
            if file.parts[0] != ".." and "__pycache__" not in file.parts and found.name != "womm":
                place = site / file
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(found.locate_file(file)), place)
    return python


def needed(names: Sequence[str]) -> Iterator[importlib.metadata.Distribution]:
    """Yield distributions that are installed here, with all that they need."""
    left, seen = [*names], set[str]()
    while left:
        name = canonicalize_name(left.pop())
        if name not in seen:
            seen.add(name)
            found = importlib.metadata.distribution(name)
            yield found
            wanted = [Requirement(text) for text in found.requires or []]
            left += [one.name for one in wanted if not one.marker or one.marker.evaluate({"extra": ""})]

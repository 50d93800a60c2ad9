"""`--image here`: pods that see this machine's programs, on nodes that have nothing but two small images.

The images are a busybox, which lends its root, and a Debian with python3, in which the file server runs: no
image has womm in it, and no project has a `.womm`.
"""

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
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.kubernetes.project import Project
from tests.cluster.kubernetes.test_reasons import RESTRICTED
from tests.conftest import Home
from tests.faults.tasks import Run, environment, started, wait_for, womm
from tests.realcluster.configs import NFS_SETTINGS
from tests.realcluster.fixtures import KubeCluster

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


@dataclass(frozen=True)
class Here:
    """A folder without a `.womm`, and the variables with which its jobs see this machine's programs."""

    folder: Path
    kube: KubeCluster
    namespace: str
    env: dict[str, str]

    def started(self, *words: str, **options: Any) -> AbstractContextManager[Run]:
        given: dict[str, Any] = {**self.env, **options}
        return started(self.folder, "parallel", "--image", "here", *words, **given)

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

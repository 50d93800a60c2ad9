"""`--image here`: pods that see this machine's programs, on nodes that have nothing but two small images.

The images are a busybox, which lends its root, and a Debian with python3, in which the file server runs: no
image has womm in it, and no project has a `.womm`.
"""

import os
import re
import signal
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
from tests.conftest import Home
from tests.faults.tasks import Run, environment, started, wait_for
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


@dataclass(frozen=True)
class Here:
    """A folder without a `.womm`, and the variables with which its jobs see this machine's programs."""

    folder: Path
    kube: KubeCluster
    namespace: str
    env: dict[str, str]

    def started(self, *words: str, **options: Any) -> AbstractContextManager[Run]:
        given: dict[str, Any] = {**options, **self.env}
        return started(self.folder, "parallel", "--image", "here", *words, **given)

    def nothing_left(self, runtime: Path) -> None:
        Project(self.folder, self.kube, self.namespace).nothing_left(runtime)

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
    made.nothing_left(womm_home.runtime)


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


@pytest.mark.parametrize("kind", ["none", pytest.param("eager-syncback", marks=pytest.mark.soak)])
def test_jobs_see_the_programs_with_any_share_or_none(here: Here, kind: str) -> None:
    (here.folder / "c/number").write_text("7\n")
    commands = {"none": "perl -le 'print {} * 7' | sed s/^/=/"}
    command = commands.get(kind, "awk '{ print \"=\" $1 * {} }' c/number")
    words = ["--kube-pods", "1", "--share", kind, "--here-roots", "none", "--", command]
    with here.started(*words, ":::", "6", "7") as run:
        assert run.wait(300) == 0, run.err
        assert sorted(run.out.split()) == [b"=42", b"=49"]

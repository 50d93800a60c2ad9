"""README.md and docs/tutorial.md as they are printed: their commands are run, in order, in a new user's home.

What can be compared is compared: statuses, and lines without ids, times and numbers (see `printed.unlike`).
A reader puts images and registries of his own in; so does this. With the full counts all sections are run,
on the real standard library; else the main ones, on a part of it.
"""

import json
import re
import shutil
import signal
import subprocess
import sysconfig
import textwrap
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.conftest import Home
from tests.docs.printed import Command, Terminal, commands, environment, unlike
from tests.docs.test_docs import README, text
from tests.faults.tasks import wait_for
from tests.image.bases import Bases
from tests.image.dockerd import BASE, Docker
from tests.installation import ROOT
from tests.realcluster.configs import NFS_SETTINGS
from tests.realcluster.fixtures import KubeCluster
from tests.realcluster.images import tools_image
from tests.soak import SOAK
from womm.image import distribution

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

TUTORIAL = ROOT / "docs" / "tutorial.md"
TESTS_CLUSTER = "it starts or ends the tests' cluster, which the test run has done"
SECOND_MACHINE = "it needs a second machine: tests/cluster/kubernetes/test_cli_tasks.py"
NOT_RUN = {
    "scripts/install && scripts/kube": TESTS_CLUSTER,
    ".venv/bin/python -m tests.realcluster up --nfs-nodes 2": TESTS_CLUSTER,
    ".venv/bin/python -m tests.realcluster down": TESTS_CLUSTER,
    "export KUBECONFIG=/var/lib/womm-test/0/admin.kubeconfig": TESTS_CLUSTER,
    "export PATH=$PWD/.venv/bin:$PATH": "an installed womm is on PATH",
    "womm shell --kube-cpu 32 --kube-mem 16Gi": "the tests' nodes have two cores",
    "womm trust            # shows the file, the files that it names, and what they run; then it asks": (
        "it asks: tests/cli/test_trust.py"
    ),
    "womm trust --yes": SECOND_MACHINE,
    "womm status -A": SECOND_MACHINE,
    "womm logs --tag sgvcrpdj": SECOND_MACHINE,
    "womm finish sgvcrpdj": SECOND_MACHINE,
}
"""Each must still be in a page."""
INSTALLS = "a stand-in for jq is installed, since the tests' docker has no network"
NOT_COMPARED = {
    "womm setup": INSTALLS,
    "womm setup --yes --share lazy --base debian:12 --prefix registry.example.org/me/ "
    "--run 'apt-get update' --run 'apt-get install -y jq' --env MODE=fast": INSTALLS,
    "womm setup --yes --share none --base debian:12 --run 'apt-get update && apt-get install -y jq' "
    "--env MODE=fast": INSTALLS,
    "cat .womm.d/Dockerfile": INSTALLS,
    "womm parallel --kube-pods 4 --tag -- grep -n TODO {} ::: *.py; echo status $?": "of Python 3.11",
    "head -n 3 ../gzip.log": "find(1) gives the files in any order",
    "womm status --ended": "it shows the first lines of what other sections have run",
    "womm parallel -k --kube-pods 2 --kube-cpu 50m -- "
    "'sleep 4; echo \"job {}, attempt $WOMM_ATTEMPT\"' ::: 1 2 3 4": (
        "in the page a pod is deleted meanwhile: tests/cluster/kubernetes/test_lost_pods.py"
    ),
    "womm parallel --kube-pods 2 --kube-cpu 100 --ready-timeout 15s -- echo ::: 1; echo status $?": (
        "the scheduler names the tests' other nodes, too: tests/cluster/kubernetes/test_reasons.py"
    ),
}
"""Only the status of these is looked at."""
LONG = (
    # tests/setup/test_on_cluster.py does the like.
    "find . -type f | sort | womm parallel -k --kube-pods 4 -- ./script {}",
    "womm setup --yes --share lazy --base debian:12 --prefix registry.example.org/me/ "
    "--run 'apt-get update' --run 'apt-get install -y jq' --env MODE=fast",
    "womm doctor",  # README.md has it, too
    "womm parallel -k --kube-pods 2 --kube-cpu 50m -- "
    "'sleep 4; echo \"job {}, attempt $WOMM_ATTEMPT\"' ::: 1 2 3 4",
    "womm parallel --kube-pods 2 --kube-cpu 100 --ready-timeout 15s -- echo ::: 1; echo status $?",
)
"""Of the parts about Kubernetes: run with the full counts only."""
STATUSES = {
    "womm parallel --kube-pods 4 wc -l {} ::: json/*.py": 2,
    "womm shell": 3,
    "womm parallel -- ./test.sh ::: 1 2 3": 254,
    "womm shell --kube-cpu 50m": 3,
    "seq 100 | womm parallel --kube-pods 2 --joblog ../seq.log -- 'sleep 1; echo {}' > ../seq.txt": 130,
}
"""Other than 0."""
LOCAL = (
    *("A folder", "Count", "Compress, in a copy", "Hash", "Search", "What failed", "A shell in a worker"),
    *("A worker dies", "Stop and go on"),
)
FIRST = (
    *("A program goes to a cluster", "The program", "The testbed", "Run it", "Change the image"),
    "Without questions",
)
"""The tutorial's first walk."""
KUBERNETES = (
    *("An image that is there already", "A first run", "Watch it", "A shell in a pod"),
    *(
        "Your folder in the pods",
        "Your own programs in the pods",
        "The machine is gone",
        "If you are the admin",
    ),
)
SAMPLE = ("turtle.py", "_pydecimal.py", "pydoc_data", "json", "enum.py", "gettext.py", "runpy.py", "types.py")


@pytest.fixture
def bin_folder(tmp_path: Path, installed: Path) -> Path:
    """First in PATH: the installed womm, and where the standard library is: here, a part of it."""
    folder, library = tmp_path / "bin", tmp_path / "library"
    folder.mkdir()
    (folder / "womm").symlink_to(installed)
    if not SOAK:
        whole = Path(sysconfig.get_path("stdlib"))
        library.mkdir()
        for name in SAMPLE:
            copy = shutil.copytree if (whole / name).is_dir() else shutil.copy
            copy(whole / name, library / name)
        real = shutil.which("python3")
        cases = f'*stdlib*) echo {library} ;; *) exec {real} "$@" ;;'
        (folder / "python3").write_text(f'#!/bin/sh\ncase "$2" in {cases} esac\n')
        (folder / "python3").chmod(0o755)
    return folder


@pytest.fixture
def terminal(womm_home: Home, tmp_path: Path, bin_folder: Path) -> Iterator[Terminal]:
    home = womm_home.runtime / "you"  # short: `womm status` cuts a command to the terminal's width
    made = Terminal(tmp_path / "terminal", environment(home, womm_home.runtime, [bin_folder]))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def kubernetes(
    terminal: Terminal, bin_folder: Path, kube_cluster: KubeCluster, kube_namespace: str
) -> Terminal:
    """The terminal of somebody who has a kubeconfig, and kubectl; pods are small."""
    (bin_folder / "kubectl").write_text(f'#!/bin/sh\nexec {" ".join(kube_cluster.kubectl.program)} "$@"\n')
    (bin_folder / "kubectl").chmod(0o755)
    write_kubeconfig(terminal, kube_cluster, "womm-test", kube_namespace)
    terminal.export(WOMM_KUBE_CPU="50m", WOMM_KUBE_MEM="64Mi")
    terminal.substitutions["default"] = kube_namespace
    return terminal


def write_kubeconfig(terminal: Terminal, kube: KubeCluster, context: str, namespace: str) -> None:
    path = terminal.home / "kubeconfig"
    config = yaml.safe_load(kube.kubeconfig.read_text())
    (only,) = config["contexts"]
    only["name"] = config["current-context"] = context
    only["context"]["namespace"] = namespace
    path.write_text(yaml.safe_dump(config))
    terminal.export(KUBECONFIG=str(path))


class Reader:
    """Goes through a page, section by section, and notes what is not as it says."""

    def __init__(self, terminal: Terminal, page: Path) -> None:
        self.terminal, self.problems = terminal, list[str]()
        self._commands = commands(text(page))

    def run(self, *sections: str, without: Collection[str] = ()) -> None:
        for command in self._commands:
            if command.section in sections and command.text not in {*NOT_RUN, *without}:
                done = self.terminal.run(command, self._two_jobs_ended if is_interrupted(command) else None)
                lines = [] if command.text in NOT_COMPARED else unlike(command, done)
                if done.status != STATUSES.get(command.text, 0):
                    lines.append(f"status {done.status}")
                if lines:
                    seen = [f"| {line}" for line in done.lines[-20:]]
                    told = "\n  ".join([*lines, *seen])
                    self.problems.append(f"{command.section}: $ {command.text}\n  {told}")

    def _two_jobs_ended(self) -> bool:
        joblog = self.terminal.home / "seq.log"
        return joblog.exists() and len(joblog.read_text().splitlines()) > 2

    def all_is_as_printed(self) -> None:
        assert not self.problems, "\n".join(self.problems)


def is_interrupted(command: Command) -> bool:
    return any(line.startswith("^C") for line in command.output)


@contextmanager
def another_terminal(terminal: Terminal, folder: str, options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run womm in another terminal, until its workers run jobs; in the end it may be gone."""
    log = terminal.folder / "other"
    with open(log, "wb") as out:
        process = subprocess.Popen(
            ["womm", "parallel", *options.split(), "--", "echo begin; sleep 600", ":::", "1", "2"],
            cwd=terminal.home / folder,
            env=terminal.exported,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=out,
            process_group=0,
        )
    try:
        begun = ["womm", "status", "-o", "json"]
        wait_for(
            lambda: (
                b'"ready": 2'
                in subprocess.run(
                    begun, env=terminal.exported, cwd=terminal.home / folder, capture_output=True, check=False
                ).stdout
            ),
            "two workers",
        )
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait()


def test_readme_first_five_minutes_are_as_printed(terminal: Terminal) -> None:
    reader = Reader(terminal, README)
    reader.run("The first five minutes")
    reader.all_is_as_printed()


def test_readme_folder_from_somebody_else_is_as_printed(terminal: Terminal) -> None:
    clone = terminal.home / "clone"
    clone.mkdir()
    values = {"cluster": "kubernetes", "kubeconfig": "theirs", "image": "theirs:1", "kube-pods": 2}
    lines = [f"{name} = {json.dumps(value)}" for name, value in {"version": 1, **values}.items()]
    (clone / ".womm").write_text("\n".join([*lines, ""]))
    terminal.enter(clone)
    reader = Reader(terminal, README)
    reader.run("A folder from somebody else")
    reader.all_is_as_printed()


def test_tutorial_on_this_machine_is_as_printed(terminal: Terminal) -> None:
    reader = Reader(terminal, TUTORIAL)
    script = terminal.home / "victim.sh"
    (block,) = re.findall(r"(?m)^    #!/bin/sh\n    # .*\n(?:    .*\n)+", text(TUTORIAL))
    script.write_text(textwrap.dedent(block))
    script.chmod(0o755)
    reader.run(*LOCAL)
    with another_terminal(terminal, "stdlib", "--kube-pods 2") as process:
        process.kill()
        process.wait()
        reader.run("The terminal is gone")
    reader.run("Clean up")
    reader.all_is_as_printed()


def test_readme_project_is_set_up_as_printed(
    fetching: Terminal, kube_cluster: KubeCluster, kube_namespace: str
) -> None:
    write_script(fetching, README, "proj")
    write_kubeconfig(fetching, kube_cluster, "lab", kube_namespace)
    fetching.substitutions["registry.example.org/"] = f"{kube_cluster.registry}/"
    reader = Reader(fetching, README)
    reader.run("Set up a project", without=() if SOAK else LONG)
    reader.all_is_as_printed()


@pytest.mark.soak
def test_tutorial_first_walk_is_as_printed(fetching: Terminal, kube_cluster: KubeCluster) -> None:
    write_script(fetching, TUTORIAL, "first")
    fetching.substitutions["localhost:5000/"] = f"{kube_cluster.registry}/"
    reader = Reader(fetching, TUTORIAL)
    reader.run(*FIRST)
    reader.all_is_as_printed()


def test_readme_on_kubernetes_is_as_printed(
    kubernetes: Terminal, kube_cluster: KubeCluster, kube_namespace: str
) -> None:
    reader = Reader(kubernetes, README)
    write_kubeconfig(kubernetes, kube_cluster, "lab", kube_namespace)
    kubernetes.substitutions["debian:12"] = kube_cluster.images["worker"].tagged
    project = kubernetes.home / "proj"
    project.mkdir()
    (project / "access.log").write_text("GET / 200\n" * 300_000)
    kubernetes.enter(project)
    reader.run("On Kubernetes")
    reader.all_is_as_printed()


@pytest.mark.soak
def test_readme_folder_in_pods_is_as_printed(
    kubernetes: Terminal, kube_cluster: KubeCluster, nfs_nodes: list[str], images: dict[str, str]
) -> None:
    reader = Reader(kubernetes, README)
    project = kubernetes.home / "proj"
    project.mkdir()
    (project / "check.py").write_text("import sys\ncompile(open(sys.argv[1]).read(), sys.argv[1], 'exec')\n")
    (project / "out").mkdir()
    (project / "seed1").touch()
    (project / "simulate").write_text("#!/bin/sh\necho simulated\n")
    (project / "simulate").chmod(0o755)
    kubernetes.enter(project)
    kubernetes.export(**NFS_SETTINGS, **images)
    kubernetes.substitutions |= {
        "python:3.13-slim": tools_image(kube_cluster.registry).tagged,
        "registry.example.org/": f"{kube_cluster.registry}/",
    }
    reader.run("Your folder in the pods")
    reader.all_is_as_printed()
    assert (project / "out" / "seed1").read_text() == "simulated\n"


@pytest.mark.soak
def test_tutorial_on_kubernetes_is_as_printed(
    kubernetes: Terminal, kube_cluster: KubeCluster, nfs_nodes: list[str], images: dict[str, str]
) -> None:
    reader = Reader(kubernetes, TUTORIAL)
    kubernetes.export(**images)
    kubernetes.substitutions["localhost:5000/"] = f"{kube_cluster.registry}/"
    reader.run("An image that is there already", "A first run")
    with another_terminal(kubernetes, "proj", "-k --kube-pods 2 --kube-cpu 50m"):
        reader.run("Watch it")
    reader.run("A shell in a pod")
    with another_terminal(kubernetes, "proj", "--kube-pods 2 --kube-cpu 50m") as process:
        process.kill()
        process.wait()
        reader.run("The machine is gone")
    sources = kubernetes.home / "proj" / "src"
    sources.mkdir()
    for name in ("part1.txt", "part2.txt"):
        (sources / name).write_text("".join(f"{number}\n" for number in range(20_000)))
    reader.run("Your folder in the pods")
    kubernetes.export(WOMM_HERE_IMAGE=kube_cluster.images["worker-noperl"].pinned)
    reader.run("Your own programs in the pods")
    kube_cluster.kubectl.run("create", "namespace", "research")
    try:
        reader.run("If you are the admin")
    finally:
        kube_cluster.kubectl.run("delete", "namespace", "research", "--wait=false")
    reader.all_is_as_printed()


@pytest.fixture
def fetching(
    kubernetes: Terminal, nfs_nodes: list[str], images: dict[str, str], bases: Bases, own_docker: Docker
) -> Terminal:
    """The terminal of somebody whose docker can fetch debian:12, and jq in it. See INSTALLS."""
    kubernetes.export(**NFS_SETTINGS, **images)
    kubernetes.substitutions |= {
        "apt-get update": "install -D /opt/jq /var/lib/apt/lists/jq",
        "apt-get install -y jq": "cp /opt/jq /usr/bin/jq",
    }
    base = bases.built("jq", f"FROM {bases.debian()}\n{_JQ}")
    client = own_docker.client()
    try:
        for name in {distribution.own(), "debian:12"}:
            client.images.get(base).tag(*name.split(":"))
    finally:
        client.close()
    return kubernetes


_JQ = r"""
RUN printf '%s\n' '#!/bin/sh' 'echo "{\"file\":\"$4\",\"mode\":\"$MODE\"}"' >/opt/jq
RUN chmod +x /opt/jq
"""


def write_script(terminal: Terminal, page: Path, folder: str) -> None:
    """Do what the page says of its script that needs jq: save it."""
    (block,) = re.findall(r"(?m)^    #!/bin/sh\n    jq .*\n", text(page))
    path = terminal.home / folder / "script"
    path.parent.mkdir()
    path.write_text(textwrap.dedent(block))


@pytest.fixture
def images(makes_images: dict[str, str], own_docker: Docker) -> dict[str, str]:
    """As `makes_images`, with the image that the file server's is built upon by default."""
    recipe = (ROOT / "images/fileserver/Dockerfile").read_text()
    (base,) = re.findall(r"(?m)^ARG BASE=(\S+):(\S+)$", recipe)
    client = own_docker.client()
    try:
        client.images.get(BASE).tag(*base)
    finally:
        client.close()
    return makes_images


def test_what_is_not_run_or_not_compared_is_still_printed() -> None:
    printed = {command.text for page in (README, TUTORIAL) for command in commands(text(page))}
    assert {*NOT_RUN, *NOT_COMPARED, *LONG, *STATUSES} <= printed


def test_no_line_that_is_typed_is_taken_for_output() -> None:
    """It would not be run, nor what follows it in the same shell."""
    for page in (README, TUTORIAL):
        printed = [line for command in commands(text(page)) for line in command.output]
        assert [line for line in printed if re.match(r"\$ |\S+[$#] ", line)] == []


def test_every_section_with_commands_is_run() -> None:
    """All of both pages: a new section needs its place here."""
    found = {command.section for command in commands(text(TUTORIAL)) if command.text not in NOT_RUN}
    assert found == {*FIRST, *LOCAL, "The terminal is gone", "Clean up", *KUBERNETES}
    found = {command.section for command in commands(text(README)) if command.text not in NOT_RUN}
    places = {"Set up a project", "The first five minutes", "On Kubernetes", "Your folder in the pods"}
    assert found == {*places, "A folder from somebody else"}

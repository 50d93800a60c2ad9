"""A user without a home, or one that cannot be used; a current folder that nobody may enter."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import ROOT

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user"),
    pytest.mark.slow,
]

UID = 61000 + os.getpid() % 1000
"""Nobody's: it has no entry, and no folder of another run."""
SPARE = Path(f"/var/tmp/womm-{UID}")
PARALLEL = ["parallel", "--kube-pods", "1", "--", "echo", ":::", "hi"]
READING = [
    ["status"],
    ["finish", "--all"],
    ["cluster-setup", "-n", "x"],
    ["clean"],
    ["completion", "bash"],
    ["--version"],
]


@pytest.fixture
def ground(womm_home: object) -> Iterator[Path]:
    """A folder that everybody may enter; the user's own are in it."""
    folder = Path(tempfile.mkdtemp(prefix="womm-", dir="/tmp"))
    folder.chmod(0o755)
    for name in ("here", "home", "run"):
        (folder / name).mkdir()
        os.chown(folder / name, UID, UID)
        (folder / name).chmod(0o700)
    try:
        yield folder
    finally:
        for path in (folder, SPARE):
            subprocess.run(["chmod", "-R", "u+rwX", path], check=False, stderr=subprocess.DEVNULL)
            shutil.rmtree(path, ignore_errors=True)


def run(
    ground: Path, *words: str, cwd: Path | None = None, before: str = "", **env: str | None
) -> "subprocess.CompletedProcess[str]":
    """Run womm as the user without an entry; `before`: run by sh in the folder first, as root."""
    kept = ("PATH", "WOMM_TEST_RUN", "PYTEST_CURRENT_TEST")
    given = {name: os.environ[name] for name in kept if name in os.environ}
    given |= {name: value for name, value in {"XDG_RUNTIME_DIR": str(ground / "run"), **env}.items() if value}
    return _as_user(
        ground, ["-P", "-m", "womm", *words], cwd=cwd or ground / "here", before=before, env=given
    )


def _as_user(
    ground: Path, words: list[str], *, cwd: Path, env: dict[str, str], python: str = "", before: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run Python as that user, who has womm's modules in `ground`: where they are may be root's alone."""
    mounts, folders = "", []
    for number, folder in enumerate(_modules()):
        folders.append(ground / f"modules{number}")
        folders[-1].mkdir(exist_ok=True)
        mounts += shlex.join(["mount", "--bind", folder, str(folders[-1])]) + " || exit 125\n"
    user = ["setpriv", "--reuid", str(UID), "--regid", str(UID), "--clear-groups"]
    script = f'{mounts}{before}\nexec "$@"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", *user, python or _python(ground), *words],
        cwd=cwd,
        env={**env, "PYTHONPATH": os.pathsep.join(map(str, folders)), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )


def _modules() -> list[str]:
    """Where womm and what it needs is; the checkout last: an installed womm is the one that is tested."""
    return [*(path for path in sys.path if path.endswith("site-packages")), str(ROOT)]


def _python(ground: Path) -> str:
    """A Python that the user may run: the one of the tests may be in root's home."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    path = {"PATH": os.environ["PATH"]}
    for python in (sys.executable, f"/usr/bin/python{version}"):
        tried = _as_user(ground, ["-P", "-c", "import womm"], cwd=ground, env=path, python=python)
        if tried.returncode == 0:
            return python
    raise AssertionError(f"no Python that another user may run: {tried.stderr}")


def said(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if not re.match(r"womm: task \w+ (created|deleted)", line)]


HOMES = {
    "none": None,
    "root": "/",
    "file": "{ground}/file",
    "locked": "{ground}/locked",
}


@pytest.mark.parametrize("home", HOMES)
def test_user_without_a_usable_home_runs_jobs_and_finds_the_task_again(ground, home):
    (ground / "file").touch()
    (ground / "locked").mkdir(mode=0)
    place = (HOMES[home] or "").format(ground=ground) or None
    done = run(ground, *PARALLEL, HOME=place)
    assert (done.returncode, done.stdout) == (0, "hi\n"), done.stderr
    told = f"womm: the home folder cannot be written: the journal is in {SPARE}"
    # The second is GNU parallel's, plain, too.
    assert set(said(done.stderr)) <= {told, "parallel: Warning: $HOME not set. Using /tmp."}
    assert told in done.stderr
    logs = run(ground, "logs", "last", HOME=place)
    assert (logs.returncode, logs.stdout) == (0, "hi\n"), logs.stderr
    assert SPARE.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("home", ["none", "locked"])
def test_every_command_works_without_a_usable_home(ground, home):
    (ground / "locked").mkdir(mode=0)
    place = (HOMES[home] or "").format(ground=ground) or None
    for words in READING:
        done = run(ground, *words, HOME=place)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (words, done.stderr)
    doctor = run(ground, "doctor", HOME=place)
    assert f"ok  state folder: {SPARE}" in doctor.stdout
    assert "Traceback" not in doctor.stderr
    tab = run(ground, HOME=place, _WOMM_COMPLETE="bash_complete", COMP_WORDS="womm logs x", COMP_CWORD="2")
    assert (tab.returncode, tab.stderr) == (0, "")
    setup = run(ground, "setup", "--cluster", "local", "--yes", HOME=place)
    assert setup.returncode == 0, setup.stderr
    cluster = run(ground, "status", "-n", "x", HOME=place, KUBECONFIG="~/none")
    assert "Traceback" not in cluster.stderr
    assert "kubeconfig ~/none" in cluster.stderr


def test_state_folder_that_the_user_has_named_is_not_replaced(ground):
    done = run(ground, *PARALLEL, HOME=None, XDG_STATE_HOME="/nonexistent")
    assert (done.returncode, done.stdout) == (254, "")
    assert done.stderr.startswith("womm: cannot make the journal /nonexistent/womm/tasks/")
    assert not SPARE.exists()


@pytest.mark.parametrize("trap", ["another's", "link", "open"])
def test_folder_for_journals_that_another_user_has_put_there_is_refused(ground, trap):
    if trap == "link":
        SPARE.symlink_to(ground / "home")
    else:
        SPARE.mkdir()
        SPARE.chmod(0o777)
        os.chown(SPARE, UID if trap == "open" else 0, UID)
    try:
        done = run(ground, *PARALLEL, HOME=None)
        assert (done.returncode, done.stdout) == (254, "")
        assert said(done.stderr) == [
            f"womm: {SPARE} is not a folder that only you can write: no journal goes there",
            "womm: hint: export XDG_STATE_HOME=FOLDER",
        ]
    finally:
        if SPARE.is_symlink():
            SPARE.unlink()


@pytest.mark.parametrize("state", ["locked", "above", "removed"])
def test_current_folder_that_cannot_be_entered_is_one_line(ground, state):
    folder = ground / "above" / "in"
    folder.mkdir(parents=True)
    before = {
        "locked": f"chmod 000 {folder}",
        "above": f"chmod 700 {ground}/above",
        "removed": f"rmdir {folder}",
    }[state]
    word = (
        "womm: the current folder is gone"
        if state == "removed"
        else (f"womm: cannot enter the current folder {folder}: Permission denied")
    )
    for words in (PARALLEL, ["shell", "true"], ["setup", "--cluster", "local", "--yes"]):
        done = run(ground, *words, cwd=folder, before=before, HOME=str(ground / "home"))
        assert (done.returncode, done.stdout) == (254, "")
        first, hint = said(done.stderr)
        assert first == word
        assert hint.startswith("womm: hint: cd to")
        folder.mkdir(parents=True, exist_ok=True)
    for words in (["status"], ["finish", "--all"], ["cluster-setup", "-n", "x"]):
        done = run(ground, *words, cwd=folder, before=before, HOME=str(ground / "home"))
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (words, done.stderr)
        folder.mkdir(parents=True, exist_ok=True)


def test_settings_in_anothers_home_are_not_read_as_after_su(ground):
    """And -v says so."""
    (ground / "locked").mkdir(mode=0)
    done = run(ground, "-v", "status", HOME=str(ground / "locked"))
    assert done.returncode == 0
    config = ground / "locked" / ".config" / "womm" / "config.toml"
    assert f"womm: cannot look for {config}: Permission denied; it is not read" in done.stderr


def test_settings_of_ones_own_that_cannot_be_read_are_an_error(ground):
    config = ground / "home" / ".config" / "womm"
    config.mkdir(parents=True)
    (config / "config.toml").touch(mode=0o600)
    done = run(ground, "status", HOME=str(ground / "home"))
    assert done.returncode == 254
    assert said(done.stderr) == [
        f"womm: cannot read {config}/config.toml: Permission denied",
        f"womm: hint: ls -l {config}/config.toml",
    ]


def test_home_on_a_read_only_disk_leaves_the_journal_elsewhere(ground):
    home = ground / "home"
    before = f"mount --bind {home} {home}; mount -o remount,bind,ro {home}"
    done = run(ground, *PARALLEL, before=before, HOME=str(home), XDG_RUNTIME_DIR=None)
    assert (done.returncode, done.stdout) == (0, "hi\n"), done.stderr
    assert said(done.stderr) == [f"womm: the home folder cannot be written: the journal is in {SPARE}"]
    assert os.access(SPARE / "tasks", os.F_OK)

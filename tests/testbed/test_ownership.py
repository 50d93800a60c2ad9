"""Whose the project's files are after root has worked in the testbed: tested as a user who is not root."""

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.image.bases import Bases
from tests.soak import count
from tests.testbed.visiting import GROUP, UID, VISITOR, visitor

pytestmark = pytest.mark.slow

# What a user's `make install`, `git`, `apt-get` and the like leave.
_WORK = """
set -e
echo new >made; mkdir -p tree/a/b; echo x >tree/a/b/file
mkdir -m 700 closed closed/inner; echo x >closed/inner/file
echo more >>of-root; echo more >>mine
ln -s /etc/passwd link; ln -s nowhere broken; mkfifo pipe
ln of-root of-root-too; mv renamed renamed-since
sed -i s/old/new/ edited
rm -r swapped; ln -s /etc swapped
rm swapped-back; mkdir swapped-back; echo x >swapped-back/file
echo x >other; chown 33:33 other; chown 33 mine-too
echo x >shared/file
printf x >"$(printf 'odd\\nna\\377me ')"
perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un("sock"))' 2>/dev/null || mkfifo sock
mkdir -m 000 shut
"""


@pytest.fixture(params=["debian", "busybox"])
def user(own_docker, request):
    with visitor(own_docker, getattr(Bases(own_docker), request.param)(), UID) as one:
        yield one


def owners(top: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for folder, folders, files in os.walk(top):
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            found[os.fsencode(path.relative_to(top)).decode("latin-1")] = (status.st_uid, status.st_gid)
    return found


def test_files_are_the_users_afterwards_and_those_of_root_stay_roots(user):
    top = user.project
    for name in ("of-root", "renamed", "edited", "swapped-back"):
        (top / name).write_text("old\n")
    for name in ("mine", "mine-too"):
        (top / name).write_text("old\n")
        os.chown(top / name, UID, UID)
    (top / "swapped").mkdir()
    (top / "roots-folder").mkdir(mode=0o700)
    (top / "roots-folder" / "file").touch()
    (top / "shared").mkdir()
    os.chown(top / "shared", UID, GROUP)
    (top / "shared").chmod(0o2775)
    done = user.piped(_WORK)
    assert done.returncode == 0, done.stderr
    found = owners(top)
    roots = {name for name, (uid, _) in found.items() if uid != UID}
    kept = {"of-root", "of-root-too", "renamed-since", "edited", "roots-folder", "roots-folder/file"}
    assert roots == kept
    assert found.pop("shared/file") == found.pop("shared") == (UID, GROUP)
    assert {found[name] for name in found if name not in kept} == {(UID, UID)}
    assert stat.S_IMODE((top / "closed").stat().st_mode) == 0o700
    assert Path("/etc/passwd").stat().st_uid == 0
    assert user.result()["given"] == len(found) - len(kept)  # `mine` was never root's, `shared/file` was


def test_files_of_a_visit_that_was_killed_are_given_back_by_the_next(own_docker):
    with visitor(own_docker, Bases(own_docker).busybox(), UID) as user:
        (user.project / "of-root").touch()
        child = user.terminal()
        child.expect(r"testbed:\S*# ")
        child.sendline("echo x >made && echo do''ne")
        child.expect_exact("done")
        child.kill(9)
        child.wait()
        child.close()
        assert owners(user.project) == {"of-root": (0, 0), "made": (0, 0)}
        assert user.piped("left").returncode == 0
        assert owners(user.project) == {"of-root": (0, 0), "made": (UID, UID)}
        assert user.result()["given"] == 1


def test_files_that_cannot_be_given_are_named_and_the_others_are_given(own_docker):
    with (
        visitor(own_docker, Bases(own_docker).busybox(), UID) as user,
        mounted(user.project / "mounted") as disk,
    ):
        line = "echo x >mounted/file; echo x >made; until [ -e go ]; do sleep 0.1; done"
        process = subprocess.Popen(
            [sys.executable, str(VISITOR), line], stdin=subprocess.DEVNULL, env=user.environment()
        )
        deadline = time.monotonic() + 30
        while not (user.project / "made").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        (user.project / "go").touch()
        assert process.wait(60) == 254
        result = user.result()
        assert f"1 file of the testbed's root cannot be given to you, such as {disk}/file" in result["error"]
        assert "Read-only file system" in result["error"]
        assert result["hint"] == f"sudo chown -h {UID}:{UID} {disk}/file"
        assert owners(user.project)["made"] == (UID, UID)


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A disk of its own in the folder."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(folder)], check=True)
    try:
        os.chown(folder, UID, UID)
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_many_files_are_given_quickly(own_docker):
    number = count(3000, 100_000)
    with visitor(own_docker, Bases(own_docker).busybox(), UID) as user:
        line = f"mkdir many; cd many; seq {number} | xargs touch"
        done = user.piped(line)
        assert done.returncode == 0, done.stderr
        assert set(owners(user.project).values()) == {(UID, UID)}
        assert user.result()["given"] == number + 1
        assert user.result()["given_s"] < 30

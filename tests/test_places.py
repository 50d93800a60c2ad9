"""The user's own folders, also where there is no home: where each is, and what stands in for it."""

import errno
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import platformdirs
import pytest

from womm import places
from womm.errors import JournalError

ROOT = Path(places.__file__).parents[1]
LIBRARIES = Path(platformdirs.__file__).parents[1]
NEEDS_MOUNTS = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
SPARE = f"/var/tmp/womm-{os.getuid()}"

_PRINT_STATE_FOLDER = """
from womm import places
from womm.errors import JournalError
try:
    folder = places.state_folder()
    print(folder, oct(folder.stat().st_mode & 0o7777), places.is_spare(folder))
except JournalError as exc:
    print(exc.message, exc.hint, sep=" | ")
"""


def state_folder_after(script: str, **env: str) -> str:
    """Print the state folder where /var/tmp and /tmp are empty and a script of sh has run."""
    # womm and what it imports may themselves lie in /tmp.
    kept = " && ".join(
        f"mount --bind {shlex.quote(str(folder))} {place}"
        for folder, place in ((ROOT, "/media"), (LIBRARIES, "/mnt"))
    )
    mounts = f"{kept} && mount -t tmpfs none /var/tmp && mount -t tmpfs none /tmp || exit 125"
    python = os.path.realpath(sys.executable)
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            f'{mounts}\n{script}\nexec "$@"',
            "sh",
            python,
            "-c",
            _PRINT_STATE_FOLDER,
        ],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": "/media:/mnt", "HOME": "/dev/null/home", **env},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


def test_folders_are_those_of_the_environment_and_none_is_made(womm_home, monkeypatch, tmp_path):
    assert places.home() == womm_home.home
    assert places.config_folder() == womm_home.config / "womm"
    assert places.state_folder() == womm_home.state / "womm"
    assert not (womm_home.config / "womm").exists() and not (womm_home.state / "womm").exists()
    monkeypatch.delenv("XDG_STATE_HOME")
    assert places.state_folder() == womm_home.home / ".local" / "state" / "womm"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "not" / "there"))
    assert places.state_folder() == tmp_path / "not" / "there" / "womm"


@pytest.mark.parametrize("relative", ["here", "./here", "~"])
def test_folder_that_is_relative_is_none(womm_home, monkeypatch, relative):
    """The current folder may be anybody's."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", relative)
    assert places.home() is None
    found = places.config_folder(), places.state_folder()
    assert all(folder is None or folder.is_absolute() for folder in found)


def test_home_without_a_variable_is_the_users_entrys(womm_home, monkeypatch):
    monkeypatch.delenv("HOME")
    assert places.home() == Path("~").expanduser()


@NEEDS_MOUNTS
def test_state_folder_without_a_home_is_ones_own_in_var_tmp():
    assert state_folder_after(":") == f"{SPARE} 0o700 True"
    assert state_folder_after(f"mkdir -m 755 {SPARE}") == f"{SPARE} 0o755 True"
    read_only = "mount -o remount,ro /var/tmp"
    assert state_folder_after(read_only) == f"/tmp/womm-{os.getuid()} 0o700 True"


@NEEDS_MOUNTS
@pytest.mark.parametrize(
    "trap",
    [
        f"ln -s /tmp {SPARE}",
        f"ln -s /gone {SPARE}",
        f"touch {SPARE}",
        f"mkfifo {SPARE}",
        f"mkdir -m 777 {SPARE}",
        f"mkdir -m 720 {SPARE}",
        f"mkdir {SPARE}; chown 12345 {SPARE}",
    ],
)
def test_state_folder_that_another_may_write_is_refused_and_none_taken_instead(trap):
    assert state_folder_after(trap) == (
        f"{SPARE} is not a folder that only you can write: no journal goes there"
        " | export XDG_STATE_HOME=FOLDER"
    )


@NEEDS_MOUNTS
def test_state_folder_where_nothing_can_be_written_is_an_error_that_names_all():
    read_only = "mount -o remount,ro /var/tmp; mount -o remount,ro /tmp"
    assert state_folder_after(read_only) == (
        "no folder for journals: /dev/null/home/.local/state/womm, /var/tmp or /tmp"
        " | export XDG_STATE_HOME=FOLDER"
    )


def test_state_folder_that_is_named_is_not_replaced_where_it_cannot_be_made():
    code = "import womm.places as p; print(p.state_folder())"
    env = {**os.environ, "XDG_STATE_HOME": "/dev/null/state"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "/dev/null/state/womm\n"


@pytest.mark.parametrize(
    ("folder", "spare"),
    [(SPARE, True), (SPARE.replace("/var", ""), True), (f"{SPARE}1", False), (f"{SPARE}/womm", False)],
)
def test_spare_folders_are_known_by_their_names(folder, spare):
    assert places.is_spare(Path(folder)) is spare


def test_naming_adds_a_name_only_where_none_is():
    with pytest.raises(OSError, match="No space") as caught, places.naming(Path("/a/b")):
        raise OSError(errno.ENOSPC, "No space")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/a/b")
    with pytest.raises(FileNotFoundError) as missing, places.naming("/a/b"):
        os.stat("/no/such/file")
    assert missing.value.filename == "/no/such/file"
    with pytest.raises(JournalError), places.naming("/a/b"):
        raise JournalError("x")


def test_kept_file_is_whole_or_as_it_was_and_halves_go_after_a_day(tmp_path):
    path = tmp_path / "cache/file"
    places.keep(path, b"one")
    places.keep(path, b"two")
    assert path.read_bytes() == b"two" and path.stat().st_mode & 0o777 == 0o600
    (path.parent / "folder").mkdir()
    with pytest.raises(OSError):
        places.keep(path.parent / "folder", b"no file")
    for name, age_s in ((".womm-old", 2 * 86400), (".womm-new", 60)):
        (path.parent / name).touch()
        os.utime(path.parent / name, (time.time() - age_s,) * 2)
    places.remove_halves(path.parent)
    assert sorted(os.listdir(path.parent)) == [".womm-new", "file", "folder"]

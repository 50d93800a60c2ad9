"""`.womm` is found upwards, and a bad one is named."""

import os
import socket
from pathlib import Path

import pytest

from womm import project
from womm.errors import ProjectError


def test_find_walks_up_and_takes_the_nearest(tmp_path):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert project.find(below) is None
    (tmp_path / ".womm").write_text("version = 1\n")
    (tmp_path / "a" / ".womm").write_text("version = 1\nkube-pods = 4\n")
    found = project.find(below)
    assert found is not None
    assert (found.folder, found.values) == (tmp_path / "a", {"kube-pods": 4})
    assert found.path == tmp_path / "a" / ".womm"


def _dangling(path):
    path.symlink_to("nowhere")


def _socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Path.mkdir, "is a folder"),
        (os.mkfifo, "is no regular file"),
        (_socket, "is no regular file"),
        (lambda path: path.symlink_to("/dev/null"), "is no regular file"),
        (_dangling, "is a link that leads nowhere: No such file or directory"),
        (lambda path: path.symlink_to(".womm"), "is a link that leads nowhere: Too many levels"),
    ],
)
def test_find_what_has_that_name_and_is_no_file_names_it(tmp_path, monkeypatch, make, why):
    """Not none: whoever put it there meant something by it, and jobs would run elsewhere."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    make(Path(".womm"))
    with pytest.raises(ProjectError) as caught:
        project.find(below)
    assert caught.value.message.startswith(f"{tmp_path / '.womm'} {why}")
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("ls -l")


def test_find_a_link_to_a_file_is_a_project(tmp_path):
    (tmp_path / "settings").write_text("version = 1\n")
    (tmp_path / ".womm").symlink_to("settings")
    assert project.find(tmp_path) == project.Project(tmp_path, {}, b"version = 1\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "version is missing"),
        (b"version = 2", "version = 2, but this womm knows version 1 only"),
        (b"version = true", "version = True, but"),
        (b'version = "1"', "version = '1', but"),
        (b"version = ", "is not TOML: Invalid value"),
        (b"\xff", "is not UTF-8"),
    ],
)
def test_find_a_bad_file_is_named(tmp_path, text, message):
    (tmp_path / ".womm").write_bytes(text)
    with pytest.raises(ProjectError) as caught:
        project.find(tmp_path)
    assert message in caught.value.message
    assert str(tmp_path / ".womm") in caught.value.message
    assert "\n" not in caught.value.message


if os.getuid() == 0:  # only root can give files away; a test left out is no skip

    def test_find_another_users_file_is_refused_below_another_owner(tmp_path):
        (tmp_path / ".womm").write_text("version = 1\n")
        here = tmp_path / "here"
        here.mkdir()
        os.chown(tmp_path / ".womm", 12345, -1)
        with pytest.raises(ProjectError, match="belongs to another user"):
            project.find(here)
        os.chown(here, 12345, -1)  # all of it is that user's: root in a container
        assert project.find(here) is not None


# ---- sharing


@pytest.mark.parametrize(
    "path",
    "/ /usr /etc /usr/bin /usr/local /var/lib /proc/1 /sys/kernel /dev/shm /womm /womm/bin /etc/".split(),
)
def test_sharing_a_folder_of_the_system_never(path):
    verdict, why = project.sharing(Path(path), Path("/home/audrey"), [])
    assert verdict is project.Sharing.NEVER
    assert "hide the system" in why


@pytest.mark.parametrize("path", ["/data/a:b", "/data/a\nb", "/data/a\x7f", "/data/a\udcff"])
def test_sharing_a_folder_that_cannot_be_mounted_never(path):
    verdict, why = project.sharing(Path(path), Path("/home/audrey"), [])
    assert verdict is project.Sharing.NEVER
    assert "\n" not in why
    why.encode()


@pytest.mark.parametrize("path", ["/home/audrey", "/home", "/tmp", "/opt", "/root", "/home/audrey/"])
def test_sharing_a_broad_folder_is_asked_about(path):
    verdict, why = project.sharing(Path(path), Path("/home/audrey"), [])
    assert verdict is project.Sharing.ASK
    assert why.startswith(path.rstrip("/"))


def test_sharing_a_folder_with_other_file_systems_is_asked_about():
    mounts = ["/", "/home/audrey/proj/data", "/home/audrey/project", "/home/audrey/proj"]
    verdict, why = project.sharing(Path("/home/audrey/proj"), Path("/home/audrey"), mounts)
    assert verdict is project.Sharing.ASK
    assert "/home/audrey/proj/data" in why


@pytest.mark.parametrize(
    "path",
    ["/home/audrey/proj", "/home/audrey/a b", "/home/audrey/\N{SNOWMAN}", "/usr/src/app", "/tmp/x", "/data"],
)
def test_sharing_any_other_folder_is_good(path):
    assert project.sharing(Path(path), Path("/home/audrey"), ["/", "/proc"]) == (project.Sharing.GOOD, "")


@pytest.mark.skipif(not os.path.exists("/proc/self/mounts"), reason="/proc is Linux's")
def test_mounts_are_this_machines():
    assert {"/", "/proc"} <= set(project.mounts())

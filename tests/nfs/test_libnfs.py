"""Another client that no one here wrote: Debian's libnfs-utils, over 4.0."""

import os
import shutil
import subprocess

import pytest

from tests.nfs.process import ServerProcess

pytestmark = pytest.mark.slow

if shutil.which("nfs-ls") is None:
    pytest.skip("libnfs-utils is not installed", allow_module_level=True)


@pytest.fixture
def server(tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    folder = tmp_path / "server"
    folder.mkdir()
    with ServerProcess(top, folder, "--host", "127.0.0.1", "--path", "/share") as found:
        yield found


def _run(*argv: str) -> bytes:
    done = subprocess.run(argv, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout


def _url(server, path=""):
    return f"nfs://127.0.0.1/share{path}?version=4&nfsport={server.port}"


def test_ls_cat_and_cp(server, tmp_path):
    data = os.urandom(3_000_001)
    (server.directory / "big").write_bytes(data)
    (server.directory / "d").mkdir()
    (server.directory / "link").symlink_to("big")
    listed = _run("nfs-ls", _url(server)).decode()
    assert {line.split()[-1] for line in listed.splitlines()} >= {"big", "d", "link"}
    assert _run("nfs-cat", _url(server, "/big")) == data
    _run("nfs-cp", _url(server, "/big"), str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == data
    # libnfs 4.0.0 cannot put many KiB into one WRITE of 4.0: it fails before it sends a WRITE.
    (tmp_path / "small").write_bytes(data[:1000])
    _run("nfs-cp", str(tmp_path / "small"), _url(server, "/d/back"))
    assert (server.directory / "d" / "back").read_bytes() == data[:1000]


def test_path_that_is_not_exported_is_not_found(server):
    done = subprocess.run(
        ["nfs-ls", f"nfs://127.0.0.1/other?version=4&nfsport={server.port}"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0

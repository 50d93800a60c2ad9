"""Guests, and file servers with a user's side in their network."""

import itertools
import os
import shutil
import subprocess
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from tests.fileserver.lazy import fresh_folder
from tests.fileserver.process import FileServer, UserThread
from tests.nfs.conftest import guest, net, other_guest
from womm.share.lazy.exported_folder import ExportedFolder

__all__ = ["guest", "net", "other_guest"]

_ports = itertools.count(4049)


@pytest.fixture
def share(net, tmp_path):
    """Start file servers with a user's side: what it gives has `top`, `server`, `user`, `mount(guest)`."""
    with ExitStack() as stack:

        def start(*options, top=None, state_bytes=None, export=ExportedFolder):
            """state_bytes: the size of the server's own disk; export: as of UserSide."""
            folder = fresh_folder()
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            if state_bytes is not None:
                (folder / "state").mkdir()
                words = ["mount", "-t", "tmpfs", "-o", f"size={state_bytes}", "tmpfs", folder / "state"]
                subprocess.run(words, check=True)
                stack.callback(subprocess.run, ["umount", "-l", folder / "state"], check=True)
            if top is None:
                top = tmp_path / "top"
                top.mkdir()
            server = FileServer(folder, *options, prefix=net.command(), port=next(_ports))
            stack.enter_context(server)
            user = UserThread(top, server.socket, export)
            stack.callback(user.close)
            user.wait()

            def mount(guest, at="/mnt/a", options=""):
                words = ",".join(filter(None, [options, f"port={server.port}"]))
                guest.mount(words, path=server.path, at=at)
                stack.callback(
                    guest.run, f"umount {at} || umount -f {at} || umount -l {at}", 120, check=False
                )

            return SimpleNamespace(top=top, server=server, user=user, mount=mount)

        yield start


@pytest.fixture
def full(top):
    """`top` is a disk without room for a file of 1 MB, until `hog` is removed."""
    if os.getuid() != 0:
        pytest.skip("mounts a tmpfs")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", top], check=True)
    yield top
    subprocess.run(["umount", top], check=True)

"""A folder, its export, and asyncssh's client on the other side of a Unix socket."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.share.eager.pod import Pod
from womm.share.control import Writable
from womm.share.fence import Fence
from womm.share.ignore import Ignore
from womm.share.lazy import ssh
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.guard import Guard
from womm.share.lazy.ssh import TaskKeys


class NoControl:
    def __init__(self, channel):
        self.channel = channel

    def received(self, data):
        self.channel.write(data)

    def pause(self): ...

    def resume(self): ...

    def closed(self): ...


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


@pytest.fixture
def serving(folder, place):
    """Serve `folder` over SSH: `async with serving() as pod`; pod.sftp is the client."""

    @asynccontextmanager
    async def serving(**options):
        said: list[str] = []
        fence = Fence(folder)
        writable = Writable.only(options.pop("write", ()))
        guard = Guard(fence, Ignore(fence), writable, said.append)
        export = ExportedFolder(fence, guard=guard, **options)
        keys = TaskKeys.make()
        pod = Pod(place / "socket", keys)
        accepted = asyncio.ensure_future(pod.accept())
        connection = await ssh.connect(pod.dial, keys, export, NoControl)
        try:
            await accepted
            await pod.open_sftp()
            pod.connection, pod.export, pod.said = connection, export, said
            yield pod
        finally:
            await pod.close()
            await connection.lost.wait()
            await connection.wait_closed()
            await asyncio.to_thread(export.close)

    return serving

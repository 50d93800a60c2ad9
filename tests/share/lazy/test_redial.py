"""The connections of an export: dialled again after every cut, until there is no going on."""

import asyncio
import os
from contextlib import asynccontextmanager
from typing import Any

from tests.share.eager.pod import Control, Pod
from womm.errors import ShareError
from womm.share.fence import Fence
from womm.share.lazy.control import Conversation
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.names import NamesLog
from womm.share.lazy.redial import Redial
from womm.share.lazy.ssh import TaskKeys


@asynccontextmanager
async def redialling(folder, place, dial=None):
    keys, names = TaskKeys.make(), NamesLog(os.stat(folder).st_dev)
    export = ExportedFolder(Fence(folder), read_only=True)
    pod: Any = Pod(place / "socket", keys)
    pod.greeted, pod.lost = [], []

    def give_up(reason):
        pod.lost.append(reason)
        conversation.fail(reason)

    def cut():
        pod.redial.hang_up()

    conversation = Conversation(names, replaced=lambda: "", give_up=give_up, cut=cut)
    pod.redial = Redial(
        keys, export, conversation, give_up=give_up, greeted=lambda: pod.greeted.append(1), keepalive_s=0.2
    )
    pod.running = asyncio.create_task(pod.redial.run(dial or pod.dial))
    try:
        yield pod
    finally:
        await pod.close()
        pod.redial.stop()
        pod.redial.hang_up()
        await asyncio.wait([pod.running])
        names.close()
        await asyncio.to_thread(export.close)


async def test_cut_connection_is_dialled_again_and_greeted_each_time(folder, place):
    async with redialling(folder, place) as pod:
        for number in (1, 2):
            await pod.accept()
            await Control(pod).open()
            while len(pod.greeted) < number:
                await asyncio.sleep(0.01)
            pod.redial.hang_up()
        assert not pod.lost


async def test_a_server_that_will_not_come_back_ends_it(folder, place):
    async def dial(factory):
        raise ShareError("it is gone for good")

    async with redialling(folder, place, dial) as pod:
        await asyncio.wait_for(pod.running, 10)
        assert pod.lost == ["it is gone for good"] and not pod.greeted

"""The control channel: the user's side says what has changed there, and asks for what was written here.

JSON lines both ways; paths are relative, as os.fsdecode makes text of them.

    user -> server  {"id":1,"op":"changed","paths":["a/b"],"all":false}
                    {"id":2,"op":"flush","seen":1}    seen: the last flush whose reply has come
                    {"id":3,"op":"stats"}   {"id":4,"op":"finish","timeout":40}
                    {"id":5,"op":"owner","uid":1000,"gid":1000}    whose all files are
    server -> user  {"op":"hello","epoch":"hex","version":2,"whole":true,"generation":1,"change":1}
                    and a reply {"id":N,"ok":true,...} to each

Without an id, and without a reply: the names that the server has given numbers to, and what the user's
side has of them; and for one that is not `whole` the same lines back, and an end (see names_teller.py).

    server -> user  {"op":"names","number":1,"rows":[[directory,"name",fileid,kind,dev,ino],
                                                     [directory,"gone"]]}
    user -> server  {"op":"seen","number":1}
                    {"op":"names",...} {"op":"names",...} {"op":"adopted","generation":1,"change":1,"dev":1}

Nor is there one to the files that have bytes to be sent: all after a hello, then what has changed (see
unsent_teller.py). `more` is how many are not named. A `flush` is answered after what it has changed is told.

    server -> user  {"op":"unsent","files":[[fileid,"a/b"]],"sent":[],"more":0,"whole":true}
                    {"op":"unsent","files":[],"sent":[fileid],"more":0}
"""

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any, Final

from womm.fileserver.connection import Lines, UserLink
from womm.fileserver.contents.contents import Contents
from womm.fileserver.names_teller import NamesTeller
from womm.fileserver.owner import Owner
from womm.fileserver.tree.table import Table
from womm.fileserver.tree.tree import Tree
from womm.fileserver.unsent_teller import UnsentTeller

log = logging.getLogger(__name__)

VERSION: Final = 2
FINISH_S: Final = 40.0

Reply = dict[str, Any]


class Control:
    """Answers the lines of the user's side. `gone(seconds)` waits for the NFS clients to go."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._names = NamesTeller(table)
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: dict[int, tuple[list[bytes], dict[bytes, OSError]]] = {}
        """What clients have changed, by the flush that told it: a cut may have eaten the reply."""
        self.finishing = False
        """The user's side has said that the task is at its end."""

    def attach(
        self,
        tree: Tree,
        contents: Contents,
        link: UserLink,
        owner: Owner,
        *,
        gone: Callable[[float], Awaitable[bool]],
    ) -> None:
        """Give it what it asks: they are made of each other."""
        self._tree, self._contents, self._link, self._gone = tree, contents, link, gone
        self._owner = owner
        self._unsent = UnsentTeller(contents)
        if not self._table.whole:
            link.hold()

    async def stop(self) -> None:
        self._names.stop()
        self._unsent.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def connected(self, lines: Lines) -> None:
        """Greet a new connection: what was seen over the last one is looked at again."""
        self._tree.renew()
        self._contents.advance()
        table = self._table
        hello = {"epoch": table.epoch, "version": VERSION, "whole": table.whole}
        self._send(lines, {"op": "hello", **hello, "generation": table.generation, "change": table.changed})
        self._names.connected(lines)
        self._unsent.connected(lines)

    @staticmethod
    def _send(lines: Lines, value: Reply) -> None:
        lines.send(json.dumps(value).encode())

    def received(self, lines: Lines, line: bytes) -> None:
        try:
            request = json.loads(line)
            op = request["op"]
            if op == "seen":
                self._names.seen(int(request["number"]))
                return
            if op == "names":
                self._names.take(request["rows"])
                return
            if op == "adopted":
                self._adopted(int(request["generation"]), int(request["change"]), int(request["dev"]))
                return
            if op == "owner":
                changed = self._owner.set(int(request["uid"]), int(request["gid"]))
                if "id" in request:
                    self._send(lines, {"id": request["id"], "ok": True, "changed": changed})
                return
            number = request["id"]
            if op == "changed":
                if request.get("all"):
                    self._tree.renew()
                self._tree.changed([os.fsencode(path) for path in request.get("paths", ())])
                self._send(lines, {"id": number, "ok": True})
            elif op == "stats":
                self._send(lines, {"id": number, "ok": True, **self._stats()})
            elif op == "flush":
                self._spawn(self._flush(lines, number, int(request.get("seen", 0))))
            elif op == "finish":
                self.finishing = True
                self._spawn(self._finish(lines, number, float(request.get("timeout", FINISH_S))))
            else:
                self._send(lines, {"id": number, "ok": False, "error": "unknown"})
        except (ValueError, KeyError, TypeError) as exc:
            log.warning("no request of the control channel: %s", exc)

    def _adopted(self, generation: int, change: int, dev: int) -> None:
        """All names of the servers before are here: begin."""
        if not self._table.whole:
            self._table.know_dev(dev)
            self._table.complete(generation, change)
            self._tree.took_over()
            self._link.release()
            self._contents.advance()

    def _stats(self) -> Reply:
        contents = self._contents
        return {
            "fetched": self._link.received_bytes,
            "cached": contents.from_cache,
            "written": contents.written,
            "unwritten": contents.unwritten,
            "reads": contents.reads,
        }

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a request failed", exc_info=task.exception())

    async def _result(self, number: int) -> Reply:
        """Flush."""
        size, failed = await self._contents.flush()
        self._unsent.tell()
        if failed:
            words = {os.fsdecode(path): error.strerror or str(error) for path, error in failed.items()}
            return {"id": number, "ok": False, "failed": words}
        return {"id": number, "ok": True, "bytes": size}

    async def _flush(self, lines: Lines, number: int, seen: int) -> None:
        """What has changed, and what is lost, is told again until a reply with it has been read."""
        for told in [told for told in self._told if told <= seen]:
            del self._told[told]
        touched, lost = self._contents.touched, self._contents.failed
        for paths, failed in self._told.values():
            touched.update(dict.fromkeys(paths))
            lost |= failed
        reply = await self._result(number)
        reply["changed"] = [os.fsdecode(path) for path in touched]
        reply["lost"] = [os.fsdecode(path) for path in lost]
        self._told[number] = list(touched), dict(lost)
        touched.clear()
        lost.clear()
        self._names.tell()
        self._send(lines, reply)

    async def _finish(self, lines: Lines, number: int, timeout_s: float) -> None:
        await self._contents.flush()
        await self._gone(timeout_s)
        self._send(lines, await self._result(number))

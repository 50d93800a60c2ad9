"""The file server as a process, and the user's side of it in a thread that dials for ever."""

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from typing import Any

from tests.fileserver.lazy import KEYS, UserSide, write_secret
from womm.share.lazy.exported_folder import ExportedFolder

START_S = 60.0


class UserThread:
    """A user's side that comes back when it is cut; `away` keeps it away."""

    def __init__(self, folder, socket, export=ExportedFolder, keys=KEYS):
        """`export`, `keys`: as of UserSide."""
        self._socket = socket
        self._keys = keys
        self._export = export
        self._ready = threading.Event()
        self._away = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.side = self._call(self._make(folder))
        self._task = self._call(self._spawn())

    def _call(self, work, timeout_s=120):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    async def _make(self, folder):
        return UserSide(folder, self._keys, export=self._export)

    async def _spawn(self):
        return asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self):
        while True:
            if not self._away:
                with contextlib.suppress(OSError, asyncio.TimeoutError):
                    await self.side.dial(self._socket)
                    self._ready.set()
                    await self.side.connection.lost.wait()
                    self._ready.clear()
            await asyncio.sleep(0.05)

    def wait(self):
        assert self._ready.wait(60), "no connection"

    def ask(self, op, **fields):
        self.wait()
        return self._call(self.side.control.ask(op, **fields))

    def cut(self):
        """Go away until `mend`."""
        self._away = True
        self._call(self.side.cut())
        self._ready.clear()

    def mend(self):
        self._away = False
        self.wait()

    def close(self):
        if self._loop.is_closed():
            return

        async def end():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self.side.cut()
            self.side.close()

        self._call(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


class FileServer:
    """`python -m womm.fileserver --lazy`, in a namespace (`prefix`). Use it in `with`."""

    def __init__(self, folder, *options, prefix=(), port=0):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.secret = write_secret(folder / "secret")
        self.path = "/womm-" + (self.secret / "export").read_text()
        self.socket = folder / "share"
        self.port = port
        self.log = folder / "server.log"
        self._options = options
        self._prefix = list(prefix)
        self._process: Any = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, exc, trace):
        self.end(signal.SIGTERM)
        if kind is None:
            text = self.log.read_text()
            assert "Traceback" not in text and "never retrieved" not in text, text[-4000:]

    @property
    def pid(self):
        return self._process.pid

    def start(self):
        argv = [*self._prefix, sys.executable, "-X", "faulthandler", "-m", "womm.fileserver"]
        if "--fast" in self._options:
            argv = [*self._prefix, sys.executable, "-m", "womm.fileserver"]
        argv += [
            "--lazy",
            str(self.socket),
            "--secret",
            str(self.secret),
            "--state",
            str(self.folder / "state"),
        ]
        argv += ["--cache", str(self.folder / "cache"), "--port", str(self.port), "-v"]
        argv += [option for option in self._options if option != "--fast"]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log)
        out = self._process.stdout
        line = out.readline() if select.select([out], [], [], START_S)[0] else b""
        assert line.startswith(b"womm-fileserver ready port="), (line, self.log.read_text()[-4000:])
        self.port = int(line.split(b"=")[-1])

    def end(self, number):
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(number)
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            process.stdout.close()

    def kill(self):
        self.end(signal.SIGKILL)

    def metrics(self):
        """What the NFS server has done, as SIGUSR1 has it written."""
        size = self.log.stat().st_size
        os.kill(self.pid, signal.SIGUSR1)
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            for line in self.log.read_bytes()[size:].splitlines(keepends=True):
                if line.startswith(b'{"connections"') and line.endswith(b"\n"):
                    return json.loads(line)
            time.sleep(0.02)
        raise AssertionError("no metrics")

    def rss_bytes(self):
        with open(f"/proc/{self.pid}/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS:"))


def tree_of(folder):
    """Return what is in a folder: path -> content, link or kind, and mode."""
    found = {}
    for top, names, files in os.walk(folder):
        for name in names + files:
            path = os.path.join(top, name)
            stat = os.lstat(path)
            if os.path.islink(path):
                value = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    value = file.read()
            else:
                value = None
            found[os.path.relpath(path, folder)] = (stat.st_mode, value)
    return found

"""`python -m womm.nfs` as a process that tests start, kill, freeze and start again on the same files."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

START_S = 60.0


class ServerProcess:
    """A server of `directory` in a namespace (`prefix`: the words that lead there). Use it in `with`."""

    def __init__(
        self, directory: Path | None, folder: Path, *options: str, prefix: Sequence[str] = (), port: int = 0
    ) -> None:
        self.directory = directory
        self.folder = folder
        self.port = port
        self.options = options
        self.log = folder / "server.log"
        self._prefix = list(prefix)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if kind is None:
            assert "Traceback" not in (text := self.log.read_text()), text[-4000:]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens; a second time on the same port with the same state."""
        argv = [*self._prefix, sys.executable, "-X", "faulthandler", "-m", "womm.nfs"]
        if self.directory is not None:
            argv.append(str(self.directory))
        argv += ["--host", "", "--port", str(self.port), "--state", str(self.folder / "state"), "-v"]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen([*argv, *self.options], stdout=subprocess.PIPE, stderr=log)
        out = self._process.stdout
        assert out is not None
        line = out.readline() if select.select([out], [], [], START_S)[0] else b""
        assert line.startswith(b"listening on port "), (line, self.log.read_text()[-4000:])
        self.port = int(line.split()[-1])

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        self._end(signal.SIGKILL)

    def freeze(self, seconds: float) -> None:
        """Stand still for a time: what a suspended laptop or a stuck node does."""
        os.kill(self.pid, signal.SIGSTOP)
        time.sleep(seconds)  # the fault itself, not a wait for something
        os.kill(self.pid, signal.SIGCONT)

    def rss_bytes(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

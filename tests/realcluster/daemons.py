"""The daemons of a cluster: started, ended, frozen, started again by name.

A daemon's file (`daemons/NAME.json`) says pid, start time, boot and command. Only the process that fits all
of the first three is ever signalled: after a crash or a reboot its number may be anybody's.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from womm import process

_ENTER_GROUP = 'echo $$ >"$0" && exec "$@"'
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT = {"WOMM_TEST_RUN", "PYTEST_CURRENT_TEST"}
"""By these a test run finds what it has left behind."""


class ClusterError(RuntimeError):
    """The cluster did not do what it should; the text says why, or where to look."""


def boot_id() -> str:
    """Return what tells this boot of the machine from others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@dataclass
class Daemons:
    folder: Path
    """Holds the daemons' files: NAME.json while one should run, NAME.ended after it was ended on purpose."""
    logs: Path
    group: Path
    """The file of the control group that takes pids."""
    home: Path
    _children: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    """Those that this process has started: it must take their exit status, or they stay as zombies."""

    def start(self, name: str, command: Sequence[str | Path]) -> None:
        """Start a daemon, logging to its file; it goes on when this process ends."""
        if self.is_alive(name):
            raise ClusterError(f"{name} is running")
        self.reap()
        argv = [str(word) for word in command]
        with open(self.logs / name, "ab") as log:
            child = subprocess.Popen(
                ["sh", "-c", _ENTER_GROUP, str(self.group), *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment(),
                cwd="/",
            )
        self._children[name] = child
        identity = process.identify(child.pid)
        start = identity.start if identity else ""
        note = {"pid": child.pid, "start": start, "boot": boot_id(), "command": argv}
        partial = self.folder / f"{name}.partial"
        partial.write_text(json.dumps(note))
        partial.rename(self._file(name))

    def start_again(self, name: str) -> None:
        """Start a daemon that has ended, with the command that it had."""
        files = [file for file in (self._file(name), self._ended_file(name)) if file.exists()]
        if not files:
            raise ClusterError(f"there is no {name}")
        self.start(name, json.loads(files[0].read_text())["command"])
        self._ended_file(name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Return those that should run."""
        return sorted(file.stem for file in self.folder.glob("*.json"))

    def find(self, name: str) -> process.ProcessIdentity | None:
        """Return the process of a daemon; None when it does not run."""
        try:
            noted: Mapping[str, str | int] = json.loads(self._file(name).read_text())
        except FileNotFoundError:
            return None
        identity = process.ProcessIdentity(int(noted["pid"]), str(noted["start"]))
        return identity if noted["boot"] == boot_id() and process.is_alive(identity) else None

    def is_alive(self, name: str) -> bool:
        return self.find(name) is not None

    def send(self, name: str, number: int) -> None:
        """Signal a daemon."""
        process.kill(self._running(name), number)

    def kill(self, name: str, *, session: bool = False, timeout_s: float = 10) -> None:
        """Kill a daemon on purpose, or all of its session, and wait for its end."""
        identity = self._running(name)
        for one in process.session_members(identity.pid) if session else [identity]:
            process.kill(one, signal.SIGKILL)
        deadline = time.monotonic() + timeout_s
        while self.is_alive(name):
            if time.monotonic() > deadline:
                raise ClusterError(f"{name} does not end")
            time.sleep(0.01)
        self._file(name).rename(self._ended_file(name))
        self.reap()

    def reap(self) -> None:
        """Take the exit status of those that have ended."""
        for name, child in list(self._children.items()):
            identity = process.identify(child.pid)
            if identity is None or not process.is_alive(identity):
                child.wait()  # for its threads: the first may have ended before the others
                del self._children[name]

    def wait(self, happens: Callable[[], bool], what: str, log: str, timeout_s: float) -> None:
        """Wait; raises ClusterError when it takes too long, or when a daemon has ended by itself."""
        deadline = time.monotonic() + timeout_s
        while not happens():
            dead = next((name for name in self.names() if not self.is_alive(name)), None)
            if dead:
                raise ClusterError(f"{what} did not come up: {dead} has ended\n{self.log_tail(dead)}")
            if time.monotonic() > deadline:
                raise ClusterError(f"{what} did not come up in {timeout_s:.0f} s\n{self.log_tail(log)}")
            time.sleep(0.1)

    def log_tail(self, name: str) -> str:
        file = self.logs / name
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        return "\n".join([f"The end of {file}:", *lines[-15:]])

    def _running(self, name: str) -> process.ProcessIdentity:
        identity = self.find(name)
        if identity is None:
            raise ClusterError(f"{name} does not run\n{self.log_tail(name)}")
        return identity

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _ended_file(self, name: str) -> Path:
        return self.folder / f"{name}.ended"

    def _environment(self) -> dict[str, str]:
        """Nothing of the user's own goes to daemons."""
        kept = {name: value for name, value in os.environ.items() if name in _KEPT}
        return {**kept, "PATH": _PATH, "HOME": str(self.home), "TMPDIR": "/tmp"}

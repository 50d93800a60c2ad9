"""An sshd of the benchmark's own on loopback, with one open connection per login to go through.

ssh is as fast as it can be: the connections are open before the clock starts, the remote shell reads no
start-up file, the cipher is the fastest one.
"""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.run import PODS, end

READY_S = 10.0
CLOSE_S = 3.0
POLL_S = 0.02
PORT_TRIES = 5
RUN_FOLDER = Path("/run/sshd")
"""sshd that is started by root insists on it; packages leave it to the service manager to make."""


class NoSshd(Exception):
    """This machine has no sshd to compare with: the reason."""


@dataclass(frozen=True, slots=True)
class Logins:
    """`program` is one word for `parallel --ssh`: with more, it loses its control connection."""

    program: Path
    names: tuple[str, ...]

    @property
    def parallel_options(self) -> list[str]:
        # Name the slots, so that GNU parallel does not ask the host for them.
        return ["--ssh", str(self.program), "--sshlogin", ",".join(f"1/{name}" for name in self.names)]


@contextmanager
def logins(base: Path) -> Iterator[Logins]:
    """Start sshd and the connections, with their files in a new folder below `base`; end both.

    Raises NoSshd.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/sbin"])
    sshd = shutil.which("sshd", path=path)
    missing = [name for name in ("ssh", "ssh-keygen") if shutil.which(name) is None]
    if sshd is None or missing:
        raise NoSshd(f"{missing[0] if missing else 'sshd'} is not installed")
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise NoSshd("this user has no name, and ssh wants one") from None
    folder = Path(tempfile.mkdtemp(prefix="ssh", dir=base))
    for name in ("host", "user"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "womm", "-f", str(folder / name)]
        subprocess.run(key, check=True, stdin=subprocess.DEVNULL)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    (folder / "known_hosts").write_text("womm-bench " + (folder / "host.pub").read_text())
    names = tuple(f"w{number}" for number in range(PODS))
    with ExitStack() as stack:
        port = _start_sshd(stack, sshd, folder)
        (folder / "config").write_text(_client_config(folder, names, port, user))
        program = folder / "connect"
        program.write_text(f"#!/bin/sh\nexec ssh -F '{folder}/config' \"$@\"\n")
        program.chmod(0o700)
        for name in names:
            _open_connection(stack, program, name, folder)
        yield Logins(program, names)


def _start_sshd(stack: ExitStack, sshd: str, folder: Path) -> int:
    """Start it on a free port, which it returns. Another program may take the port first: try again."""
    if os.getuid() == 0 and not RUN_FOLDER.exists():
        try:
            RUN_FOLDER.mkdir(mode=0o755)
        except OSError as exc:
            raise NoSshd(f"{RUN_FOLDER} cannot be made: {exc.strerror}") from exc
        stack.callback(_remove_run_folder)
    home = folder / "home"
    home.mkdir()
    log = folder / "sshd.log"
    for _ in range(PORT_TRIES):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        (folder / "sshd_config").write_text(_server_config(folder, port, home))
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [sshd, "-D", "-e", "-f", str(folder / "sshd_config")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )
        undo = stack.enter_context(ExitStack())
        undo.callback(_end_sshd, process)
        deadline = time.monotonic() + READY_S
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                return port
            time.sleep(POLL_S)
        undo.close()
    raise NoSshd(f"sshd does not start: {_last_line(log)}")


def _remove_run_folder() -> None:
    with suppress(OSError):  # in use by another sshd meanwhile
        RUN_FOLDER.rmdir()


def _end_sshd(process: "subprocess.Popen[bytes]") -> None:
    """End the listener, after what it forked for the connections, which are closed by now: it reaps."""
    sessions = _descendants(process.pid)
    deadline = time.monotonic() + CLOSE_S
    while any(map(_is_sshd, sessions)) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    end(process)
    for pid in filter(_is_sshd, sessions):
        with suppress(ProcessLookupError):
            os.kill(pid, 9)


def _server_config(folder: Path, port: int, home: Path) -> str:
    # SHLVL: Debian's bash reads ~/.bashrc when a fresh sshd starts it, which costs tens of ms a job.
    return f"""Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
AuthenticationMethods publickey
PermitRootLogin prohibit-password
UsePAM no
UseDNS no
StrictModes no
PrintMotd no
PrintLastLog no
X11Forwarding no
LogLevel ERROR
MaxStartups 100
MaxSessions 100
SetEnv HOME={home} SHELL=/bin/sh SHLVL=9
"""


def _client_config(folder: Path, names: tuple[str, ...], port: int, user: str) -> str:
    return f"""Host {" ".join(names)}
HostName 127.0.0.1
Port {port}
User {user}
HostKeyAlias womm-bench
IdentityFile {folder}/user
IdentitiesOnly yes
BatchMode yes
StrictHostKeyChecking yes
UserKnownHostsFile {folder}/known_hosts
GlobalKnownHostsFile /dev/null
ControlMaster no
ControlPath {folder}/%n
Ciphers aes128-gcm@openssh.com
LogLevel ERROR
"""


def _open_connection(stack: ExitStack, program: Path, name: str, folder: Path) -> None:
    log = folder / f"{name}.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [str(program), "-o", "ControlMaster=yes", "-N", name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    stack.callback(end, process)
    deadline = time.monotonic() + READY_S
    check = [str(program), "-O", "check", name]
    while process.poll() is None and time.monotonic() < deadline:
        if subprocess.run(check, capture_output=True, check=False).returncode == 0:
            # A login may be refused a command: a service's user has no shell.
            tried = subprocess.run([str(program), name, "true"], capture_output=True, check=False)
            if tried.returncode != 0:
                raise NoSshd(f"a login runs no command: exit status {tried.returncode}")
            return
        time.sleep(POLL_S)
    raise NoSshd(f"no connection to sshd: {_last_line(log) or _last_line(folder / 'sshd.log')}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def _descendants(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                parent = int((entry / "stat").read_text(errors="replace").rpartition(") ")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


def _is_sshd(pid: int) -> bool:
    """Return whether the process is there, if as a zombie, and not another that got the number since."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return False
    return "(sshd" in stat

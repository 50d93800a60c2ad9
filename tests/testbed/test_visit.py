"""A visit to the testbed as a user has it: keys, signals, sizes, pipes; what is left after it, or a kill."""

import os
import signal
import socket
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.image.bases import Bases
from tests.testbed.visiting import UID, Visitor, settled, visitor

pytestmark = pytest.mark.slow
PROMPT = "testbed:"


@pytest.fixture
def debian(own_docker):
    with visitor(own_docker, Bases(own_docker).debian()) as one:
        yield one


@pytest.fixture
def user(own_docker):
    """Not root: as most people are."""
    with visitor(own_docker, Bases(own_docker).debian(), UID) as one:
        yield one


@pytest.fixture
def busybox(own_docker):
    with visitor(own_docker, Bases(own_docker).busybox()) as one:
        yield one


def prompted(child):
    child.expect(r"testbed:\S*# ")


def typed(child, line):
    """Type a line, and wait until it has run."""
    child.send(f"{line}\r")
    child.expect_exact("\r\n")
    child.expect(r"(?s)(.*)testbed:\S*# ")
    return child.match[1]


def modes(child):
    """The terminal's settings; the local flags have echo, lines and Ctrl-C in them."""
    return termios.tcgetattr(child.child_fd)[:4]


def test_keys_reach_the_shell_as_they_are_typed(debian):
    child = debian.terminal()
    prompted(child)
    assert "first\r\n" in typed(child, "echo fi''rst")
    child.send("\x1b[A")  # arrow up
    child.expect_exact("echo fi''rst")
    child.send("\x1b[D\x1b[D\x08X\r")  # two to the left, the letter before goes
    child.expect_exact("fiX")
    prompted(child)
    child.send("\x10")  # Ctrl-P is docker's own, unless it is told otherwise
    child.expect_exact("echo fi''X")
    child.send("\x03")
    prompted(child)
    child.send("sleep 1000\r")
    child.expect_exact("sleep 1000\r\n")
    wait_for_program(debian, "sleep 1000")
    child.send("\x03")
    prompted(child)
    assert "130" in typed(child, "echo $?")
    child.send("\x04")
    assert settled(child) == 0
    assert debian.containers() == []


def wait_for_program(one: Visitor, name: str) -> None:
    client = one.docker.client()
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for container in client.containers.list():
                if name in str(container.top()):
                    return
            time.sleep(0.05)
    finally:
        client.close()
    raise AssertionError(f"{name} does not run in the testbed")


def test_window_has_its_size_from_the_start_and_when_it_changes(debian):
    child = debian.terminal()
    prompted(child)
    assert "30 100" in typed(child, "stty size")
    child.setwinsize(45, 67)
    deadline = time.monotonic() + 10
    while "45 67" not in typed(child, "stty size"):
        assert time.monotonic() < deadline
    assert "xterm-256color C.utf8" in typed(child, "echo $TERM $LC_ALL$LANG")
    typed(child, "cd /")
    child.sendline("exit 3")
    assert settled(child) == 3


def test_what_is_typed_and_exported_comes_back_and_nothing_of_it_is_in_the_image(user):
    (user.project / "env.sh").write_text("export SOURCED='two words'\n")
    child = user.terminal()
    prompted(child)
    typed(child, "export MODE=fast TOKEN=ghp_0123456789abcdefghijklmnopqrstuvwxyz")
    typed(child, ". ./env.sh")
    typed(child, "export TWO=$'a\\nb' PATH=/opt/x:$PATH")
    child.send("for i in 1 2\rdo echo n$i\rdone\r")
    child.expect_exact("n2")
    prompted(child)
    typed(child, "cd /usr; false")
    typed(child, " echo hidden")
    typed(child, "trap 'echo mine' EXIT")
    typed(child, "bash -c 'export NESTED=1'; export BYTES=$'\\xff'")
    typed(child, "set -e")
    child.sendline("touch /new; exit 4")
    assert settled(child) == 4
    result = user.result()
    image_path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert result["variables"] == {
        "MODE": "fast",
        "SOURCED": "two words",
        "TWO": "a\nb",
        "PATH": f"/opt/x:{image_path}",
    }
    assert result["left_out"].keys() == {"TOKEN", "BYTES"}
    assert "UTF-8" in result["left_out"]["BYTES"]
    here = str(user.project)
    assert [(one["status"], one["cwd"], one["text"]) for one in result["commands"]] == [
        (0, here, "export MODE=fast TOKEN=ghp_0123456789abcdefghijklmnopqrstuvwxyz"),
        (0, here, ". ./env.sh"),
        (0, here, "export TWO=$'a\\nb' PATH=/opt/x:$PATH"),
        (0, here, "for i in 1 2\ndo echo n$i\ndone"),
        (1, here, "cd /usr; false"),
        (0, "/usr", "trap 'echo mine' EXIT"),
        (0, "/usr", "bash -c 'export NESTED=1'; export BYTES=$'\\xff'"),
        (0, "/usr", "set -e"),
    ]
    assert [path for path in result["changes"] if path != "/"] == ["/new"]


def test_history_is_the_users_alone_and_goes_on_in_the_next_container(user):
    child = user.terminal()
    prompted(child)
    typed(child, "echo o''ne")
    child.send("bash\r")  # a shell in the shell keeps its history there, too
    child.expect(r"root@\S+# ")
    child.send("export INNER=1\r")
    child.expect(r"root@\S+# ")
    child.send("exit\r")
    prompted(child)
    child.sendline("exit")
    assert settled(child) == 0
    first = user.result()["container"]
    assert [path for path in user.result()["changes"] if path != "/"] == []
    assert user.result()["variables"] == {}
    assert {path.name for path in user.shared.iterdir()} == {"bashrc", "shrc", "history", "history.sh"}
    for path in user.shared.iterdir():
        found = path.stat()
        assert (found.st_uid, stat.filemode(found.st_mode)) == (UID, "-rw-------")
    child = user.terminal()
    prompted(child)
    assert "export INNER" in typed(child, "history")
    assert "one\r\n" in typed(child, "!echo")
    child.sendline("exit")
    assert settled(child) == 0
    result = user.result()
    assert result["container"] != first
    assert [one["text"] for one in result["commands"]] == ["history", "echo o''ne", "exit"]


def test_sh_of_busybox_says_the_same_as_bash(busybox):
    child = busybox.terminal()
    prompted(child)
    typed(child, "export MODE=fast")
    child.send("for i in 1 2\rdo echo n$i\rdone\r")
    child.expect_exact("n2")
    prompted(child)
    typed(child, "cd /usr; false")
    assert "1\r\n" in typed(child, "echo $?")
    child.sendline("exit 4")
    assert settled(child) == 4
    result, here = busybox.result(), str(busybox.project)
    assert result["variables"] == {"MODE": "fast"}
    assert [(one["status"], one["cwd"], one["text"]) for one in result["commands"]] == [
        (0, here, "export MODE=fast"),
        (0, here, "for i in 1 2\ndo echo n$i\ndone"),
        (1, here, "cd /usr; false"),
        (0, "/usr", "echo $?"),
        (4, "/usr", "exit 4"),
    ]


def test_sh_without_a_history_still_exports(own_docker):
    """dash."""
    bases = Bases(own_docker)
    name = bases.built("debian-nobash", f"FROM {bases.debian()}\nRUN rm /bin/bash\n")
    with visitor(own_docker, name) as one:
        child = one.terminal()
        prompted(child)
        assert "1\r\n" in typed(child, "export MODE=fast; false") + typed(child, "echo $?")
        child.sendline("exit 4")
        assert settled(child) == 4
        assert (one.result()["variables"], one.result()["commands"]) == ({"MODE": "fast"}, [])


def test_pipes_carry_bytes_and_the_commands_status(debian):
    data = os.urandom(3_000_000)
    line = "cat; echo e''rror >&2; test -t 0 || exit 5"
    done = debian.piped(line, stdin=data)
    assert (done.returncode, done.stdout == data, done.stderr) == (5, True, done.stderr)
    assert b"error\n" in done.stderr
    words = debian.piped("printf", "%s|", "a b", "$HOME", "'")
    assert (words.returncode, words.stdout) == (0, b"a b|$HOME|'|")
    assert debian.result()["variables"] == {}
    assert debian.containers() == []


def test_pipe_that_is_closed_ends_the_command(debian):
    line = f"{sys.executable} {Path(__file__).with_name('visitor.py')} yes | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"{line}; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        env=debian.environment(),
        check=True,
        timeout=60,
    )
    assert done.stdout == b"y\n141\n"


def test_command_in_a_terminal_has_one(debian):
    child = debian.terminal("test -t 0 && stty size; exit 6")
    child.expect_exact("30 100")
    assert settled(child) == 6


def test_container_that_is_removed_ends_the_visit_in_a_line(debian):
    child = debian.terminal()
    before = modes(child)
    prompted(child)
    assert modes(child) != before
    client = debian.docker.client()
    client.api.remove_container(client.api.containers()[0]["Id"], force=True)
    client.close()
    child.expect(r"womm: the testbed's container womm-testbed-\S+ [^\r\n]+\r\n")
    assert settled(child) == 254


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_the_visit_and_restores_the_terminal(debian, number):
    child = pexpect.spawn(
        "/bin/sh", cwd=str(debian.project), env=debian.environment(TERM="xterm"), timeout=60
    )
    child.sendline(f"{sys.executable} {Path(__file__).with_name('visitor.py')}; echo st''atus $?; stty -a")
    child.expect(r"testbed:\S*# ")
    children = subprocess.run(["pgrep", "-P", str(child.pid)], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout.split()[0]), number)
    child.expect_exact(f"status {128 + number}".encode())
    child.expect(rb" icanon")
    child.sendline("exit")
    child.expect(pexpect.EOF)
    child.close()
    assert debian.containers() == []


def test_terminal_that_is_closed_ends_the_visit(debian):
    child = debian.terminal()
    prompted(child)
    os.close(child.child_fd)  # as a window that is closed
    child.child_fd = -1
    child.closed = True
    deadline = time.monotonic() + 20
    while child.isalive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (child.isalive(), child.exitstatus) == (False, 129)
    assert debian.containers() == []


def test_visit_after_a_kill_goes_on_with_what_was_typed_and_exported(debian):
    child = debian.terminal()
    prompted(child)
    typed(child, "export MODE='fa st'")
    typed(child, "touch /installed")
    child.kill(signal.SIGKILL)
    child.expect(pexpect.EOF)
    child.close()
    [container] = debian.containers()
    assert debian.piped("left", VISIT_KEEP="1").returncode == 0
    known = debian.result()
    assert known["variables"] == {"MODE": "fa st"}
    assert [one["text"] for one in known["commands"]] == ["export MODE='fa st'", "touch /installed"]
    child = debian.terminal()
    prompted(child)
    assert "fa st" in typed(child, 'echo "$MODE"; ls /installed; ps ax 2>/dev/null | cat')
    child.sendline("export MORE=1; exit")
    assert settled(child) == 0
    result = debian.result()
    assert result["container"] == container
    assert result["variables"] == {"MODE": "fa st", "MORE": "1"}
    assert len(result["commands"]) == 4
    assert debian.containers() == []


@contextmanager
def relay(one: Visitor, listen: str) -> Iterator[None]:
    """Another way to the engine; leaving cuts all connections."""
    words = ["socat", f"{listen},fork", f"UNIX-CONNECT:{one.docker.host.removeprefix('unix://')}"]
    process = subprocess.Popen(words, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_engine_that_goes_away_ends_the_visit_in_a_line(debian, place):
    with relay(debian, f"UNIX-LISTEN:{place}/relay"):
        until_there(place / "relay")
        child = debian.terminal(VISIT_HOST=f"unix://{place}/relay")
        prompted(child)
        (place / "relay").unlink()
    child.expect(r"womm: [^\r\n]+\r\n")
    assert settled(child) == 254
    assert debian.piped("left").returncode == 0  # removes the container


def until_there(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_engine_of_another_machine_gives_the_same_without_the_folder(user):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with relay(user, f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr"):
        for number in (1, 2):
            child = user.terminal(VISIT_HOST=f"tcp://127.0.0.1:{port}")
            prompted(child)
            typed(child, "export MODE=fast" if number == 1 else "\x1b[A\x1b[A")
            child.sendline("exit 3")
            assert settled(child) == 3
            result = user.result()
            assert result["variables"] == {"MODE": "fast"}
            assert [one["text"] for one in result["commands"]][-2:] == ["export MODE=fast", "exit 3"]
            assert [path for path in result["changes"] if path != "/"] == []

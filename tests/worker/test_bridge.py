"""The bridge between an exec's stdin and stdout and an agent's socket."""

import os
import select
import socket
import subprocess
import threading

import pytest

from tests.link.wires import PERL, PERL_BASE
from womm import worker

GREETING = b"womm bridge\n"
BIG = bytes(range(256)) * 40_000


@pytest.fixture
def listener(womm_home):
    with socket.socket(socket.AF_UNIX) as found:
        found.bind(str(womm_home.runtime / "agent"))
        found.listen()
        found.settimeout(30)
        yield found


def bridge(path):
    return subprocess.Popen(
        [PERL, PERL_BASE, str(worker.BRIDGE), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def received(peer, size):
    data = b""
    while len(data) < size and (more := peer.recv(65536)):
        data += more
    return data


def test_bytes_pass_both_ways_at_once_and_none_is_lost(listener, womm_home):
    with bridge(womm_home.runtime / "agent") as process:
        peer, _ = listener.accept()
        with peer:
            sender = threading.Thread(target=lambda: (process.stdin.write(BIG), process.stdin.flush()))
            answerer = threading.Thread(target=peer.sendall, args=(BIG[::-1],))
            sender.start()
            answerer.start()
            got = [b"", b""]
            reader = threading.Thread(
                target=lambda: got.__setitem__(0, process.stdout.read(len(GREETING + BIG)))
            )
            reader.start()
            got[1] = received(peer, len(BIG))
            for thread in (sender, answerer, reader):
                thread.join(30)
        assert got == [GREETING + BIG[::-1], BIG]
        assert process.wait(10) == 0
        assert process.stderr.read() == b""


def test_what_nobody_reads_is_not_taken(listener, womm_home):
    """Its memory is bounded: the sender waits."""
    with bridge(womm_home.runtime / "agent") as process:
        peer, _ = listener.accept()
        with peer:
            os.set_blocking(process.stdin.fileno(), False)
            taken = 0
            while taken < 8 << 20:
                try:
                    taken += os.write(process.stdin.fileno(), bytes(65536))
                except BlockingIOError:
                    if taken and not _grows(process.stdin.fileno()):
                        break
            assert taken < 4 << 20
        process.stdin.close()
        assert process.wait(10) == 0


def _grows(fd):
    """Whether the pipe takes more within a moment."""
    return bool(select.select([], [fd], [], 0.5)[1])


def test_agent_that_does_not_listen_yet_is_waited_for(womm_home):
    path = womm_home.runtime / "agent"
    with bridge(path) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)  # time in which it could be wrong
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(30)
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"hello")
                assert process.stdout.read(len(GREETING) + 5) == GREETING + b"hello"
        assert process.wait(10) == 0


@pytest.mark.slow
def test_agent_that_never_listens_is_one_line(womm_home):
    with bridge(womm_home.runtime / "agent") as process:
        assert process.wait(30) != 0
        assert process.stdout.read() == b""
        (line,) = process.stderr.read().decode().splitlines()
        assert line.startswith("womm bridge: no agent at ")


@pytest.mark.parametrize("side", ["stdin", "agent"])
def test_end_of_either_side_ends_it(listener, womm_home, side):
    with bridge(womm_home.runtime / "agent") as process:
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"last words")
            assert process.stdout.read(len(GREETING)) == GREETING
            if side == "stdin":
                assert process.stdout.read(10) == b"last words"
                process.stdin.close()
            else:
                peer.close()
                assert process.stdout.read() == b"last words"
        assert process.wait(10) == 0

"""The agent's own life: its end, its coordinator's silence, memory that runs out, strangers and garbage."""

import asyncio
import os
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.link.wires import PERL, agent, linked
from tests.loop import run
from tests.worker.agents import alone, wait_gone
from womm import worker
from womm.link.frames import (
    EndKind,
    FrameType,
    RunRequest,
    User,
    decode_ready,
    encode_run,
)
from womm.link.session import HELLO_SIZE, Session

# ---- the end of an agent


@pytest.mark.parametrize("first", ["oom_kill 3\n", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"])
@pytest.mark.parametrize("how", ["kill -9 $$", "sh -c 'kill -9 $$'; exit", "exit 137"])
async def test_job_that_dies_while_the_counter_of_oom_kills_grows_is_named(place, first, how):
    """The job itself may be killed, or what its shell runs: then the shell says 137."""
    counter = place / "counter"
    counter.write_text(first)

    async with alone(place, "--oom-counters", f"/no/such:{counter}") as (_, to):
        killed = await to.run(how)
        assert killed.kind in {EndKind.EXITED, EndKind.SIGNALED}  # by somebody, not for memory
        killed = await to.run(f"echo oom_kill 4 >{counter}; {how}")
        assert (killed.kind, killed.value) in {(EndKind.OOM_KILLED, 9), (EndKind.OOM_KILLED, 137)}
        fine = await to.run(f"echo oom_kill 5 >{counter}; exit 1")
        assert (fine.kind, fine.value) == (EndKind.EXITED, 1)


async def test_counter_of_oom_kills_that_is_missing_changes_nothing(place):
    (place / "other").write_text("max 3\n")

    async with alone(place, "--oom-counters", f"/no/such:{place}/other") as (_, to):
        killed = await to.run("kill -9 $$")
        assert (killed.kind, killed.value) == (EndKind.SIGNALED, 9)


async def test_heartbeat_is_touched_while_the_coordinator_is_heard_and_a_signal_is_no_success(place):
    beat = place / "beat"
    with agent(place, "--heartbeat", str(beat)) as process:
        assert not beat.exists()
        async with linked(process.socket) as to:
            await to.run(None, argv=(b"true",))
            assert beat.exists()
        process.process.terminate()
        assert process.process.wait(10) == 143


def test_heartbeat_agent_that_nobody_calls_ends_with_success(place):
    with agent(place, "--heartbeat", str(place / "beat"), "--orphan-timeout", "1") as process:
        assert process.process.wait(20) == 0


def test_orphan_timeout_ends_agent_and_jobs(place):
    async def main(process):
        async with linked(process.socket) as to:
            job = to.start("trap '' TERM; sleep 1000 & echo $$ $!; wait; sleep 1000")
            await to.seen.until(lambda: to.seen.out(job), "its children")
            return list(map(int, to.seen.out(job).split()))

    with agent(place, "--orphan-timeout", "1") as process:
        pids = run(main(process))
        assert process.process.wait(20) == 0
        for pid in pids:
            wait_gone(pid)
        assert process.process.stderr is not None
        assert process.process.stderr.read() == "womm agent: no coordinator for 1 s: ending\n"
        assert not process.socket.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root says which number the next process has")
def test_end_of_an_agent_spares_who_has_got_the_number_of_a_group_that_is_gone(place):
    last = Path("/proc/sys/kernel/ns_last_pid")

    def is_there(group):
        with suppress(ProcessLookupError):
            os.killpg(group, 0)
            return True
        return False

    def take(number):
        """Start a process of this number, in a group of its own; others may come in between."""
        for _ in range(100):
            last.write_text(str(number - 1))
            other = subprocess.Popen(["sleep", "1000"], start_new_session=True)
            if other.pid == number:
                return other
            other.kill()
            other.wait()
        raise AssertionError(f"{number} is taken")

    async def main(process):
        async with linked(process.socket) as to:
            job = to.start("sleep 0.5 >/dev/null 2>&1 & echo $$")
            await to.seen.until(lambda: to.seen.out(job), "its number")
            group = int(to.seen.out(job))
            os.killpg(group, 0)
            while is_there(group):
                await asyncio.sleep(0.1)
            await asyncio.sleep(2.5)  # the agent looks every second
            return group

    with agent(place) as process:
        other = take(run(main(process)))
        try:
            process.process.terminate()
            process.process.wait(20)
            assert other.poll() is None
        finally:
            other.kill()
            other.wait()


def test_orphan_timeout_of_an_agent_that_nobody_called(place):
    with agent(place, "--orphan-timeout", "1") as process:
        assert process.process.wait(20) == 0


async def test_orphan_timeout_does_not_end_an_agent_with_a_coordinator(place):
    async with alone(place, "--orphan-timeout", "1") as (_, to):
        assert (await to.run("sleep 2.5; exit 3")).value == 3


def test_strangers_do_not_count_as_a_coordinator(place):
    with agent(place, "--orphan-timeout", "1") as process, socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(process.socket))
        stranger.send(b"GET / HTTP/1.0\r\n")
        assert process.process.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sigterm_ends_jobs_and_sends_no_end_records(place, number):
    """A job that dies with its worker has not ended by itself: it runs again elsewhere."""

    async def main(process):
        async with linked(process.socket) as to:
            for _ in range(20):
                to.start("sleep 1000")
            await to.seen.until(lambda: len(to.seen.started) == 20, "20 jobs")
            process.process.send_signal(number)
            await to.link.drain(20)
            assert to.seen.ends == {}
            return [pid for (pid,) in to.seen.started.values()]

    with agent(place) as process:
        pids = run(main(process))
        assert process.process.wait(20) == 0
        for pid in pids:
            wait_gone(pid)


async def test_agent_whose_starter_is_killed_ends_with_its_jobs(place):
    """Only Linux has a starter. What it did last is not known, so this worker counts as lost."""
    async with alone(place) as (process, to):
        pid = await to.seen.pid(to.start("sleep 1000"))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        (starter,) = {int(child) for child in children} - {pid}
        os.kill(starter, signal.SIGKILL)
        assert process.process.wait(20) == 1
        wait_gone(pid)
        assert to.seen.ends == {}


async def test_hangup_and_broken_pipes_do_not_end_it(place):
    async with alone(place) as (process, to):
        for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD):
            process.process.send_signal(number)
        assert (await to.run("exit 3")).value == 3


async def test_end_waits_for_jobs_that_clean_up(place):
    async with alone(place) as (process, to):
        job = to.start(
            "trap 'sleep 0.3; echo > cleaned; exit' TERM; echo ready; while :; do sleep 0.02; done"
        )
        await to.seen.until(lambda: to.seen.out(job), "its trap")
        await to.link.bye(10, 20)
        assert process.process.wait(20) == 0

    assert (place / "cleaned").exists()


# ---- strangers and garbage


@pytest.mark.parametrize("words", [b"GET / HTTP/1.0\r\n\r\n", b"\0" * 70_000, b"\0WOMM\xf1\r\n", b""])
async def test_garbage_from_a_stranger_harms_nobody(place, words):
    async with alone(place) as (process, to):
        for hang_up in (True, False):
            stranger = socket.socket(socket.AF_UNIX)
            stranger.connect(str(process.socket))
            try:
                stranger.sendall(words)
            except BrokenPipeError:
                pass
            if hang_up:
                stranger.close()
            assert (await to.run("exit 3")).value == 3
            stranger.close()
        assert to.seen.calls == ["up"]


def test_stranger_of_another_version_is_answered_and_dropped(place):
    with agent(place) as process, socket.socket(socket.AF_UNIX) as stranger:
        session = Session(bytes(range(1, 17)))
        session.connection_made()
        hello = bytearray(session.data_to_send())
        hello[9] = 99
        stranger.settimeout(30)
        stranger.connect(str(process.socket))
        stranger.sendall(hello)
        answer = b""
        while data := stranger.recv(100):
            answer += data
        assert len(answer) == HELLO_SIZE
        assert answer[10:26] == bytes(16)


def test_hello_byte_by_byte_with_noise_before_it(place):
    with agent(place) as process, socket.socket(socket.AF_UNIX) as peer:
        session = Session(bytes(range(1, 17)))
        session.connection_made()
        peer.settimeout(30)
        peer.connect(str(process.socket))
        request = encode_run(1, RunRequest(b"echo hello"))
        session.send(request)
        for byte in b"Last login: today\r\n" + session.data_to_send() + request:
            peer.send(bytes([byte]))
        kinds = []
        while FrameType.ENDED not in kinds:
            for kind, _, payload in session.receive_data(peer.recv(4096)):
                kinds.append(kind)
                if kind == FrameType.READY:
                    assert decode_ready(payload) == User(os.geteuid(), os.getegid())
        assert [kind for kind in kinds if kind != FrameType.STARTED] == [
            FrameType.READY,
            FrameType.OUT,
            FrameType.ENDED,
        ]


@pytest.mark.parametrize(
    "words, text",
    [
        ([], "--socket is missing"),
        (["--no-such", "1"], "unknown option no-such"),
        (["--socket"], "unknown option socket"),
        (["--socket", "/no/such/folder/s"], "bind /no/such/folder/s: No such file or directory"),
    ],
)
def test_bad_options_give_one_line(words, text):
    done = subprocess.run(
        [PERL, str(worker.AGENT), *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr == f"womm agent: {text}\n"

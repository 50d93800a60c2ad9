"""The agent, real, over a real link: jobs, their input and output, their end; terminals."""

import asyncio
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.link.wires import PERL, PERL_BASE, Wire, agent, linked, sleepers, unique_sleep
from tests.soak import count
from tests.worker.agents import alone, wait_gone
from womm import worker
from womm.link.frames import (
    STDIN_CHUNK,
    WINDOW,
    EndKind,
    FrameType,
    RunRequest,
    encode,
    encode_resize,
    encode_run,
    encode_signal,
)

NAP = unique_sleep(1)
MEMORY_KIB = 40 * 1024
"""Far more than an agent needs (10 MiB), far less than what these tests push at it."""


# ---- what a job gets and gives


@pytest.mark.parametrize(
    "command, value, out, err",
    [
        ("true", 0, b"", b""),
        ("echo a; echo b >&2; exit 7", 7, b"a\n", b"b\n"),
        ("exit 255", 255, b"", b""),
        ("printf 'a\\0b'", 0, b"a\0b", b""),
        ('echo "$0" \'x  y\' "$HOME"', 0, None, b""),
        ("", 0, b"", b""),
        ("cat", 0, b"", b""),  # no stdin: at its end at once
        ("a=1\necho $a\n", 0, b"1\n", b""),
        ("echo é\\\\", 0, "é\\\n".encode(), b""),
    ],
)
async def test_job_status_and_output(place, command, value, out, err):
    async with alone(place) as (_, to):
        record = await to.run(command)
        assert (record.kind, record.value, record.text) == (EndKind.EXITED, value, "")
        assert out is None or to.seen.out(1) == out
        assert to.seen.out(1, 2) == err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGHUP])
async def test_job_that_dies_of_a_signal_is_told_as_such(place, number):
    async with alone(place) as (_, to):
        record = await to.run(f"ulimit -c 0; echo x; kill -{int(number)} $$; sleep 1000")
        assert (record.kind, record.value) == (EndKind.SIGNALED, number)
        assert to.seen.out(1) == b"x\n"


async def test_job_signals_are_the_default_again(place):
    """The agent has handlers for these; a job that ignored SIGPIPE would never end."""

    async with alone(place) as (_, to):
        await to.run("exec cat /proc/self/status")  # grep has a handler of its own
        masks = re.findall(rb"Sig(?:Ign|Cgt|Blk):\s*(\w+)", to.seen.out(1))
        assert len(masks) == 3
        # Signals 1 to 31: the C library's own, 32 and 33, come ignored from a parent that used posix_spawn.
        assert {int(mask, 16) & 0x7FFFFFFF for mask in masks} == {0}
        assert (await to.run("yes | head -n 1")).value == 0


async def test_job_environment_folder_niceness_and_words(place):
    (place / "sub dir").mkdir()

    async with alone(place, env={"GONE": "1", "KEPT": "2"}) as (_, to):
        await to.run(
            'printf "%s|" "$A" "$B" "${GONE-unset}" "$KEPT" "$(pwd)" "$(nice)"',
            env={b"A": b"1=2\n", b"B": b""},
            unset=(b"GONE",),
            folder=os.fsencode(place / "sub dir"),
            nice=5,
        )
        assert to.seen.out(1) == b"1=2\n||unset|2|%s|5|" % os.fsencode(place / "sub dir")
        await to.run(None, argv=(b"printf", b"%s|", b"a b", b"", b"$HOME"))
        assert to.seen.out(2) == b"a b||$HOME|"
        assert (await to.run("echo $$; ps -o sid= -p $$")).value == 0
        pid, sid = to.seen.out(3).split()
        assert pid == sid == b"%d" % (await to.seen.pid(3))


@pytest.mark.parametrize(("folder", "home"), [("", ""), ("missing", "/spare")])
async def test_jobs_have_a_spare_home_where_theirs_is_no_folder_to_write_into(place, folder, home):
    async with alone(place, env={"HOME": str(place / folder), "WOMM_SPARE_HOME": "/spare"}) as (_, to):
        await to.run('echo "$HOME" "${WOMM_SPARE_HOME-unset}"')
        assert to.seen.out(1).decode() == f"{home or place} unset\n"


async def test_job_shell_is_the_one_asked_for(place):
    bash = shutil.which("bash")
    assert bash

    async with alone(place, "--shell", bash) as (_, to):
        await to.run("echo ${BASH_VERSION:+bash} $0")
        assert to.seen.out(1) == b"bash %s\n" % bash.encode()
        job = to.start(None, stdin=True)  # no command: the shell itself
        await to.feed(job, [b"echo from stdin\nexit 9\n"])
        assert (await to.seen.end(job)).value == 9
        assert to.seen.out(job) == b"from stdin\n"


async def test_job_descriptors_are_0_1_and_2_alone(place):
    async with alone(place) as (_, to):
        waiting = to.start("sleep 1000")  # its pipes must not be its neighbour's
        await to.seen.pid(waiting)
        await to.run("exec ls /proc/self/fd", stdin=True)
        assert to.seen.out(2).split() == [b"0", b"1", b"2", b"3"]  # 3: the folder itself


async def test_jobs_side_by_side_keep_their_bytes_apart(place):
    async with alone(place) as (_, to):
        jobs = [to.start(f"for i in 1 2 3 4 5; do echo {n}.$i; echo e{n} >&2; done") for n in range(20)]
        for n, job in enumerate(jobs):
            await to.seen.end(job)
            assert to.seen.out(job) == b"".join(b"%d.%d\n" % (n, i) for i in range(1, 6))
            assert to.seen.out(job, 2) == b"e%d\n" % n * 5


async def test_end_record_counts_bytes_and_usage(place):
    async with alone(place) as (_, to):
        command = (
            f"{PERL} -e 'my $x = q(x) x 50_000_000; my $t = time;"
            " 1 until (times)[0] > 0.3; print q(o) x 1000; print STDERR q(e) x 10'"
        )
        record = await to.run(command)
        assert (record.out_bytes, record.err_bytes) == (1000, 10)
        assert 250_000 <= record.utime_us <= 60_000_000
        assert 0 <= record.stime_us <= 60_000_000
        assert 48_000 <= record.maxrss_kib <= 500_000
        small = await to.run("true")
        assert small.utime_us < record.utime_us
        assert 0 < small.maxrss_kib < 48_000


async def test_output_into_files_is_appended_counted_and_not_sent(place):
    async with alone(place) as (_, to):
        out, err = place / "out", place / "err"
        out.write_bytes(b"before\n")
        err.write_bytes(b"")
        files = {"stdout": os.fsencode(out), "stderr": os.fsencode(err)}
        record = await to.run("echo out; echo err >&2; printf more; exit 3", **files)
        assert (record.kind, record.value) == (EndKind.EXITED, 3)
        assert (record.out_bytes, record.err_bytes) == (8, 4)
        assert (out.read_bytes(), err.read_bytes()) == (b"before\nout\nmore", b"err\n")
        assert to.seen.out(1) == to.seen.out(1, 2) == b""
        # What a job, or somebody else, makes shorter than it was counts as nothing.
        record = await to.run(f": > {out}; echo x", **files)
        assert (record.out_bytes, record.err_bytes) == (0, 0)
        assert out.read_bytes() == b"x\n"


async def test_output_into_a_file_that_cannot_be_opened_is_sent(place):
    async with alone(place) as (_, to):
        err = place / "err"
        err.touch()
        record = await to.run("echo out; echo err >&2", stdout=b"/nowhere/out", stderr=os.fsencode(err))
        assert (record.out_bytes, record.err_bytes) == (4, 4)
        assert (to.seen.out(1), to.seen.out(1, 2), err.read_bytes()) == (b"out\n", b"", b"err\n")


# ---- jobs that cannot start


async def test_missing_folder_ends_with_127_and_a_text(place):
    async with alone(place) as (_, to):
        record = await to.run("echo x", folder=b"/no/such/folder")
        assert (record.kind, record.value) == (EndKind.EXITED, 127)
        assert to.seen.out(1, 2) == b"womm: /no/such/folder: No such file or directory\n"
        assert to.seen.out(1) == b""


async def test_missing_shell_and_program_end_with_127_and_a_text(place):
    async with alone(place, "--shell", "/no/shell") as (_, to):
        assert (await to.run("echo x")).value == 127
        assert to.seen.out(1, 2) == b"womm: /no/shell: No such file or directory\n"
        assert (await to.run(None, argv=(b"/no/program", b"x"))).value == 127
        assert to.seen.out(2, 2) == b"womm: /no/program: No such file or directory\n"


async def test_command_too_long_for_the_system_ends_with_127_and_a_text(place):
    async with alone(place) as (_, to):
        fits = "true " + "x" * 100_000
        assert (await to.run(fits)).value == 0
        assert (await to.run("true " + "x" * 140_000)).value == 127
        assert b"Argument list too long" in to.seen.out(2, 2)
        assert (await to.run("exit 1")).value == 1


async def test_no_process_left_gives_not_started_and_the_agent_goes_on(place):
    """fork(2) fails: RLIMIT_NPROC does not bind root, a limit on descriptors binds everybody."""

    async with alone(place) as (process, to):
        limit = len(list(Path(f"/proc/{process.pid}/fd").iterdir())) + 1
        import resource

        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (limit, hard))
        record = await to.run("echo x")
        assert record.kind is EndKind.NOT_STARTED
        assert record.text == "pipe: Too many open files"
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        assert (await to.run("exit 5")).value == 5


# ---- flow control


async def test_consumer_that_stops_holds_the_job_up_and_the_agents_memory_down(place):
    size = count(30 << 20, 200 << 20)

    async with alone(place) as (process, to):
        to.seen.held.add(1)
        job = to.start(f"head -c {size} /dev/zero; echo done > done")
        await to.seen.until(lambda: to.seen.sizes.get((job, 1)) == WINDOW, "a window of output")
        assert (await to.run("echo others go on")).value == 0
        assert to.seen.sizes[job, 1] == WINDOW
        assert not (place / "done").exists()
        assert process.memory_kib() < MEMORY_KIB
        to.seen.held.clear()
        to.seen.release(to.link, job)
        assert (await to.seen.end(job)).out_bytes == size
        assert process.memory_kib() < MEMORY_KIB


async def test_many_jobs_whose_consumer_stops_stay_within_their_windows(place):
    jobs = 20

    async with alone(place) as (process, to):
        to.seen.held.update(range(1, jobs + 1))
        for _ in range(jobs):
            to.start("yes & yes >&2")
        await to.seen.until(lambda: sum(to.seen.sizes.values()) == 2 * jobs * WINDOW, "all windows full")
        assert process.memory_kib() < MEMORY_KIB
        for job in range(1, jobs + 1):
            to.link.send(encode_signal(job, signal.SIGKILL))
        to.seen.held.clear()
        for job in range(1, jobs + 1):
            to.seen.release(to.link, job)
            assert (await to.seen.end(job)).kind is EndKind.SIGNALED


async def test_peer_that_takes_nothing_costs_no_cpu(place):

    with agent(place) as process:
        async with Wire(place / "wire", process.socket) as wire, linked(wire.path) as to:
            for _ in range(12):
                to.start("yes")
            await to.seen.until(lambda: len(to.seen.started) == 12, "the jobs")
            wire.freeze()
            settled = -1
            while settled != process.memory_kib():
                settled = process.memory_kib()
                await asyncio.sleep(0.5)
            before = process.cpu_ticks()
            await asyncio.sleep(1)  # the time that is measured
            used = process.cpu_ticks() - before
            wire.thaw()
            assert used < 0.3 * os.sysconf("SC_CLK_TCK")


async def test_stdin_a_job_does_not_read_is_held_back(place):
    async with alone(place) as (process, to):
        job = to.start("while [ ! -e go ]; do sleep 0.02; done; wc -c", stdin=True)
        data = bytes(STDIN_CHUNK)
        feeding = asyncio.ensure_future(to.feed(job, [data] * 100))
        await to.seen.until(lambda: to.seen.stdin_credit.get(job) == 0, "no credit left")
        # A pipe holds 64 KiB: beyond it and the window nothing was taken.
        assert sum(to.seen.stdin_credit.values()) == 0
        assert process.memory_kib() < MEMORY_KIB
        (place / "go").touch()
        await to.seen.end(job)
        await feeding
        assert to.seen.out(job) == b"%d\n" % (100 * STDIN_CHUNK)


async def test_stdin_of_a_job_that_closes_it_is_taken_and_dropped(place):
    async with alone(place) as (_, to):
        job = to.start("exec <&-; while [ ! -e go ]; do sleep 0.02; done; echo done", stdin=True)
        await to.feed(job, [bytes(STDIN_CHUNK)] * 100)  # would wait for ever if it were kept
        (place / "go").touch()
        assert (await to.seen.end(job)).value == 0
        assert to.seen.out(job) == b"done\n"


async def test_stdin_of_a_job_that_ends_early_disturbs_nobody(place):
    async with alone(place) as (_, to):
        job = to.start("head -c 10 | wc -c", stdin=True)
        await to.feed(job, [bytes(STDIN_CHUNK)] * 100)
        assert (await to.seen.end(job)).value == 0
        assert to.seen.out(job) == b"10\n"
        to.link.send(encode(FrameType.STDIN_DATA, job, b"late"))
        to.link.send(encode(FrameType.STDIN_END, job))
        to.link.send(encode_signal(job, 15))
        to.link.send(encode_resize(job, 1, 1))
        assert (await to.run("exit 2")).value == 2


async def test_stdin_large_reaches_the_job_whole(place):
    size = count(20 << 20, 100 << 20)
    block = hashlib.sha512(b"seed").digest() * 1024

    async with alone(place) as (process, to):
        job = to.start("sha256sum", stdin=True)
        await to.feed(job, [block] * (size // len(block)))
        await to.seen.end(job)
        expected = hashlib.sha256()
        for _ in range(size // len(block)):
            expected.update(block)
        assert to.seen.out(job).split()[0].decode() == expected.hexdigest()
        assert process.memory_kib() < MEMORY_KIB


async def test_stdin_and_output_at_once_with_full_pipes_do_not_lock_up(place):
    async with alone(place) as (_, to):
        job = to.start("tee /dev/stderr", stdin=True)
        await to.feed(job, [bytes(STDIN_CHUNK)] * 80)
        record = await to.seen.end(job)
        assert (record.out_bytes, record.err_bytes) == (80 * STDIN_CHUNK, 80 * STDIN_CHUNK)


async def test_stdin_empty_is_at_its_end(place):
    async with alone(place) as (_, to):
        job = to.start("wc -c", stdin=True)
        await to.feed(job, [])
        await to.seen.end(job)
        assert to.seen.out(job) == b"0\n"


# ---- signals, and processes that a job leaves behind


async def test_signal_reaches_the_whole_process_group(place):
    async with alone(place) as (_, to):
        job = to.start(f"sleep {NAP} & sleep {NAP} | sleep {NAP} & echo $!; wait")
        await to.seen.until(lambda: to.seen.out(job), "its children")
        to.link.send(encode_signal(job, signal.SIGTERM))
        record = await to.seen.end(job)
        assert (record.kind, record.value) == (EndKind.SIGNALED, signal.SIGTERM)
        for pid in sleepers(NAP):
            wait_gone(pid)


async def test_signal_a_job_handles_is_the_jobs_business(place):
    async with alone(place) as (_, to):
        job = to.start("trap 'echo caught; exit 6' TERM; echo ready; while :; do sleep 0.02; done")
        await to.seen.until(lambda: to.seen.out(job) == b"ready\n", "its trap")
        to.link.send(encode_signal(job, signal.SIGTERM))
        assert (await to.seen.end(job)).value == 6
        assert to.seen.out(job) == b"ready\ncaught\n"


async def test_signal_stop_and_continue(place):
    async with alone(place) as (_, to):
        # Not a shell that starts others: one that is stopped in the middle of vfork(2) shows no "T".
        job = to.start(
            "exec perl -e 'while (1) { syswrite STDOUT, qq(x\n); select undef, undef, undef, 0.02 }'"
        )
        pid = await to.seen.pid(job)
        to.link.send(encode_signal(job, signal.SIGSTOP))
        async with asyncio.timeout(30):
            while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
                await asyncio.sleep(0.01)
        assert job not in to.seen.ends
        to.link.send(encode_signal(job, signal.SIGCONT))
        to.link.send(encode_signal(job, signal.SIGINT))
        record = await to.seen.end(job)
        assert (record.kind, record.value) == (EndKind.SIGNALED, signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_signal_right_after_the_start_is_not_lost(place, number):
    async with alone(place) as (_, to):
        jobs = []
        for _ in range(count(60, 1000)):
            to.last += 1
            request = RunRequest(None, argv=(b"sleep", b"1000"))
            to.link.send(encode_run(to.last, request) + encode_signal(to.last, number))
            jobs.append(to.last)
        try:
            await to.seen.until(lambda: len(to.seen.ends) == len(jobs), "all ends", 5)
        finally:
            for job in jobs:
                to.link.send(encode_signal(job, signal.SIGKILL))
            await to.seen.until(lambda: len(to.seen.ends) == len(jobs), "all ends")


async def test_process_left_behind_does_not_hold_up_the_end(place):
    async with alone(place) as (_, to):
        record = await to.run("sleep 1000 & echo $!; echo x")
        assert record.value == 0
        pid, word = to.seen.out(1).split()
        assert word == b"x"
        os.kill(int(pid), 0)  # it lives on, as under GNU parallel
        os.kill(int(pid), signal.SIGKILL)


async def test_process_left_behind_that_keeps_printing_does_not_hold_up_the_end(place):
    async with alone(place) as (_, to):
        job = to.start("yes & echo $! > pid; exit 3")
        try:
            await to.seen.until(lambda: job in to.seen.ends, "the end", 5)
        finally:
            os.kill(int((place / "pid").read_text()), signal.SIGKILL)
            record = await to.seen.end(job)
        assert record.value == 3


async def test_process_left_behind_can_go_on_writing(place):
    """Its pipe is read on and thrown away: it must not die of SIGPIPE, nor block."""

    async with alone(place) as (_, to):
        await to.run("(while [ ! -e go ]; do sleep 0.02; done; head -c 300000 /dev/zero; echo ok > ok) & :")
        sizes = dict(to.seen.sizes)
        (place / "go").touch()
        async with asyncio.timeout(30):
            while not (place / "ok").exists():
                await asyncio.sleep(0.01)
        assert (await to.run("true")).value == 0
        assert to.seen.sizes == sizes


async def test_output_just_before_the_end_is_whole(place):
    """Everything is in the pipe when the job has ended: it is read before the end is told."""

    async with alone(place) as (_, to):
        for _ in range(count(20, 500)):
            job = to.start(f"{PERL} -e 'print q(x) x 65536; print STDERR q(y) x 65536'")
            record = await to.seen.end(job)
            assert (record.out_bytes, record.err_bytes) == (65536, 65536)


async def test_agent_as_pid_1_reaps_zombies(place):
    """In a container orphans become the children of the agent."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("needs root for a pid namespace")
    path = place / "agent"
    words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", PERL, PERL_BASE]
    process = subprocess.Popen(
        [*words, str(worker.AGENT), "--socket", str(path)], stdout=subprocess.PIPE, text=True, cwd=place
    )

    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "womm agent: listening\n"
            async with linked(path) as to:
                await to.seen.until(lambda: to.seen.ready, "the agent's first words")
                assert b"pid=1\0" in to.seen.ready
                for _ in range(30):
                    await to.run("(setsid sh -c 'sleep 0.01; exit 3' &) ; exit 4")
                job = to.start(
                    "(sleep 1000 & echo $! > left) & while [ ! -s left ]; do sleep 0.02; done; echo $$"
                )
                assert (await to.seen.end(job)).value == 0
                check = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l"
                async with asyncio.timeout(30):
                    while True:
                        job = to.last + 1
                        await to.run(check)
                        if to.seen.out(job) == b"0\n":
                            break
                await to.link.bye(1, 20)
            assert process.wait(20) == 0
        finally:
            process.kill()


async def test_jobs_of_a_system_whose_calls_are_not_known_are_the_same_without_usage(place):
    """As on macOS: no system call of perl's syscall, no starter."""
    async with alone(place, system="other") as (_, to):
        record = await to.run('printf "%s" "$A"; echo e >&2; exit 7', env={b"A": b"1"}, folder=b"/")
        assert (record.kind, record.value, record.maxrss_kib) == (EndKind.EXITED, 7, 0)
        assert (to.seen.out(1), to.seen.out(1, 2)) == (b"1", b"e\n")
        job = to.start("cat; kill -9 $$", stdin=True)
        await to.feed(job, [b"x" * 300_000])
        record = await to.seen.end(job)
        assert (record.kind, record.value, record.out_bytes) == (EndKind.SIGNALED, 9, 300_000)
        job = to.start("sleep 1000")
        await to.seen.pid(job)
        to.link.send(encode_signal(job, signal.SIGTERM))
        assert (await to.seen.end(job)).value == signal.SIGTERM


# ---- terminals


async def test_terminal_size_resize_and_status(place):
    async with alone(place) as (_, to):
        job = to.start(
            "trap 'stty size' WINCH; tty; stty size; while [ ! -e go ]; do sleep 0.02; done; exit 4",
            terminal=(33, 101),
            stdin=True,
        )
        await to.seen.until(lambda: b"33 101" in to.seen.out(job), "its size")
        assert to.seen.out(job).startswith(b"/dev/pts/")
        to.link.send(encode_resize(job, 44, 55))
        await to.seen.until(lambda: b"44 55" in to.seen.out(job), "its new size")
        (place / "go").touch()
        record = await to.seen.end(job)
        assert (record.kind, record.value, record.err_bytes) == (EndKind.EXITED, 4, 0)


async def test_terminal_ctrl_c_ends_the_foreground_job_alone(place):
    async with alone(place) as (_, to):
        bash = shutil.which("bash")
        assert bash
        job = to.start(
            None,
            argv=(bash.encode(), b"--norc", b"--noprofile", b"-i"),
            env={b"PS1": b"$ ", b"HISTFILE": b""},
            terminal=(24, 80),
            stdin=True,
        )
        await to.seen.until(lambda: b"$ " in to.seen.out(job), "a prompt")
        to.link.send(encode(FrameType.STDIN_DATA, job, f"sleep {NAP}\r".encode()))
        async with asyncio.timeout(30):
            while not sleepers(NAP):  # before its exec, bash may overhear the Ctrl-C
                await asyncio.sleep(0.01)
        to.link.send(encode(FrameType.STDIN_DATA, job, b"\x03"))
        await to.seen.until(lambda: b"^C" in to.seen.out(job), "the interrupt")
        to.link.send(encode(FrameType.STDIN_DATA, job, b"echo status $?\r"))
        await to.seen.until(lambda: b"status 130" in to.seen.out(job), "the status")
        to.link.send(encode(FrameType.STDIN_DATA, job, b"exit 12\r"))
        assert (await to.seen.end(job)).value == 12


async def test_terminal_end_of_input_is_ctrl_d(place):
    async with alone(place) as (_, to):
        job = to.start("stty -echo; cat; echo over", terminal=(24, 80), stdin=True)
        await to.feed(job, [b"a line\n"])
        assert (await to.seen.end(job)).value == 0
        assert to.seen.out(job).endswith(b"a line\r\nover\r\n")


async def test_terminal_hangs_up_when_the_agent_ends(place):

    with agent(place) as process:
        async with linked(process.socket) as to:
            job = to.start("echo ready; sleep 1000", terminal=(24, 80), stdin=True)
            await to.seen.until(lambda: to.seen.out(job), "its first line")
            pid = await to.seen.pid(job)
        process.process.terminate()
        assert process.process.wait(20) == 0
        wait_gone(pid)


def test_agent_needs_no_module_beyond_perl_base(place):
    """Every agent of these tests runs so; here the check that the cut is real where it can be."""
    done = subprocess.run(
        [PERL, PERL_BASE, "-e", "print join ' ', @INC"], capture_output=True, text=True, check=True
    )
    folders = done.stdout.split()
    if sys.platform == "linux" and any("perl-base" in folder for folder in folders):
        assert len(folders) == 1

"""GNU parallel as a child of the coordinator: its jobs run in workers, and it says how it ended."""

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.dispatch.running import TASK, task
from tests.link.wires import PERL
from womm.engine.base import EngineHost
from womm.engine.gnu.engine import GnuOptions, open_gnu
from womm.engine.gnu.locate import locate
from womm.engine.gnu.options import read_options
from womm.engine.gnu.plan import plan_run
from womm.errors import FAILURE_STATUS, EngineError
from womm.journal.events import EngineStarted, JobStarted


def options(*words, shell="/bin/sh", **changes):
    plan = plan_run(read_options(words, PERL), slots=2, logins=False)
    return replace(GnuOptions(plan, locate({}), PERL, shell, direct=True), **changes)


@asynccontextmanager
async def opened(womm_home, tmp_path, given, **of_task):
    """A task with two workers, and its engine, which is not started; the folder is the task's."""
    async with task(womm_home.runtime, tmp_path, **of_task) as running:
        said = running.said
        host = EngineHost(
            TASK, womm_home.runtime, running.dispatcher, running.journal, 2, 1, said.append, lambda: None
        )
        async with open_gnu(given, host) as engine:
            yield engine, running


async def nobody_listens(runtime):
    """The files themselves go with the task's folder."""
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        await asyncio.open_unix_connection(str(runtime / "shims"))


@pytest.fixture(autouse=True)
def _no_stdin(monkeypatch):
    """GNU parallel has this process's stdin."""
    saved, null = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    yield
    os.dup2(saved, 0)
    os.close(saved)
    os.close(null)


@pytest.mark.parametrize("direct", [True, False])
async def test_jobs_run_in_the_workers_and_the_status_is_the_number_that_failed(womm_home, tmp_path, direct):
    given = options("echo $WOMM_POD >>pods; exit {}", ":::", "0", "3", "1", direct=direct)
    async with opened(womm_home, tmp_path, given) as (engine, running):
        assert repr(engine) == "<GnuEngine not started, 0 jobs>"
        await engine.start()
        assert engine.status(await engine.wait()) == 2
        assert repr(engine).endswith(" 3 jobs>")
        (started,) = running.events(EngineStarted)
        assert len(running.events(JobStarted)) == 3
        assert running.said == []
    assert started.argv[-4:] == (":::", "0", "3", "1")
    assert f"-j {womm_home.runtime}/width" in " ".join(started.argv)
    assert {*(tmp_path / "pods").read_text().split()} <= {f"{TASK}-0", f"{TASK}-1"}


async def test_engine_that_is_left_is_killed_with_its_socket(womm_home, tmp_path):
    given = options("touch begun{}; sleep 1000", ":::", "1", "2")
    async with opened(womm_home, tmp_path, given) as (engine, running):
        await engine.start()
        await running.until((tmp_path / "begun1").exists, "a job")
        (started,) = running.events(EngineStarted)
        assert Path(f"/proc/{started.pid}").exists()
    assert not Path(f"/proc/{started.pid}").exists()
    await nobody_listens(womm_home.runtime)


async def test_engine_that_is_never_started_leaves_nothing(womm_home, tmp_path):
    async with opened(womm_home, tmp_path, options("echo", direct=False)) as (engine, _):
        assert (womm_home.runtime / "shims").is_socket()
        with pytest.raises(AssertionError, match="the engine is not started"):
            engine.signal(signal.SIGTERM)
    await nobody_listens(womm_home.runtime)


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGPIPE, 128 + signal.SIGPIPE, []),
        (signal.SIGKILL, FAILURE_STATUS, ["GNU parallel was ended by SIGKILL"]),
    ],
)
async def test_engine_that_a_signal_ends_is_said_but_for_a_reader_that_is_gone(
    womm_home, tmp_path, number, status, said
):
    async with opened(womm_home, tmp_path, options("echo", ":::", "1")) as (engine, running):
        assert engine.status(-number) == status
        assert running.said == said


async def test_engine_whose_shim_is_gone_says_so(womm_home, tmp_path):
    async with opened(womm_home, tmp_path, options("echo", ":::", "1", direct=False)) as (engine, running):
        shim = womm_home.runtime / "bin" / "sh"
        shim.unlink()
        engine.status(-signal.SIGSEGV)
        assert running.said == [
            f"GNU parallel was ended by SIGSEGV: {shim}, which it starts for each job, is gone"
        ]


async def test_usr1_before_the_first_job_is_kept_from_the_engine(womm_home, tmp_path):
    """GNU parallel would die of it."""
    given = options("echo", ":::", "1")
    async with opened(womm_home, tmp_path, given) as (engine, _):
        engine.pass_on(signal.SIGUSR1)
        await engine.start()
        engine.pass_on(signal.SIGUSR2)
        async with asyncio.timeout(60):
            assert engine.status(await engine.wait()) == 0


async def test_usr1_after_the_first_job_has_the_engine_list_its_jobs(womm_home, tmp_path, capfd):
    given = options("echo begun >begun; while [ ! -e go ]; do sleep 0.02; done; : {}", ":::", "1")
    async with opened(womm_home, tmp_path, given) as (engine, running):
        await engine.start()
        await running.until((tmp_path / "begun").exists, "the job")
        shown = []

        def listed():
            engine.pass_on(signal.SIGUSR1)  # GNU parallel may not have noted yet that it has a job
            shown.append(capfd.readouterr().err)
            return "echo begun" in "".join(shown)

        await running.until(listed, "the list")
        (tmp_path / "go").touch()
        # As a status of the user's, of --halt: the shim was tried, so it is not start.pl's own.
        assert (engine.status(await engine.wait()), engine.status(254)) == (0, 254)


async def test_job_that_did_not_come_to_the_shim_is_an_error(womm_home, tmp_path):
    given = options("echo", ":::", "1", direct=False)
    async with opened(womm_home, tmp_path, given) as (engine, _):
        ended = womm_home.runtime / "ended"
        ended.write_text("2")
        with pytest.raises(EngineError, match="ended 2 jobs and 2 did not come to womm") as caught:
            engine.status(0)
        assert caught.value.hint == "womm doctor"
        for text in ("0", "", "x"):
            ended.write_text(text)
            assert engine.status(7) == 7
        with pytest.raises(EngineError, match="would not run in the workers: it cannot start"):
            engine.status(254)


async def test_engine_with_a_perl_that_is_gone_is_an_error(womm_home, tmp_path):
    given = options("echo", ":::", "1", perl="/no/such/perl")
    async with opened(womm_home, tmp_path, given) as (engine, running):
        with pytest.raises(EngineError, match="cannot start GNU parallel: No such file or directory"):
            await engine.start()
        assert running.events(EngineStarted) == []


async def test_gnu_parallel_that_lacks_what_is_replaced_starts_a_shim_for_each_job(
    womm_home, tmp_path, caplog
):
    """It has not begun before that is known: no job runs twice, and none is lost."""
    other = tmp_path / "parallel"
    known = locate({})
    other.write_bytes(known.path.read_bytes().replace(b"usleep", b"nap"))
    given = options("echo {} >>jobs", ":::", *"123", parallel=replace(known, path=other))
    caplog.set_level("INFO")
    async with opened(womm_home, tmp_path, given) as (engine, running):
        await engine.start()
        assert engine.status(await engine.wait()) == 0
        assert len(running.events(JobStarted)) == 3
    assert sorted((tmp_path / "jobs").read_text().split()) == ["1", "2", "3"]
    assert "jobs come by a shim each: GNU parallel lacks main::usleep" in caplog.text


async def test_gnu_parallel_whose_coordinator_hangs_up_logs_nothing_and_ends(womm_home, tmp_path, capfd):
    log = tmp_path / "log"
    given = options("--joblog", str(log), "touch begun{}; sleep 1000", ":::", "1", "2")
    async with opened(womm_home, tmp_path, given) as (engine, running):
        await engine.start()
        await running.until((tmp_path / "begun2").exists, "the jobs")
        assert engine._direct is not None
        engine._direct.close()
        async with asyncio.timeout(60):
            assert await engine.wait() == 255
    assert "womm's coordinator is gone" in capfd.readouterr().err
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["Seq"]


async def test_joblog_has_the_times_of_the_worker(womm_home, tmp_path):
    log = tmp_path / "log"
    given = options("--joblog", str(log), "--retries", "2", "exit {}", ":::", "0", "3")
    async with opened(womm_home, tmp_path, given) as (engine, running):
        await engine.start()
        assert engine.status(await engine.wait()) == 1
        begun = {event.seq: event.time for event in running.events(JobStarted)}
    lines = [line.split() for line in log.read_text().splitlines()[1:]]
    assert {int(line[0]): line[2] for line in lines} == {seq: f"{time:.3f}" for seq, time in begun.items()}
    assert all(float(line[3]) >= 0 for line in lines)


async def test_long_command_and_environment_come_whole(womm_home, tmp_path):
    text = "x" * 60_000
    given = options(f"echo {text} | wc -c >size; : ", ":::", "1")
    async with opened(womm_home, tmp_path, given) as (engine, _):
        await engine.start()
        assert engine.status(await engine.wait()) == 0
    assert (tmp_path / "size").read_text().split() == ["60001"]


@pytest.mark.parametrize("quiet", [False, True])
async def test_first_job_of_an_appended_argument_is_named_unless_quiet(womm_home, tmp_path, quiet):
    given = options("true", "1", ":::", "2", quiet=quiet)
    async with opened(womm_home, tmp_path, given) as (engine, running):
        await engine.start()
        await engine.wait()
        assert running.said == ([] if quiet else ["first job (no {}: appended): true 1 2"])


def test_traits_are_those_of_the_options():
    given = options("--joblog", "+log", "--resume-failed", "--timeout", "9", "echo").traits
    assert (given.joblog, given.resume, given.failed_again, given.has_timeout) == ("log", True, True, True)
    assert (given.total, given.needs_workers) == (None, False)
    given = options("echo", ":::", "1", "2").traits
    assert (given.joblog, given.resume, given.total, given.own_progress) == (None, False, 2, False)
    assert options("--return", "out", "echo").traits.needs_workers

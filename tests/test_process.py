"""Processes are signalled only when they are the ones that were meant."""

import os
import signal
import subprocess
import sys
import uuid

import pytest

from tests.cli.running import environment
from womm import process
from womm.process import (
    ProcessIdentity,
    end_marked,
    identify,
    is_alive,
    kill,
    marked,
    session_members,
)

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@pytest.fixture
def sleeper():
    child = subprocess.Popen(["sleep", "60"])
    yield child
    child.kill()
    child.wait()


def identity_of(child):
    identity = identify(child.pid)
    assert identity is not None
    return identity


def test_identify_is_the_same_twice_and_differs_between_processes(sleeper):
    assert identity_of(sleeper) == identify(sleeper.pid)
    me = identify(os.getpid())
    assert me is not None
    assert me.start != identity_of(sleeper).start or me.pid != sleeper.pid
    assert is_alive(me)


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**70])
def test_identify_what_is_no_process_gives_none(pid):
    assert identify(pid) is None
    assert not is_alive(ProcessIdentity(pid, "1"))
    assert not kill(ProcessIdentity(pid, "1"), signal.SIGKILL)


def test_is_alive_stopped_yes_zombie_no(sleeper):
    identity = identity_of(sleeper)
    sleeper.send_signal(signal.SIGSTOP)
    assert is_alive(identity)
    assert kill(identity, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert identify(sleeper.pid) == identity
    assert not is_alive(identity)
    assert not kill(identity, signal.SIGKILL)


def test_kill_another_start_time_is_not_signalled(sleeper):
    assert not kill(ProcessIdentity(sleeper.pid, "1"), signal.SIGKILL)
    assert is_alive(identity_of(sleeper))


@linux
@pytest.mark.parametrize("name", ["a) R 1 1 1 (b", "\n", "((("])
def test_identify_odd_names_are_read(tmp_path, name):
    program = tmp_path / name
    program.symlink_to("/bin/sleep")
    child = subprocess.Popen([program, "60"])
    try:
        assert is_alive(identity_of(child))
        assert session_members(os.getsid(0)).count(identity_of(child)) == 1
    finally:
        child.kill()
        child.wait()


def test_session_members_are_those_of_the_session(sleeper):
    leader = subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True)
    try:
        while len(members := session_members(leader.pid)) < 2:
            assert leader.poll() is None
        assert identity_of(leader) in members
        assert identity_of(sleeper) not in members
    finally:
        os.killpg(leader.pid, signal.SIGKILL)
        leader.wait()


@linux
def test_marked_needs_the_whole_name_and_value(sleeper):
    value = uuid.uuid4().hex
    child = subprocess.Popen(["sleep", "60"], env={**os.environ, "WOMM_TEST_A": value})
    try:
        identity = identity_of(child)
        while marked("WOMM_TEST_A", value) != [identity]:  # until it has called exec
            assert child.poll() is None
        assert marked("WOMM_TEST_A", value[:-1]) == []
        assert marked("TEST_A", value) == []
    finally:
        child.kill()
        child.wait()
    assert marked("WOMM_TEST_A", value) == []


@linux
def test_end_marked_catches_what_forks_and_leaves_its_session(sleeper):
    value = uuid.uuid4().hex
    breeder = "while :; do setsid sleep 60 & sleep 0.01; done"
    child = subprocess.Popen(
        ["sh", "-c", f"setsid sh -c '{breeder}' & echo; wait"],
        env={**os.environ, "WOMM_TEST_A": value},
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        child.stdout.readline()
        while len(marked("WOMM_TEST_A", value)) < 6:
            assert child.poll() is None
        assert end_marked("WOMM_TEST_A", value) >= 3  # some of the six were short-lived
        assert marked("WOMM_TEST_A", value) == []
    assert end_marked("WOMM_TEST_A", value) == 0
    assert is_alive(identity_of(sleeper))


@linux
def test_end_marked_ends_sessions_that_hide_the_mark():
    leader = subprocess.Popen(["env", "-i", "/bin/sleep", "60"], start_new_session=True)
    with leader:
        assert end_marked("WOMM_TEST_A", uuid.uuid4().hex, [leader.pid]) == 1
    assert leader.returncode == -signal.SIGKILL


@linux
def test_end_marked_spares_itself_and_its_ancestors():
    value = uuid.uuid4().hex
    script = (
        "import os\n"
        "from womm.process import end_marked\n"
        "print(end_marked('WOMM_TEST_A', os.environ['WOMM_TEST_A'], [os.getsid(0)]))\n"
    )
    command = ["sh", "-c", '"$0" -c "$1"; echo $?', sys.executable, script]
    env = {**os.environ, "WOMM_TEST_A": value}
    result = subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, start_new_session=True
    )
    assert (result.stdout, result.stderr, result.returncode) == ("0\n0\n", "", 0)


def test_ps_agrees_with_proc(sleeper):
    """What macOS uses works here, too."""
    (found,) = process._ask_ps("-p", str(sleeper.pid))
    assert found.identity.pid == sleeper.pid
    assert found.parent == os.getpid()
    assert found.session == os.getsid(0)
    assert len(process._ask_ps("-A")) > 1


_RAISED = """
import resource, sys
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
from womm.process import raise_file_limit
raise_file_limit()
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(hard, 65536), hard)
from womm.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere children have the raised one")
def test_jobs_have_the_limit_of_open_files_that_womm_was_started_with(womm_home):
    words = ["parallel", "--kube-pods", "1", "--", "echo $(ulimit -Sn) {}"]
    result = subprocess.run(
        [sys.executable, "-c", _RAISED, *words, ":::", "1"],
        capture_output=True,
        text=True,
        check=True,
        cwd=womm_home.home,
        env=environment(),
        timeout=60,
    )
    assert result.stdout.split() == ["256", "1"], result.stderr  # GNU parallel has the raised one

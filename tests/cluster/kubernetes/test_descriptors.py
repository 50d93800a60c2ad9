"""Descriptors of the caller, where the jobs are elsewhere: GNU parallel has them, womm keeps none."""

import os
import subprocess

import pytest

from tests.faults.tasks import WOMM, environment, wait_for

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("local", [[], ["--local-procs", "1"]])
def test_reader_of_a_callers_descriptor_waits_for_gnu_parallel_and_for_nothing_else(
    womm_home, tmp_path, project, local
):
    """With jobs on this machine these have it as well, and womm, which may start their worker again."""
    words = [*WOMM, "parallel", "--kube-pods", "1", *local, "--", "-k", "-u", "echo begun {}; sleep 2"]
    script = 'exec 7> >(cat); "$@" 7>&7 :::: <(seq 2)'
    with open(tmp_path / "out", "wb") as out, open(tmp_path / "err", "wb") as err:
        process = subprocess.Popen(
            ["bash", "-c", f"{script}; exit $?", "bash", *words],
            cwd=tmp_path,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    try:
        wait_for(lambda: b"begun 1" in (tmp_path / "out").read_bytes() or process.poll(), "a job")
        coordinator = _child(process.pid, b"-m\0womm")
        assert ("7" in _open(coordinator)) is bool(local)
        assert "7" in _open(_child(coordinator, b"-MWorkersOnly="))
        assert process.wait(120) == 0, (tmp_path / "err").read_text()
    finally:
        process.kill()
        process.wait()
    assert sorted((tmp_path / "out").read_bytes().split(b"\n"))[1:] == [b"begun 1", b"begun 2"]


def _open(pid):
    """The numbers of the pipes that a process writes into, from 3 on."""
    found = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        if int(name) > 2 and os.readlink(f"/proc/{pid}/fd/{name}").startswith("pipe:"):
            found.add(name)
    return found


def _child(pid, words):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        children = [int(child) for child in file.read().split()]
    for child in children:
        with open(f"/proc/{child}/cmdline", "rb") as file:
            if words in file.read():
                return child
    raise AssertionError(f"no child of {pid} has {words!r}")

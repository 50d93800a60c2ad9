"""`womm shell` in a pod: a real terminal, and pipes that stay byte for byte."""

import hashlib
import random
import subprocess

import pexpect
import pytest

from tests.faults.tasks import WOMM, environment
from tests.kubernetes.project import Project

pytestmark = pytest.mark.slow

SIZE = 3 << 20


def test_pipes_both_ways_are_binary_clean_and_the_status_is_the_commands(womm_home, project: Project) -> None:
    project.write()
    data = random.Random(7).randbytes(SIZE) + b"\0\xff\r\n" + bytes(range(256))
    command = "cat; printf 'to \\377 stderr' >&2; exit 5"
    result = subprocess.run(
        [*WOMM, "shell", "--", command],
        cwd=project.folder,
        env=environment(),
        input=data,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 5, result.stderr[-500:]
    assert hashlib.sha256(result.stdout).digest() == hashlib.sha256(data).digest()
    assert b"to \xff stderr" in result.stderr
    project.nothing_left(womm_home.runtime)


def test_terminal_has_its_size_its_keys_and_its_status(womm_home, project: Project) -> None:
    project.write()
    child = pexpect.spawn(
        WOMM[0],
        [*WOMM[1:], "shell"],
        cwd=str(project.folder),
        env=environment(TERM="xterm"),
        timeout=60,
        dimensions=(30, 90),
        encoding="utf-8",
    )
    try:
        child.expect("# ")
        child.sendline("stty size; echo pod=$WOMM_POD; tty")
        child.expect("30 90\r\n.*pod=womm-task-.*/dev/pts/")
        child.setwinsize(41, 101)
        child.expect("# ")
        child.sendline("until [ \"$(stty size)\" = '41 101' ]; do :; done; echo re''sized")
        child.expect("resized")
        # A Ctrl-C between a shell's fork and its exec is lost, in any terminal: wait for the command.
        child.sendline("sh -c 'echo rea\"\"dy; exec sleep 1000'; echo sta''tus=$?")
        child.expect("ready\r\n")
        child.sendintr()
        child.expect("# ")
        child.sendline("echo sta''tus=$?; exit 7")
        child.expect("status=130\r\n")
        child.expect(pexpect.EOF)
    finally:
        child.close()
    assert child.exitstatus == 7
    project.nothing_left(womm_home.runtime)

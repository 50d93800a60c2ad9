"""`womm shell` in a pod: a real terminal, and pipes that stay byte for byte."""

import hashlib
import random
import subprocess

import pexpect
import pytest

from tests.cluster.kubernetes.project import Project
from tests.faults.tasks import WOMM, environment

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


def test_terminal_is_bash_with_this_ones_type_and_the_keys_typed_at_its_end_are_for_the_next_shell(
    womm_home, project: Project
) -> None:
    project.write()
    child = pexpect.spawn(
        "/bin/sh",
        cwd=str(project.folder),
        env=environment(
            TERM="xterm-256color", COLORTERM="truecolor", LANG="de_DE.UTF-8", LC_ALL="", PS1="here> "
        ),
        timeout=120,
        dimensions=(30, 200),
        encoding="utf-8",
    )
    womm = " ".join(WOMM)
    try:
        child.expect("here> ")
        child.sendline(f"{womm} shell")
        child.expect(rf"womm: task \w+ created: 1 pod in namespace {project.namespace}")
        child.expect("# ")
        child.sendline('echo "type=$TERM,$COLORTERM locale=$LANG bash=${BASH_VERSION%%.*} pod=$WOMM_POD"')
        child.expect(r"type=xterm-256color,truecolor locale=(\S*) bash=5 pod=womm-task-")
        assert child.match[1] in {"", "C.utf8", "C.UTF-8"}
        child.sendline("exit 7")
        child.expect_exact("womm: the shell has ended: cleaning up")
        child.sendline("echo sta''tus=$?")
        child.expect_exact("status=7")
        # The user's own choice is stronger.
        child.sendline(f"WOMM_SHELL=/bin/sh {womm} shell")
        child.expect("# ")
        child.sendline('echo "bash=[$BASH_VERSION] type=$TERM"; exit')
        child.expect_exact("bash=[] type=xterm-256color")
        child.expect("here> ")
        # A line, and words, too.
        child.sendline(f"{womm} shell -- 'echo \"$TERM  ok\"'; {womm} shell -- printf '%s|' a 'b  c'")
        child.expect_exact("xterm-256color  ok")
        child.expect_exact("a|b  c|")
        child.expect("here> ")
    finally:
        child.close(force=True)
    project.nothing_left(womm_home.runtime)

"""The descriptors that a process was started with: taken stock of, given on, released, filled again."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from womm import descriptors

ROOT = Path(descriptors.__file__).parents[1]


def bash(line, code, stdin=""):
    """Run Python code with the redirections of a line of bash."""
    text = f"import os, sys\nfrom womm import descriptors\n{code}"
    return subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {line}', sys.executable, text],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        input=stdin,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=60,
    )


def told(line, code, path, stdin=""):
    """Run such code, which writes its finding into a file: its stdout and stderr may be closed."""
    done = bash(line, f"{code}\nopen({str(path)!r}, 'w').write(str(found))", stdin)
    assert done.returncode == 0, done
    return path.read_text()


@pytest.mark.parametrize(
    ("line", "numbers"),
    [
        ("", ()),
        ("5</dev/null 3>/dev/null", (3, 5)),
        ("12< <(echo) 200</dev/zero", (12, 200)),
        ("<&- >&- 2>&- 9</dev/null", (9,)),
    ],
)
def test_stock_has_the_callers_descriptors_and_none_of_ours(tmp_path, line, numbers):
    code = "ours = open('/dev/null')\ndescriptors.take_stock()\nfound = descriptors.of_caller()"
    found = told(line, code, tmp_path / "found")
    # bash gives the number of a process substitution, from 63 down, to the command, too.
    assert {*ast.literal_eval(found)} - {63} == {*numbers}


@pytest.mark.parametrize("line", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "<&- 2>&-"])
def test_closed_standard_descriptors_are_taken_and_fail_as_closed_ones_do(tmp_path, line):
    code = """
import errno
closed = [number for number in (0, 1, 2) if not os.path.exists(f"/dev/fd/{number}")]
descriptors.take_stock()
assert os.open("/dev/null", os.O_RDONLY) > 2
assert None not in (sys.stdin, sys.stdout, sys.stderr)
found = []
for number, act in ((0, lambda: os.read(0, 1)), (1, lambda: os.write(1, b"x"))):
    if number in closed:
        try:
            act()
        except OSError as exc:
            found.append((number, exc.errno == errno.EBADF, os.get_inheritable(number)))
if 2 in closed:
    found.append((2, os.write(2, b"lost") == 4, os.get_inheritable(2)))
assert len(found) == len(closed), found
"""
    closed = [number for number, word in enumerate(("<&-", " >&-", "2>&-")) if word in f" {line}"]
    expected = [(number, True, True) for number in closed]
    assert told(line, code, tmp_path / "found") == str(expected)


def test_children_get_the_callers_descriptors_by_number():
    code = """
import subprocess
ours = open("/dev/null")
os.set_inheritable(ours.fileno(), False)
descriptors.take_stock()
subprocess.run(["sh", "-c", "cat <&7; echo to >&8"], pass_fds=descriptors.of_caller(), check=True)
"""
    done = bash("7< <(echo from) 8>&1", code)
    assert (done.stdout, done.stderr) == ("from\nto\n", "")


def test_release_lets_a_reader_have_its_end(tmp_path):
    os.mkfifo(tmp_path / "ended")
    code = f"""
descriptors.take_stock()
os.write(7, b"seen")
descriptors.release()
assert descriptors.of_caller() == ()
descriptors.release()
found = open({str(tmp_path / "ended")!r}).read()
"""
    line = f"7> >(exec >{tmp_path / 'ended'}; cat; echo ' and ended')"
    assert told(line, code, tmp_path / "found") == "seen and ended\n"


@pytest.mark.parametrize("path", ["/dev/fd/7", "/proc/self/fd/7"])
def test_refill_puts_back_what_was_read_from_a_pipe(path):
    code = f"""
descriptors.take_stock()
content = open({path!r}, "rb").read()
assert descriptors.refill({path!r}, content)
assert descriptors.refill({path!r}, content), "once more"
import subprocess
subprocess.run(["cat", {path!r}], pass_fds=descriptors.of_caller(), check=True)
"""
    done = bash("7< <(printf 'a\\0b\\377'; seq 3)", code)
    assert done.stderr == ""
    assert done.stdout.encode("utf-8", "surrogateescape") == b"a\0b\xff1\n2\n3\n"


@pytest.mark.parametrize(
    "path",
    ["/dev/fd/8", "/dev/fd/", "/dev/fd/7x", "/dev/fd/07", "/dev/fd/-7", "/dev/fd/\u0667", "7", "/tmp/7", ""],
)
def test_refill_of_anything_else_is_refused(path):
    code = f"descriptors.take_stock()\nprint(descriptors.refill({path!r}, b'x'), os.read(7, 9))"
    assert bash("7< <(printf content)", code).stdout == "False b'content'\n"

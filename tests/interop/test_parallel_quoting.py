"""Arguments that a shell would read otherwise, and the environment of a job, beside plain GNU parallel."""

import os
import re
import resource

import pytest

from tests.interop.plain import PLAIN, Pair, same

pytestmark = pytest.mark.slow

NASTY: list[bytes] = [
    b"it's",
    b'say "hi"',
    b"$HOME",
    b"$(echo no)",
    b"`echo no`",
    b"back\\slash",
    b"\\n",
    b"\\",
    b"trailing ",
    b"  leading",
    b"\tt\tab\t",
    b"*",
    b"?[a-z]{1,2}",
    b"-n",
    b"--dash",
    b"--",
    b"#hash",
    b"~",
    b"!1",
    b"a;b&c|d<e>f",
    b"a=b",
    b"%s%d%%",
    b"^",
    b"{}",
    b"{1}{.}{#}",
    b"{=s/a/b/=}",
    "å∫ç 日本語 😀".encode(),
    b"\xff\xfe\x80latin-\xe9",
    b"\x01\x07\x1b[0m\x7f",
    b"\r",
    b"x" * 5000,
    b"",
]
NEWLINES: list[bytes] = [b"a\nb", b"\n", b"\nlead", b"trail\n", b"'\n'", b"\\\n", b"two\n\nlines\n"]
SHOW = "printf '<%s>' {}; printf '%s' {} | od -An -tx1"


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/dash", ""])
@pytest.mark.parametrize("how", ["words", "stdin", "stdin -0"])
def test_nasty_argument_is_as_plain(pair: Pair, how: str, shell: str) -> None:
    pair.env["PARALLEL_SHELL"] = shell
    if how == "words":
        expected, got = pair.both(["-k", SHOW, ":::", *NASTY, *NEWLINES])
    elif how == "stdin":
        expected, got = pair.both(["-k", SHOW], 2, b"\n".join(NASTY) + b"\n")
    else:
        expected, got = pair.both(["-k", "-0", SHOW], 2, b"\0".join([*NASTY, *NEWLINES]))
    same(expected, got)
    assert b"<\xff\xfe\x80latin-\xe9>" in got.stdout
    assert got.status == 0
    if how == "stdin -0":
        assert len(got.joblog) == len(NASTY) + len(NEWLINES)


QUOTED: list[list[str | bytes]] = [
    ["-q", "printf", "[%s]\\n", "{}", "$HOME", "a  b", "*", "'", '"', ";", ":::", "x y", "$z"],
    ["-q", "sh", "-c", 'printf "%s," "$0" "$@"', "{}", "b c", ":::", "it's", "\\"],
    ["--quote", "perl", "-e", 'print "@ARGV\\n"', "{}", ":::", "a'b", "c\nd"],
    ["printf", "[%s]", "a b", "$HOME", "'", "{}", ":::", "x y"],
    ["printf '[%s]' \"{}\" '{}' {}", ":::", "x y", "plain"],
    ["echo {=uq=}", ":::", "$HOME", "a  b", "`echo yes`"],
    ["echo {= $_=Q($_) =}", ":::", "$HOME"],
    ["eval {}", ":::", "echo a b", "echo 'c  d'", "X=1; echo $X"],
    [":::", "echo one | tr o 0", "echo 'a  b'", "for i in 1 2; do echo $i; done"],
    ["echo a\necho {}", ":::", "x"],
    ["# comment\necho {}", ":::", "x"],
    ["echo {} \\\n  more", ":::", "x"],
    ["cat <<'END'\n$HOME {}\nEND", ":::", "x"],
    ["-q", b"printf", b"\xff%s\xfe", b"{}", b":::", b"\xe9"],
    ["--tag", "printf %s {}", ":::", "a\tb", "c\nd", "e'f"],
    ["--tagstring", "a\tb'{}", "echo", ":::", "x"],
    ["--joblog", "interop.joblog", "echo {}", ":::", "tab\there", "new\nline"],
    ["--results", "out", "echo {}", ":::", "a\tb", "a\nb", "%x", "*", ".", ".."],
    ["--", "echo", "{}", ":::", "-x", "--"],
    ["echo", "{}", ":::", "--kube-pods", "--async"],
]


@pytest.mark.parametrize("words", QUOTED, ids=range(len(QUOTED)))
def test_command_with_quotes_is_as_plain(pair: Pair, words: list[str | bytes]) -> None:
    same(*pair.both(["-k", *words]))


def test_long_argument_is_as_plain(pair: Pair) -> None:
    """GNU parallel's limit depends on the machine; whatever it is, it is the same."""
    for size in (120_000, 200_000):
        stdin = b"short\n" + b"x" * size + b"\n"
        same(*pair.both("-k 'printf %s {} | wc -c'", 1, stdin))


def test_long_command_line_is_as_plain(pair: Pair) -> None:
    pair.files = {"args": b"".join(b"%0100d\n" % number for number in range(3000))}
    expected, got = pair.both("-k -X -a args 'echo {} | md5sum; :'")
    same(expected, got)
    assert max(len(log.command) for log in got.joblog) > 60_000


def test_exported_bash_function_is_as_plain(pair: Pair) -> None:
    pair.env = {
        "BASH_FUNC_greet%%": '() { printf \'%s-%s\\n\' "$1" "${2:-none}"\n}',
        "BASH_FUNC_lines%%": "() { echo 'it'\\''s\n\nfine'\n}",
    }
    expected, got = pair.both(["-k", "greet {} 'x y'; lines", ":::", "a b", "$c"])
    same(expected, got)
    assert got.stdout.startswith(b"a b-x y\nit's\n\nfine\n")


_OURS = re.compile(rb"^WOMM_\w+=")
_CHANGING = re.compile(rb"^(PARALLEL_PID|PARALLEL_TMP|_|SHLVL)=")


def test_environment_of_a_job_is_as_plain(pair: Pair) -> None:
    pair.env = {
        "EMPTY": "",
        "LINES_OF": "a\nb=c\n",
        "QUOTES": "'\"`$x\\",
        "BYTES": os.fsdecode(b"\xff\xe9"),
        "with-dash": "odd name",
        "SPACE": " x ",
        "PARALLEL_SEQ": "outer",
    }
    environments = []
    for run in pair.both("'env -0; :' ::: a"):
        fields = set(run.stdout.split(b"\0")) - {b""}
        environments.append({f for f in fields if not (_OURS.match(f) or _CHANGING.match(f))})
        assert run.status == 0
    assert environments[1] == environments[0]
    assert b"BYTES=\xff\xe9" in environments[1]


def test_variables_of_gnu_parallel_mean_what_they_mean_to_plain(pair: Pair) -> None:
    line = "'echo $PARALLEL_SEQ $PARALLEL_JOBSLOT {#} {%}; [ -d /proc/$PARALLEL_PID ] && echo alive; : '"
    same(*pair.both(f"-k {line} ::: a b c"))
    pair.fill()
    ran = pair.womm("-k 'echo $PARALLEL_PID; : ' ::: a b c", 2)
    assert len(set(ran.stdout.split())) == 1


def test_signal_to_parallel_pid_from_a_job_is_as_plain(pair: Pair) -> None:
    """TERM to GNU parallel: it starts no more jobs and waits for those that run."""
    line = "-k 'kill -TERM $PARALLEL_PID; sleep 0.5; echo {} >>ran' ::: a b c"
    expected, got = pair.both(line)
    assert got.tree == expected.tree
    assert [log.seq for log in got.joblog] == [log.seq for log in expected.joblog]


def test_env_option_is_as_plain(pair: Pair) -> None:
    pair.env = {"ONE": "1 '\n", "TWO": "2", "BASH_FUNC_f%%": "() { echo fun $1\n}"}
    same(*pair.both("-k --env ONE --env f 'echo \"$ONE\" $TWO; f {}' ::: a"))


def test_env_underscore_is_as_plain(pair: Pair) -> None:
    pair.fill()
    pair.run([*PLAIN, "--record-env"])
    pair.env = {"NEWER": "than the record"}
    same(*pair.both("-k --env _ 'echo $NEWER; : ' ::: a"))


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_umask_is_as_plain(pair: Pair, mask: int) -> None:
    before = os.umask(mask)
    try:
        expected, got = pair.both("-k 'umask; touch made; stat -c %a made; :' ::: a")
    finally:
        os.umask(before)
    same(expected, got)
    assert got.stdout.startswith(b"%04o\n" % mask)


def test_limits_are_as_plain(pair: Pair) -> None:
    before = {limit: resource.getrlimit(limit) for limit in (resource.RLIMIT_CORE, resource.RLIMIT_STACK)}
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, before[resource.RLIMIT_CORE][1]))
        resource.setrlimit(resource.RLIMIT_STACK, (4 << 20, before[resource.RLIMIT_STACK][1]))
        expected, got = pair.both("-k 'ulimit -a; :' ::: a")
    finally:
        for limit, values in before.items():
            resource.setrlimit(limit, values)
    same(expected, got)
    assert re.search(rb"stack size.* 4096\n", got.stdout)


def test_current_folder_with_a_nasty_name_is_as_plain(pair: Pair) -> None:
    pair.folder = pair.folder.parent / 'it\'s a $HOME\n"folder"'
    same(*pair.both("-k 'pwd; touch {}' ::: a 'b c'"))


def test_job_is_the_leader_of_its_group_and_has_no_stdin(pair: Pair) -> None:
    line = "-k 'cat; ps -o pgid= -p $$ | tr -d \" \" >g; [ $(cat g) = $$ ] && echo leader; rm g' ::: a"
    same(*pair.both(line, 1, b"unread\n"))

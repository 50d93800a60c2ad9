"""GNU parallel's options for input, replacement strings and output, beside plain GNU parallel."""

import os
import re
from pathlib import Path

import pexpect
import pytest

from tests.interop.plain import JOBLOG, PLAIN, WOMM, Pair, Ran, same, same_but_order

pytestmark = pytest.mark.slow

FILES = {
    "letters": b"a\nb\nc\n",
    "digits": b"1\n2\n",
    "table.tsv": b"name\tsize\none\t1\ntwo\t2\n",
    "table.csv": b'name,size\n"a, b",1\n"c ""d""",2\n',
    "many": b"".join(b"%d\n" % number for number in range(1, 41)),
    "nul": b"a b\0c\nd\0",
    "commands": b"echo one\necho two\nexit 3\n",
    "page.tmpl": b"name={1} size={2}\n",
    "sub/inner": b"inner\n",
}

# Where the jobs come from, and how many of its values one job takes.
INPUT = [
    "echo ::: a b c",
    "echo {1}{2} ::: a b ::: 1 2 3",
    "echo {1}{2} ::: a b c :::+ 1 2 3",
    "echo {1}{2}{3} ::: a b :::+ 1 2 ::: x y",
    "echo :::: letters",
    "echo {1}{2} :::: letters digits",
    "echo {1}{2} :::: letters ::::+ digits",
    "echo {1}{2} ::: x y :::: digits",
    "--link echo {1}{2} ::: a b c ::: 1 2",
    "-a letters echo",
    "-a letters -a digits echo {2}{1}",
    "-a letters --link -a digits echo {2}-{1}",
    "--arg-sep ,, echo {} ,, a b",
    "--arg-file-sep @@ echo {} @@ letters",
    "-a commands",
    "-0 -a nul printf [%s] {}",
    "-d : echo [{}] ::: a:b",
    "-r -a /dev/null echo none",
    "-C , echo {2}{1} ::: a,b c,d",
    r"--colsep \t -a table.tsv echo {2}={1}",
    r"--colsep '[,;]' echo {1}+{2}+{3} ::: 'a,b;c'",
    r"--colsep \t --header : -a table.tsv echo {size}={name}",
    r"--header : --colsep \t -a table.tsv echo '{size} {2} {name.}'",
    "--csv --header : -a table.csv echo {size} {name}",
    "--header : echo {f} {g} ::: f a b ::: g 1 2",
    "--trim lr echo [{}] ::: ' a ' '\tb'",
    "-E b echo ::: a b c",
    "-n 2 echo ::: a b c d e",
    "-N 2 echo {2}{1} ::: a b c d e",
    "-N 0 echo x ::: a b",
    "-N 3 --max-args 2 echo ::: a b c d e",
    "-L 2 -a letters echo",
    "-x -s 20 -X echo ::: aaa bbb ccc ddd eee",
    "--max-chars 30 -m echo {} ::: aaa bbb ccc ddd eee fff ggg hhh",
    "-X echo a{}b ::: 1 2 3 4 5 6 7",
    "-m echo a{}b ::: 1 2 3 4 5 6 7",
    "--xargs echo ::: 1 2 3 4 5 6 7",
    "-X -n 3 echo {#}:{} ::: 1 2 3 4 5 6 7",
    "-X -a many echo {}",
    "--filter '{1} < {2}' echo {1}{2} ::: 1 2 3 ::: 1 2 3",
    "--skip-first-line -a letters echo",
    "--no-run-if-empty echo ::: ''",
    "echo ::: '' a",
]

REPLACEMENT = [
    "echo '{} {.} {/} {//} {/.} {#}' ::: dir/sub/file.tar.gz file.x noext .hidden.c /top.y d.e/f",
    "echo '{1} {2.} {1/} {2//} {1/.} {-1} {-2.}' ::: a/b.c ::: d/e.f",
    "--plus echo '{+/} {+.} {+..} {+...} {..} {...} {/..} {/...} {##}' ::: d/a.b.c.d x",
    "--plus echo '{:-none} {:1} {:1:2} {#a} {%.c} {/b/X} {//b/X} {^a} {^^a} {,A} {,,A}' ::: abb.c ''",
    "--plus echo {0#} {hgrp} {sep} ::: 1 2 3 4 5 6 7 8 9 10",
    "--plus echo '{2} {choose_k}' ::: a b c ::: a b c",
    "echo '{= s/a/b/ =} {= $_=$job->seq() =} {= $_=uc =}' ::: aa ba",
    "echo '{=1 s/a/X/ =} {=2 $_.=\"!\" =}' ::: aa ::: bb",
    "echo '{= $_=total_jobs() =} {= $_=seq()*2 =}' ::: a b c",
    "echo '{= $_ eq \"b\" and skip() =}' ::: a b c",
    "--rpl '{x} s/.*/<$&>/' echo {x} {1x} ::: a b",
    "--rpl '{rev} $_=reverse' --rpl '{d(\\d+)} $_.=$$1' echo {rev} {d7} ::: ab cd",
    "--parens ,,,, echo ',, s/a/b/ ,,' ::: aa",
    "-I @ echo @ {} ::: a b",
    "-i@ echo @ ::: a b",
    "-U XX echo XX ::: a.b",
    "--extensionreplace EX --basenamereplace BA --dirnamereplace DI echo EX BA DI ::: d/a.b",
    "--bner BN --seqreplace SQ echo BN SQ ::: d/a.b",
    "--slotreplace SL echo SL {%} ::: a",
    "--process-slot-var S 'echo $S' ::: a",
    "--tag --tagstring '{#}:{/.}' echo {} ::: d/a.b c",
    "--tmpl page.tmpl={2}.out 'cat {2}.out' ::: a ::: 1",
]

OUTPUT = [
    "--tag echo ::: a b",
    "--tagstring t-{} echo ::: a b",
    "--ctagstring '{}!' echo ::: a b",
    "--color-failed 'echo {}; exit {}' ::: 0 1",
    "--line-buffer --tag 'echo {}; echo err {} >&2; printf end' ::: a b",
    "-u 'echo {}; echo err >&2' ::: a b",
    "--group 'echo {}; echo e{} >&2' ::: a b",
    "--compress 'echo {}; echo e{} >&2' ::: a b",
    "--compress --line-buffer 'echo {}; echo e{} >&2' ::: a b",
    "--compress-program gzip 'seq {}' ::: 5 6",
    "--dry-run echo {} '\"$HOME\"' ::: a 'b c' '*'",
    "-v echo {} ::: a 'b c'",
    "-v -v echo {} ::: a",
    "-t echo {} ::: a b",
    "--shell-quote ::: 'a b' \"it's\" '$x'",
    "--delay 0.05 echo ::: a b c",
    "--load 10000% --memfree 1k --noswap --silent --exit echo ::: a",
    "--limit 'load 1000' echo ::: a b",
    "--limit true echo ::: a b",
    "--wd sub cat ::: inner",
    "--workdir /tmp 'pwd; :' ::: a",
    "--env FOO 'echo $FOO' ::: a",
    "--nice 7 'nice; :' ::: a",
    "'nice; :' ::: a",
    "--tmpdir sub 'echo {}; ls sub; : ' ::: a",
    "--total-jobs 7 echo '{= $_=total_jobs() =}' ::: a",
    "--will-cite --gnu --no-notice echo ::: a",
    "--show-limits true ::: a",
    "--term-seq TERM,100,KILL,10 --timeout 20 echo ::: a",
    "--block-timeout 9 echo ::: a",
]


@pytest.mark.parametrize("line", INPUT + REPLACEMENT + OUTPUT)
def test_option_in_order_is_as_plain(pair: Pair, line: str) -> None:
    pair.files = FILES
    pair.env = {"FOO": "bar baz"}
    jobs = 4 if re.search(r"-X|-m |--xargs|-L", line) else 1
    same(*_without_times(*pair.both("-k " + line, jobs)))


def _without_times(*runs: Ran) -> tuple[Ran, ...]:
    """--bar and --show-limits write figures of the moment to stderr."""
    figures = rb"\d+(\.\d+)?s|\d+:\d+=\d+|\x1b\[\d*m|\r.*|\d+ bytes"
    return tuple(
        Ran(
            run.stdout,
            re.sub(figures, b"", run.stderr),
            run.status,
            run.joblog,
            run.tree,
        )
        for run in runs
    )


@pytest.mark.parametrize(
    "line",
    [
        "echo ::: a b c d e f",
        "--tag 'echo {}; echo e{} >&2' ::: a b c d",
        "--line-buffer --tag 'echo {}; echo {}' ::: a b c d",
        "-u echo ::: a b c d",
        "--shuf echo {} ::: 1 2 3 4 5 6",
        "--compress 'seq {}' ::: 5 6 7",
        "--delay 0.02 echo ::: a b c",
    ],
)
def test_jobs_on_four_workers_print_the_same_lines(pair: Pair, line: str) -> None:
    expected, got = pair.both(line, 4)
    if "--shuf" in line:
        assert got.lines() == expected.lines()
        assert len(got.joblog) == len(expected.joblog) == 6
    else:
        same_but_order(expected, got)


@pytest.mark.parametrize(
    ("line", "stdin"),
    [
        ("echo", b"a\nb c\n\n  d\n"),
        ("-0 printf [%s]", b"a\nb\0c\0"),
        ("-k echo {} -", b"x\ny"),
        ("", b"echo 1\necho 2; false\n"),
        ("echo {1}{2} ::: a :::: -", b"1\n2\n"),
        ("-a - echo", b"1\n2\n"),
        ("'cat; echo {}' ::: a b", b"unread\n"),
        ("-a letters 'cat; echo {}'", b"unread\n"),
        ("-n0 echo x", b"1\n2\n"),
        ("-r echo", b""),
        ("echo", b""),
        (r"-d \t echo", b"a\tb\tc"),
        ("-d '\\n\\n' echo {}", b"a\nb\n\nc"),
        ("--colsep ' +' echo {2}{1}", b"a b\nc   d\n"),
        ("--header : echo {col}", b"col\n1\n2\n"),
        ("--tag -n2 echo", b"1\n2\n3\n"),
    ],
)
def test_input_from_stdin_is_as_plain(pair: Pair, line: str, stdin: bytes) -> None:
    pair.files = FILES
    same(*pair.both("-k " + line, 2, stdin))


RESULTS = [
    "--results out 'echo {1}{2}; echo e >&2' ::: a b ::: 1 2",
    "--results out 'echo {}; exit 3' ::: 'a b' 'c/d' ''",
    "--results out/ echo {} ::: a b",
    "--results out/{1}/x{2} 'echo {1}' ::: a b ::: 1",
    "--header : --results out echo {f} ::: f a b",
    "--header : --results out/{f}.txt echo {f} ::: f a b",
    "--results out --tag echo ::: a b",
    "--results out -u echo ::: a",
    "--results out --files echo ::: a b",
    "--pipe -N1 --results out cat :::: letters",
]


@pytest.mark.parametrize("line", RESULTS)
def test_results_are_as_plain(pair: Pair, line: str) -> None:
    pair.files = FILES
    expected, got = pair.both("-k " + line)
    same(expected, got)
    assert any(name.startswith("out") for name in got.tree)


@pytest.mark.parametrize("kind", ["csv", "tsv", "json"])
def test_results_in_a_table_are_as_plain_but_for_times(pair: Pair, kind: str) -> None:
    line = f"--results out.{kind} 'echo \"{{}}\"; echo err >&2; exit 2' ::: a 'b,c'"
    expected, got = pair.both("-k " + line)
    # Columns Starttime and JobRuntime.
    times = rb"[\d.]{4,}"
    table, wanted = (re.sub(times, b"T", run.tree[f"out.{kind}"] or b"") for run in (got, expected))
    assert table == wanted
    assert table.count(b'"err') == 2
    assert (got.stdout, got.status) == (expected.stdout, expected.status)


def test_files_holds_each_output(pair: Pair) -> None:
    for run in pair.both("--files --tmpdir . 'echo {}; echo e{} >&2' ::: a b c", 2):
        names = run.stdout.decode().split()
        contents = [run.tree[os.path.normpath(name)] for name in names]
        assert sorted(map(bytes, contents)) == [b"a\n", b"b\n", b"c\n"]  # type: ignore[arg-type]
        assert run.stderr == b""


def test_wd_dots_is_a_fresh_folder(pair: Pair) -> None:
    for run in pair.both("--wd ... 'pwd; echo x >made; ls; :' ::: a"):
        place, made = run.stdout.split()
        assert made == b"made"
        assert b"/.parallel/tmp/" in place
        assert not Path(os.fsdecode(place)).exists() or run.status == 0


PRINT_ONLY = [
    "--help",
    "--version",
    "-V",
    "--min-version 20100101",
    "--number-of-cpus",
    "--shell-completion bash",
]


@pytest.mark.parametrize("line", PRINT_ONLY)
def test_option_that_only_prints_is_as_plain(pair: Pair, line: str) -> None:
    pair.fill()
    # Not through Pair.womm: no pods are needed for this.
    expected = pair.run([*PLAIN, *line.split()])
    got = pair.run([*WOMM, "--", *line.split()])
    same(expected, got)


@pytest.mark.parametrize("where", ["PARALLEL", "config", "XDG config", "profile", "two profiles"])
def test_options_from_elsewhere_are_as_plain(pair: Pair, where: str) -> None:
    options = "--tag --rpl '{x} s/a/X/'"
    home = Path(os.environ["HOME"])
    line = "-k echo {x} ::: aa ba"
    if where == "PARALLEL":
        pair.env["PARALLEL"] = options
    elif where == "config":
        (home / ".parallel" / "config").write_text(f"# mine\n{options}\n")
    elif where == "XDG config":
        (home / ".config" / "parallel").mkdir(parents=True)
        (home / ".config" / "parallel" / "config").write_text(options + "\n")
    elif where == "profile":
        (home / ".parallel" / "mine").write_text(options + "\n")
        (home / ".parallel" / "config").write_text("--tagstring not-read\n")
        line = "-J mine " + line
    else:
        (home / ".parallel" / "one").write_text("--tag\n")
        pair.files["./two"] = b"--rpl '{x} s/a/X/'\n"
        line = "-J one --profile ./two " + line
    expected, got = pair.both(line)
    same(expected, got)
    assert got.stdout == b"aa\tXa\nba\tbX\n"


def test_command_words_in_a_config_are_as_plain(pair: Pair) -> None:
    pair.env["PARALLEL"] = "-k --tag"
    same(*pair.both("--plain echo ::: a b"))


JOBSLOTS = """
    touch here.$PARALLEL_SEQ
    until [ $(ls here.* | wc -l) -ge {wanted} ]; do sleep 0.05; done
    echo $PARALLEL_JOBSLOT
"""


@pytest.mark.parametrize(
    ("option", "pods", "slots"),
    [
        ("", 3, 3),
        ("-j 2", 4, 2),
        ("--jobs=1", 3, 1),
        ("-P 2", 3, 2),
        ("-j 50%", 4, 2),
        ("-j 100%", 2, 2),
        ("-j 0", 2, 2),
        ("-j 9", 2, 2),
    ],
)
def test_jobs_option_limits_the_jobs_at_once(pair: Pair, option: str, pods: int, slots: int) -> None:
    pair.fill()
    script = JOBSLOTS.replace("{wanted}", str(slots))
    ran = pair.womm([*option.split(), script + ": {}", ":::", *"abcdef"], pods)
    # The slot of a job is the lowest free one, and no job ends before `slots` have begun.
    assert {int(word) for word in ran.stdout.split()} == set(range(1, slots + 1))
    assert ran.status == 0
    assert (b"jobslots, so" in ran.said) == (option == "-j 9")


def test_procs_per_pod_and_local_procs_are_jobslots(pair: Pair) -> None:
    pair.fill()
    script = JOBSLOTS.replace("{wanted}", "5") + 'echo "$WOMM_POD" >&2; : {}'
    ran = pair.womm([script, ":::", *"abcdef"], 2, None, ["--procs-per-pod=2", "--local-procs", "1"])
    assert {int(word) for word in ran.stdout.split()} == {1, 2, 3, 4, 5}
    assert len(set(ran.stderr.split())) == 3


TERMINAL = [
    ("--bar", rb"100%"),
    ("--eta", rb"ETA: 0s Left: 0 "),
    ("--progress", rb"local:0/3/100%/"),
    ("--progress --eta", rb"local:0/3/100%/"),
    ("--latest-line", rb""),
]


@pytest.mark.parametrize(("option", "shows"), TERMINAL)
def test_progress_on_a_terminal_is_gnu_parallels(pair: Pair, option: str, shows: bytes) -> None:
    screens = []
    for program in ([*PLAIN, "-j2"], [*WOMM, "--kube-pods", "2", "--"]):
        pair.fill()
        to_file = ["sh", "-c", 'exec "$@" >out', "sh"]
        argv = [*to_file, *program, *option.split(), "-k", "echo", ":::", *"abc"]
        status, screen = _on_terminal(pair, argv)
        printed = re.findall(rb"[abc]", (pair.folder / "out").read_bytes())
        assert (status, sorted(set(printed))) == (0, [b"a", b"b", b"c"])
        assert re.search(shows, screen)
        screens.append(screen)
    # The table at the start of --progress, and nothing of womm's own bar.
    heads = [re.findall(rb"Computers.*|local / .*|pods", screen) for screen in screens]
    assert heads[0] == heads[1]


def _on_terminal(pair: Pair, argv: list[str], send: str = "") -> tuple[int, bytes]:
    child = pexpect.spawn(argv[0], argv[1:], cwd=str(pair.folder), timeout=60, dimensions=(24, 100))
    child.delaybeforesend = None
    if send:
        child.send(send)
    screen = child.read()
    child.close()
    return child.exitstatus, screen


def test_interactive_asks_on_the_terminal(pair: Pair) -> None:
    screens = []
    for program in ([*PLAIN, "-j1"], [*WOMM, "--kube-pods", "1", "--"]):
        pair.fill()
        argv = [*program, "-p", "-k", "touch", ":::", "yes", "no"]
        status, screen = _on_terminal(pair, argv, "y\nn\n")
        assert os.listdir(pair.folder) == ["yes"]
        screens.append((status, sorted(re.findall(rb"touch \w+ \?\.\.\.", screen))))
    assert screens[0] == screens[1]
    assert len(screens[0][1]) == 2


def test_joblog_columns_are_as_plain(pair: Pair) -> None:
    expected, got = pair.both("-k 'printf 12345; echo {} >&2; exit {}' ::: 0 4")
    same(expected, got)
    assert [(log.host, log.exitval, log.receive) for log in got.joblog] == [
        (":", 0, 5),
        (":", 4, 5),
    ]


@pytest.mark.parametrize("option", ["--resume", "--resume-failed", "--retry-failed"])
def test_resume_runs_what_plain_runs(pair: Pair, option: str) -> None:
    """A first run that failed in part, then the same again, with one job more."""
    line = f"-k --joblog {JOBLOG} 'echo {{}} >>ran; test {{}} != b -o -e mended' ::: a b c"
    again = f"{option} {line} d" if option != "--retry-failed" else f"{option} --joblog {JOBLOG}"
    runs = []
    for run in (pair.plain, pair.womm):
        pair.fill()
        first = run(line)
        (pair.folder / "mended").touch()
        runs.append((first, run(again)))
    same(runs[0][0], runs[1][0])
    same(runs[0][1], runs[1][1])
    assert runs[1][1].status == (0 if option != "--resume" else runs[0][1].status)


def test_resume_with_results_skips_what_is_there(pair: Pair) -> None:
    line = "-k --results out 'echo {} >>ran; echo {}' ::: a b"
    runs = []
    for run in (pair.plain, pair.womm):
        pair.fill()
        run(line)
        runs.append(run(f"--resume {line} c"))
    same(runs[0], runs[1])
    assert runs[1].tree["ran"] == b"a\nb\nc\n"

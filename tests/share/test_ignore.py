"""`.wommignore` means what git means by the same rules."""

import os
import random
import resource
import subprocess
from contextlib import contextmanager

import pytest

from womm.share.control import folded
from womm.share.fence import Fence
from womm.share.ignore import LOOK_AGAIN_S, Ignore, compile_rules

NAMES = [
    "a",
    "b",
    "foo",
    "bar",
    "foo.c",
    "foo.o",
    "x y",
    "build",
    "a.b",
    "Foo",
    "#h",
    "!n",
    "[z]",
    "a*b",
    "zz ",
]
PATTERNS = """\
foo|*.o|/foo|foo/|build/|/build|a/b|**/foo|foo/**|a/**/b|!foo|!foo.c|*|!*/|!a/|*.c|[a-f]oo|[!a]*|fo?|/*|!/a
a/*|!a/b|\\#h|\\!n|# c||foo\\ |x y|x y |**|**/|*/|a/|!b/|bar/foo|/a/b/|[z]|\\[z\\]|a\\*b|**/a/b|/**/foo
zz\\ |foo**|a**b|f*|!f*|[[:alpha:]]|[a-|a[|*/foo|**/*.o|foo//|//foo|/|!|\\a|[[a]|[]a]*|[!]]|[a-]|[z-a]x|[\\]a]
[a\\-z]*|[[:digit:]a-c]*|[[:nope:]]|a[/]b|[^f]oo|[[:x]|*[!a]""".replace("\n", "|").split("|")


def ignored_by_git(folder, paths):
    """The paths that git ignores with the same rules in .gitignore."""
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    found = subprocess.run(
        ["git", "-C", str(folder), "check-ignore", "--no-index", "-z", "--stdin"],
        input=b"\0".join(map(os.fsencode, paths)),
        stdout=subprocess.PIPE,
        check=False,
    )
    return {os.fsdecode(path) for path in found.stdout.split(b"\0") if path}


def both(folder, rules):
    for directory, text in rules.items():
        for name in (".gitignore", ".wommignore"):
            (folder / directory / name).write_bytes(text)


def paths_in(folder):
    return [
        os.path.relpath(os.path.join(top, name), folder)
        for top, directories, files in os.walk(folder)
        for name in directories + files
        if ".git" not in top.split("/") and name not in (".git", ".gitignore", ".wommignore")
    ]


def fill(folder, rnd, count):
    for _ in range(count):
        here = folder
        for _ in range(rnd.randint(0, 3)):
            below = here / rnd.choice(NAMES)
            if below.is_file():
                break
            below.mkdir(exist_ok=True)
            here = below
        if not (file := here / rnd.choice(NAMES)).exists():
            file.touch()


@pytest.mark.parametrize(
    "seed", [*range(5), *(pytest.param(n, marks=pytest.mark.slow) for n in range(5, 40))]
)
def test_random_rules_ignore_what_git_ignores(tmp_path, seed):
    rnd = random.Random(seed)
    fill(tmp_path, rnd, 60)
    directories = [path for path in tmp_path.rglob("*") if path.is_dir()]
    rules = {
        directory: ("\n".join(rnd.choices(PATTERNS, k=rnd.randint(1, 6))) + "\n").encode()
        for directory in [tmp_path, *rnd.sample(directories, min(2, len(directories)))]
    }
    both(tmp_path, rules)
    paths = paths_in(tmp_path)
    expected = ignored_by_git(tmp_path, paths)
    ignore = Ignore(tmp_path)
    found = {path for path in paths if ignore.is_ignored(path, (tmp_path / path).is_dir())}
    ignore.close()
    assert found == expected, rules


def test_line_ends_marks_and_names_that_are_no_utf8_are_as_git_has_them(tmp_path):
    both(tmp_path, {".": b"\xef\xbb\xbf*.o\r\n\xff*\r\n !x\n\ttab\nlast"})
    for name in (b"a.o", b"\xffabc", b" !x", b"\ttab", b"last", b"no", b"a.o\r"):
        os.close(os.open(os.fsencode(tmp_path) + b"/" + name, os.O_CREAT | os.O_WRONLY))
    paths = paths_in(tmp_path)
    expected = ignored_by_git(tmp_path, paths)
    assert os.fsdecode(b"\xffabc") in expected
    ignore = Ignore(tmp_path)
    assert {path for path in paths if ignore.is_ignored(path, False)} == expected
    assert ignore.is_ignored(b"\xffabc", False)
    assert not ignore.is_ignored(b"", True) and not ignore.is_ignored(".", True)
    ignore.close()


def test_rules_that_a_task_has_begun_with_hold_until_its_end(tmp_path):
    now = [0.0]
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    (tmp_path / ".wommignore").write_text("/secret\n")
    (tmp_path / "with/.wommignore").write_text("x\n")
    ignore = Ignore(tmp_path, clock=lambda: now[0])
    for name in ("", "with", "without"):
        ignore.look(name.encode(), there=name != "without")
    ignore.begun()
    (tmp_path / ".wommignore").write_text("")
    (tmp_path / "with/.wommignore").unlink()
    (tmp_path / "without/.wommignore").write_text("x\n")
    for now[0] in (0.0, 10 * LOOK_AGAIN_S):
        assert ignore.is_ignored("secret", False) and ignore.is_ignored("with/x", False)
        assert not ignore.is_ignored("without/x", False)
        assert not ignore.look(b"") and not ignore.look(b"with") and not ignore.look(b"without")
    ignore.close()
    ignore = Ignore(tmp_path)  # the next task's
    assert not ignore.is_ignored("secret", False) and not ignore.is_ignored("with/x", False)
    assert ignore.is_ignored("without/x", False)
    ignore.close()


def test_rules_of_a_directory_that_comes_later_count_from_when_they_are_found(tmp_path):
    now = [0.0]
    ignore = Ignore(tmp_path, clock=lambda: now[0])
    ignore.begun()
    assert not ignore.is_ignored("a/x", False)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/.wommignore").write_text("x\n")
    assert not ignore.is_ignored("a/x", False)  # looked at a moment ago
    assert ignore.look(b"a") and not ignore.look(b"a")
    assert ignore.is_ignored("a/x", False)
    (tmp_path / "b").mkdir()
    assert not ignore.is_ignored("b/x", False)
    (tmp_path / "b/.wommignore").write_text("x\n")
    now[0] += LOOK_AGAIN_S
    assert ignore.is_ignored("b/x", False)
    (tmp_path / "b/.wommignore").write_text("y\n")
    (tmp_path / "a/.wommignore").unlink()
    now[0] += LOOK_AGAIN_S
    assert ignore.is_ignored("a/x", False)
    assert ignore.is_ignored("b/x", False) and not ignore.is_ignored("b/y", False)
    ignore.close()


def test_rules_that_cannot_be_looked_at_are_an_error_and_not_none(tmp_path):
    (tmp_path / ".wommignore").write_text("secret\n")
    ignore = Ignore(tmp_path)
    with no_descriptors(), pytest.raises(OSError, match="Too many open files"):
        ignore.is_ignored("secret", False)
    assert ignore.is_ignored("secret", False)
    ignore.close()


@contextmanager
def no_descriptors():
    """Meanwhile this process can open nothing."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize(
    ("rule", "twins"),
    [
        ("secret.KEY", ["Secret.key", "SECRET.KEY", "sec\u200bret.key"]),
        ("stra\u00dfe", ["STRASSE", "strasse"]),
        ("caf\u00e9", ["cafe\u0301", "CAF\u00c9"]),
        ("[[:upper:]]x", ["ax", "AX"]),
        ("[a-c]y", ["By"]),
    ],
)
def test_rules_for_file_systems_that_tell_no_case_apart(rule, twins):
    exact = compile_rules(rule.encode())
    rules = compile_rules(rule.encode(), folds=True)
    for twin in twins:
        assert [one.matches(folded(twin.encode()), False) for one in rules] == [True]
        assert [one.matches("other", False) for one in rules] == [False]
    assert any(not one.matches(twins[0], False) for one in exact)


def test_rules_that_are_no_file_say_nothing(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("*\n")
    for number, make in enumerate((os.mkdir, os.mkfifo, lambda path: os.symlink(secret, path))):
        folder = tmp_path / str(number)
        folder.mkdir()
        make(folder / ".wommignore")
        fence = Fence(folder)
        ignore = Ignore(fence)
        assert not ignore.is_ignored("x", False)
        ignore.close()
        assert fence.lstat(b"").st_size >= 0  # the fence is its owner's
        fence.close()

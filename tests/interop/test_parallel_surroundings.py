"""What surrounds a run must not change it: the locale, the user's settings for perl, a -- of the user's."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.interop.plain import Pair

pytestmark = pytest.mark.slow

NAMES = [b"gr\xc3\xbc\xc3\x9fe", b"gr\xfc\xdfe"]
"""In UTF-8 and in Latin-1: both are names of files anywhere."""


@pytest.fixture(scope="module")
def latin_1(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """An environment whose locale is not UTF-8; it need not be installed."""
    if shutil.which("localedef") is None or not Path("/usr/share/i18n/locales/de_DE").exists():
        return {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    folder = tmp_path_factory.mktemp("locales")
    made = folder / "de_DE.ISO-8859-1"
    subprocess.run(["localedef", "-i", "de_DE", "-f", "ISO-8859-1", made], check=True)
    return {"LOCPATH": str(folder), "LC_ALL": made.name}


@pytest.mark.parametrize("name", NAMES)
def test_paths_in_options_are_the_bytes_that_the_user_gave(pair: Pair, latin_1, name):
    pair.env.update(latin_1)
    given = os.fsdecode(name)
    pair.files.update({f"in{given}": b"a\nb\n", f"profile{given}": b"--tag\n", f"d{given}/keep": b""})
    line = [b"-k", b"--joblog", b"log" + name, b"-a", b"in" + name, b"-J", b"./profile" + name]
    line += [b"--tmpdir", b"d" + name, b"--results", b"r" + name, b"echo", b"x" + name]
    expected, got = pair.both(line)
    assert (got.stdout, got.stderr, got.status) == (expected.stdout, expected.stderr, 0)
    assert set(got.tree) == set(expected.tree) >= {f"r{given}/1/a/stdout", f"log{given}"}
    line = [b"--workdir", b"./d" + name, b"pwd; echo", b":::", b"y" + name]
    expected, got = pair.both(line)
    assert (got.stdout.replace(b"/womm./", b"/plain/"), got.status) == (expected.stdout, 0)
    assert name in got.stdout


@pytest.mark.parametrize(
    "line",
    [
        "-- echo ::: 1",
        "-k -- echo ::: 1 2",
        "--tag -- -j3 ::: 1",
        "-- -- echo ::: 1",
        "--tagstring -- echo ::: 1",
        "--tagstring -- -- -x ::: 1",
        "--tagstring=-- -- echo ::: 1",
        "-k -- --kube-pods ::: 1",
    ],
)
def test_end_of_options_means_what_it_means_to_plain(pair: Pair, line: str):
    expected, got = pair.both(line)
    assert (got.stdout, got.stderr, got.status) == (expected.stdout, expected.stderr, expected.status)
    assert [job.command for job in got.joblog] == [job.command for job in expected.joblog]


@pytest.mark.parametrize(
    ("name", "value"), [("PERL5OPT", "-Mstrict"), ("PERL_UNICODE", "A"), ("PERLIO", ":crlf")]
)
def test_users_settings_for_perl_reach_jobs_and_break_nothing_of_ours(pair: Pair, name, value):
    """GNU parallel is a program in perl, and has them as plain."""
    pair.env[name] = value
    pair.files["bytes"] = bytes(range(256)) * 300
    command = f"printf '\\303\\251\\r\\n\\377'; echo \"${name} \u00e9\"; env | grep -c WOMM_KEPT; cat {{}}"
    expected, got = pair.both([b"-k", command.encode(), b":::", b"bytes"])
    assert (got.stdout, got.stderr, got.status) == (expected.stdout, expected.stderr, expected.status)
    assert value.encode() in got.stdout


def test_users_settings_for_perl_change_no_byte_of_a_shells(tmp_path, womm_home):
    data = bytes(range(256)) * 1000
    (tmp_path / "in").write_bytes(data)
    (tmp_path / "Fcntl.pm").write_text('die "not this one\\n";\n')
    for env in ({"PERL_UNICODE": "SDA", "PERL5LIB": str(tmp_path)}, {"PERL5OPT": "-MNoSuchModule"}):
        with open(tmp_path / "in", "rb") as stdin:
            done = subprocess.run(
                [sys.executable, "-m", "womm", "shell", "--", "cat"],
                cwd=tmp_path,
                env={**os.environ, **env},
                stdin=stdin,
                capture_output=True,
                check=False,
            )
        assert (done.returncode, done.stdout == data) == (0, True), (env, done.stderr)

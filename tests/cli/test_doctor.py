"""`womm doctor`: what is here, what is missing, what to type."""

import json
import os
import shutil
import sys

import pytest

from tests.cli.running import run


def findings(**env):
    result = run("doctor", "-o", "json", **env)
    document = json.loads(result.out)
    assert document["version"] == 1
    return {check["name"]: check for check in document["checks"]}, result.status


@pytest.fixture
def path_with(tmp_path):
    """Return a PATH with these programs only; a text is the program itself."""

    def make(**programs):
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, text in programs.items():
            if text is None:
                (folder / name).symlink_to(shutil.which(name) or name)
            else:
                (folder / name).write_text(text)
                (folder / name).chmod(0o755)
        return str(folder)

    return make


def test_doctor_here_is_well_or_says_what_to_type(womm_home):
    found, status = findings()
    assert (status == 1) == any(check["level"] == "missing" for check in found.values())
    assert found["python"]["level"] == found["perl"]["level"] == found["sh"]["level"] == "ok"
    assert found["state folder"]["text"].startswith(str(womm_home.state))
    assert found["terminal"]["level"] == "optional"
    for check in found.values():
        assert check["hint"] or check["level"] == "ok" or check["name"] == "terminal"


def test_doctor_text_has_a_mark_per_line(womm_home):
    result = run("doctor")
    assert all(line[:4] in {"ok  ", "!!  ", "--  ", "    "} for line in result.out.splitlines())
    assert sys.executable in result.out
    assert result.err == ""


def test_doctor_without_perl_says_what_to_install(womm_home, path_with):
    found, status = findings(PATH=path_with(sh=None))
    assert status == 1
    assert found["perl"]["level"] == "missing"
    assert found["perl"]["hint"] == "apt-get install perl-base"
    assert found["rsync"]["level"] == "optional"


def test_doctor_an_old_or_broken_perl_is_found(womm_home, path_with):
    path = path_with(sh=None, perl="#!/bin/sh\necho too old >&2\nexit 1\n")
    found, status = findings(PATH=path)
    assert (status, found["perl"]["level"]) == (1, "missing")


def test_doctor_a_perl_without_a_module_is_named(womm_home, path_with):
    perl = shutil.which("perl")
    script = f"#!/bin/sh\ncase $1 in -c) echo 'no Errno here' >&2; exit 2;; esac\nexec {perl} \"$@\"\n"
    found, status = findings(PATH=path_with(sh=None, perl=script))
    assert (status, found["perl"]["level"]) == (1, "missing")
    assert "no Errno here" in found["perl"]["text"]


def test_doctor_a_state_folder_that_cannot_be_is_told(womm_home):
    (womm_home.state / "womm").write_text("")
    found, status = findings()
    assert (status, found["state folder"]["level"]) == (1, "missing")
    assert (
        "Not a directory" in found["state folder"]["text"] or "File exists" in (found["state folder"]["text"])
    )
    assert found["state folder"]["hint"] == "export XDG_STATE_HOME=FOLDER"


def test_doctor_leaves_nothing_behind(womm_home):
    findings()
    assert os.listdir(womm_home.runtime) == []
    assert os.listdir(womm_home.state / "womm" / "tasks") == []

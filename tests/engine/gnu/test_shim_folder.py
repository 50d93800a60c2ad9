"""The folder of programs that GNU parallel finds first."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.link.wires import PERL
from womm import worker
from womm.engine.gnu.shim_folder import install_helper, install_shim, plain_name, shim_variable


def test_shim_is_installed_with_its_perl_and_its_other_half(tmp_path):
    shim = install_shim(tmp_path / "bin", tmp_path / "shims", PERL, "zsh")
    assert shim == tmp_path / "bin" / "zsh"
    assert stat.S_IMODE(shim.stat().st_mode) == 0o700
    assert shim.read_bytes().startswith(b"#!" + PERL.encode() + b"\n")
    assert (tmp_path / "shims.pl").read_bytes() == worker.SHIM_REST.read_bytes()
    again = install_shim(tmp_path / "bin", tmp_path / "shims", PERL, "zsh")
    assert again == shim


@pytest.mark.parametrize("name", ["a b", "a\tb", "a\nb", "x" * 150])
def test_shim_starts_with_a_perl_whose_path_a_first_line_cannot_hold(tmp_path, womm_home, name):
    perl = tmp_path / name / "perl"
    perl.parent.mkdir()
    shutil.copy(PERL, perl)
    shim = install_shim(womm_home.runtime / "bin", womm_home.runtime / "shims", str(perl), "sh")
    (womm_home.runtime / "shims.pl").write_text("print qq($^X\\n); exit 3;\n")
    env = {"WOMM_SHIM": f"{womm_home.runtime}/shims"}
    done = subprocess.run([shim, "-x"], capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout in (f"{perl}\n", f"{womm_home.runtime}/perl\n")


@pytest.mark.parametrize("has_stdin, flag", [(True, "1"), (False, "")])
def test_shim_variable_has_four_fields(tmp_path, has_stdin, flag):
    fields = shim_variable(tmp_path / "s", "/bin/sh", stdin=has_stdin).split("\t")
    assert fields[:3] == [str(tmp_path / "s"), "/bin/sh", flag]
    assert fields[3].isdigit()


def run(program, *words, **env):
    done = subprocess.run([program, *words], capture_output=True, text=True, check=True, env=env, timeout=60)
    return done.stdout


def test_plain_name_is_the_path_itself_or_a_link_to_it(tmp_path):
    plain, odd = tmp_path / "parallel", tmp_path / "a b" / "parallel"
    link = tmp_path / "link"
    assert plain_name(link, plain) == plain
    assert not link.is_symlink()
    odd.parent.mkdir()
    odd.write_text("x")
    assert plain_name(link, odd) == link
    assert link.read_text() == "x"


@pytest.mark.parametrize("name", ["a b", "a;b", "$(x)", "a'b", 'a"b', "a\nb", "gr\u00fcn", "gr\udcfc", "a:b"])
def test_plain_name_of_every_unsafe_path_is_the_links(tmp_path, name):
    assert plain_name(tmp_path / "link", tmp_path / name / "parallel") == tmp_path / "link"


def test_helper_runs_plain_gnu_parallel_without_the_shim(tmp_path, monkeypatch):
    """With the user's own settings for perl, which GNU parallel is a program of."""
    for name in worker.PERL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PERL5OPT", "-Mstrict -M'it s'")
    parallel, show = tmp_path / "a b" / "parallel", tmp_path / "perl"
    parallel.parent.mkdir()
    show.write_text('#!/bin/sh\nprintf "%s\\n" "$@"; env | grep -E "^(WOMM|PARALLEL|PERL|PATH)"\n')
    show.chmod(0o755)
    folder = tmp_path / "bin"
    folder.mkdir()
    install_helper(folder, str(show), parallel, "/opt/my shell/sh")
    usual = os.environ["PATH"]
    printed = run(folder / "parallel", "-k", "a  b", "", PATH=f"{folder}:{usual}", WOMM_SHIM="x").splitlines()
    at = printed.index(str(parallel))
    assert printed[at + 1 : at + 4] == ["-k", "a  b", ""]
    assert {*printed[at + 4 :]} == {
        f"PATH={usual}",
        "PARALLEL_SHELL=/opt/my shell/sh",
        "PERL5OPT=-Mstrict -M'it s'",
    }


def test_helper_keeps_the_bytes_of_a_shells_name(tmp_path):
    show = tmp_path / "perl"
    show.write_text('#!/bin/sh\nprintf %s "$PARALLEL_SHELL"\n')
    show.chmod(0o755)
    install_helper(tmp_path, str(show), Path("/parallel"), "gr\udcfc 'n\n")
    done = subprocess.run([tmp_path / "parallel"], capture_output=True, check=True, env={"PATH": ":/usr/bin"})
    assert (done.stdout, done.stderr) == (b"gr\xfc 'n\n", b"")

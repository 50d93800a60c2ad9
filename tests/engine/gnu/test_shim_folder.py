"""The folder of programs that GNU parallel finds first."""

import shutil
import stat
import subprocess

import pytest

from tests.link.wires import PERL
from womm import worker
from womm.engine.gnu.shim_folder import install_shim, shim_variable


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

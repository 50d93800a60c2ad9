"""The programs of the workers' end, and the environment in which they start."""

import subprocess

import pytest

from tests.link.wires import PERL
from womm import worker

PROGRAMS = (worker.AGENT, worker.SHIM, worker.SHIM_REST, worker.BRIDGE, worker.COPY_INTO_POD)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_program_is_perl_that_is_there_and_compiles(program):
    done = subprocess.run([PERL, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, f"{program} syntax OK\n")


def test_clean_environment_has_no_setting_of_perl_and_all_else():
    given = {"PERL5LIB": "/x", "PERLIO": ":crlf", "PERL": "kept", "perl5lib": "kept", "A": "", "B": "\udcff"}
    assert worker.clean_environment(given) == {
        name: value for name, value in given.items() if name in {"PERL", "perl5lib", "A", "B"}
    }
    assert "PERL5LIB" in given


def test_settings_of_perl_that_change_a_program_are_all_cleaned():
    """perlrun(1), ENVIRONMENT."""
    script = "print join ',', $ENV{PERL5OPT} // '', $ENV{PERL5LIB} // '', ${^UNICODE}, ${^OPEN} // 'none'"
    given = {"PERL5OPT": "-Mstrict", "PERL5LIB": "/x", "PERL_UNICODE": "SDA", "PERLIO": ":utf8"}
    done = subprocess.run(
        [PERL, "-e", script], capture_output=True, check=True, env=worker.clean_environment(given)
    )
    assert (done.stdout, done.stderr) == (b",,0,none", b"")


def test_agent_gives_the_settings_of_perl_back_to_its_jobs():
    given = {"PERL5LIB": "/x y", "PERLLIB": "", "A": "b", "WOMM_KEPT_OTHER": "mine"}
    env = worker.agent_environment(given)
    assert env == {
        "A": "b",
        "WOMM_KEPT_OTHER": "mine",
        "WOMM_KEPT_PERL5LIB": "/x y",
        "WOMM_KEPT_PERLLIB": "",
    }
    back = {name.removeprefix(worker.KEPT): value for name, value in env.items()}
    assert {name: back[name] for name in ("PERL5LIB", "PERLLIB", "A")} == {
        name: given[name] for name in ("PERL5LIB", "PERLLIB", "A")
    }

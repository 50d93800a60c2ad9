"""Folders in homes that pods may see: decided before a task, once for all projects."""

import shlex

import pexpect
import pytest

from tests.cli.running import WOMM, environment
from tests.here import places
from tests.task.test_programs import events
from womm import settings as module
from womm.errors import UsageError
from womm.setup.here_roots import decided
from womm.task.programs import make_programs


@pytest.fixture
def conda(womm_home, monkeypatch):
    """A conda environment in the home, first in PATH."""
    place = places.Place(womm_home.home, womm_home.home)
    prefix = place.python("conda/envs/x")
    (prefix / "conda-meta").mkdir()
    monkeypatch.setenv("PATH", f"{prefix}/bin:/usr/bin:/bin")
    return prefix


def settings(folder, env=None, **flags):
    return module.load(folder, env or {}, {"cluster": "kubernetes", "image": "here", **flags})


def lines_of(found, folder, **how):
    said: list[str] = []
    return decided(found, folder, said.append, **how), said


def test_decided_without_a_terminal_names_what_to_type(tmp_path, conda):
    with pytest.raises(UsageError) as caught:
        decided(settings(tmp_path), tmp_path, lambda text: None)
    assert caught.value.hint == f"--here-roots {conda}, or --here-roots none"


def test_decided_on_the_command_line_counts_as_it_is(tmp_path, conda):
    found, said = lines_of(settings(tmp_path, here_roots=str(conda)), tmp_path)
    assert found.here_roots == (str(conda),)
    assert any(str(conda) in line and "conda, by your word" in line for line in said)
    found, said = lines_of(settings(tmp_path, here_roots="none"), tmp_path)
    assert found.here_roots == ()
    assert f"pods do not see these folders, since you did not allow it: {conda}" in said


def test_decided_the_table_is_shown_once_until_it_changes(tmp_path, conda):
    chosen = settings(tmp_path, here_roots=str(conda))
    assert lines_of(chosen, tmp_path)[1]
    assert lines_of(chosen, tmp_path)[1] == []
    assert lines_of(settings(tmp_path, here_roots="none"), tmp_path)[1]
    assert lines_of(settings(tmp_path, {"WOMM_HERE_ROOTS": str(conda)}), tmp_path, quiet=True)[1] == []


def test_decided_quietly_a_line_tells_once_what_leaves(tmp_path, conda):
    chosen = settings(tmp_path, here_roots=str(conda))
    (line,) = lines_of(chosen, tmp_path, quiet=True)[1]
    assert line.startswith("pods see ") and line.endswith("and so does `womm doctor`")
    assert lines_of(chosen, tmp_path, quiet=True)[1] == []
    assert len(lines_of(chosen, tmp_path)[1]) > 1


def test_decided_by_the_users_own_settings_is_of_this_project_alone(tmp_path, conda, womm_home):
    config = womm_home.config / "womm" / "config.toml"
    config.parent.mkdir()
    config.write_text(f'here-roots = ["{conda}", "{womm_home.home}/other"]\n')
    assert lines_of(settings(tmp_path), tmp_path)[0].here_roots == (str(conda),)
    config.write_text(f'here-roots = ["!{conda}"]\n')
    assert lines_of(settings(tmp_path), tmp_path)[0].here_roots == (f"!{conda}",)


async def test_decided_the_table_has_what_the_task_exports(tmp_path, conda, womm_home):
    """What is allowed for all projects may be wider than what is found; a named folder is a root itself."""
    wide = str(conda.parent)
    config = womm_home.config / "womm" / "config.toml"
    config.parent.mkdir()
    config.write_text(f'here-roots = ["{wide}"]\n')
    for given, root in (({}, str(conda)), ({"here_roots": wide}, wide)):
        found, said = lines_of(settings(tmp_path, share="none", **given), tmp_path)
        told = [line.split()[0] for line in said if "by your word" in line]
        programs = await make_programs(found, tmp_path, "/bin/sh", events([]))
        assert programs is not None
        exported = [one.path for one in programs.spec.mounts if one.path.startswith(str(womm_home.home))]
        await programs.close()
        assert (told, exported) == ([root], [root])


def test_decided_leaves_other_images_alone(tmp_path, conda):
    chosen = settings(tmp_path, image="debian:12")
    assert lines_of(chosen, tmp_path) == (chosen, [])


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "kept"), [("y", ""), ("n", "!")])
def test_decided_at_a_terminal_asks_once_although_stdin_is_the_jobs(tmp_path, conda, womm_home, answer, kept):
    line = f"echo 1 | {shlex.join(WOMM)} parallel --kube-pods 1 --image here"
    line += f" --kubeconfig {tmp_path}/none -- echo"
    for first in (True, False):
        child = pexpect.spawn(
            "/bin/sh", ["-c", line], encoding="utf-8", timeout=60, cwd=tmp_path, env=environment()
        )
        if first:
            child.expect_exact(f"may pods see {conda} (conda: in PATH)? [y/N] ")
            child.sendline(answer)
            child.expect_exact(f"your answers are in {womm_home.config}/womm/config.toml: here-roots")
        child.expect(pexpect.EOF)
        assert f"{tmp_path}/none" in child.before
        assert "may pods see" not in child.before
        child.close()
    config = womm_home.config / "womm" / "config.toml"
    assert config.read_text().splitlines()[-1] == f'here-roots = ["{kept}{conda}"]'

"""All that pods see of this machine: found, allowed, and refused."""

import os
import tempfile
from pathlib import Path

import pytest

from tests.here import places
from womm.errors import UsageError
from womm.here.filesystems import FileSystems
from womm.here.find import chosen, find_programs, loader_folders, look


@pytest.fixture
def place(tmp_path):
    return places.make(tmp_path)


@pytest.fixture
def open_place():
    """A place to which every user gets: what is not in the home is not private."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield places.make(Path(folder))


@pytest.fixture
def env(place):
    place.python("home/me/conda/envs/x")
    (place.home / "conda/envs/x/conda-meta").mkdir()
    return {
        "HOME": str(place.home),
        "PATH": f"{place.home}/conda/envs/x/bin:/usr/bin:/bin",
        "CONDA_PREFIX": f"{place.home}/conda/envs/x",
    }


def test_find_programs_nobody_was_asked_names_what_to_type(place, env):
    with pytest.raises(UsageError) as caught:
        find_programs(env, None, None)
    assert (
        f"pods would see {place.home}/conda/envs/x (conda: in PATH), and you have not" in caught.value.message
    )
    assert caught.value.hint == f"--here-roots {place.home}/conda/envs/x, or --here-roots none"


def test_find_programs_with_the_users_word_has_what_a_program_needs(place, env):
    found = find_programs(env, None, [f"{place.home}/conda/envs/x"])
    roots = {root.path: root for root in found.roots}
    assert roots[f"{place.home}/conda/envs/x"].private
    assert not roots["/usr"].private
    assert found.env["PATH"] == env["PATH"]
    assert found.env["CONDA_PREFIX"] == env["CONDA_PREFIX"]
    assert "HOME" not in found.env
    assert "passwd" in found.etc
    assert found.perl == "/usr/bin/perl"
    for link, target in found.links:
        assert os.path.realpath(link) == target


def test_find_programs_an_allowed_folder_is_no_root_unless_it_is_named(place, env):
    conda = f"{place.home}/conda"
    narrow = find_programs(env, None, [conda])
    assert [root.path for root in narrow.roots if root.private] == [f"{conda}/envs/x"]
    link = str(place.link("home/me/link", conda))
    for name in (conda, link):
        named = find_programs(env, None, [name], named=[name])
        assert [root.path for root in named.roots if root.private] == [conda]
    assert not any(root.private for root in find_programs(env, None, [link]).roots)


def test_find_programs_none_leaves_homes_out_and_says_so(place, env):
    found = find_programs(env, None, ())
    assert not any(root.private for root in found.roots)
    assert found.env["PATH"] == "/usr/bin:/bin"
    assert "CONDA_PREFIX" not in found.env
    assert (
        f"pods do not see these folders, since you did not allow it: {place.home}/conda/envs/x" in found.notes
    )


def test_find_programs_what_the_user_refuses_is_left_out(place, env):
    root = f"{place.home}/conda/envs/x"
    found = find_programs(env, None, [root, f"!{place.home}/conda", "!/usr"])
    assert [path.path for path in found.roots if path.path in {root, "/usr"}] == ["/usr"]


def test_find_programs_nothing_of_a_home_asks_nobody(place):
    assert find_programs({"HOME": str(place.home), "PATH": "/usr/bin"}, None, None).env["PATH"] == "/usr/bin"


@pytest.mark.soak
def test_find_programs_says_each_bad_folder_of_path_once_and_goes_on(place):
    good, closed = place.program("home/me/bin/tool").parent, place.program("closed/tool").parent
    closed.chmod(0o700)
    gone, broken = place.top / "gone", place.link("broken", "nowhere")
    circle = place.link("circle", "circle")
    bad = [gone, closed, broken, circle, place.program("file")]
    entries = [*bad, "bin", "", good, *bad, "bin", "", "/usr/bin"]
    env = {"HOME": str(place.home), "PATH": ":".join(map(str, entries))}
    found = find_programs(env, None, [str(good)])
    assert found.env["PATH"] == f"{good}:/usr/bin"
    told = "\n".join(found.notes)
    assert [path for path in bad if told.count(str(path)) != 1] == []
    assert "since they are relative: bin, (an empty one)\n" in told
    assert f"are not there: {gone}, {broken}, {circle}, {bad[-1]}\n" in told
    assert f"since not every user can read them: {closed}" in told


def test_find_programs_a_home_cannot_be_allowed(place, env):
    with pytest.raises(UsageError, match="is a home, or holds one"):
        find_programs(env, None, [str(place.home)], named=[str(place.home)])


def test_look_finds_what_variables_links_and_the_project_name(place):
    base = place.python("home/me/.local/share/uv/python/cpython-3.12.1")
    interpreter = place.python("tools/py")
    project = place.top / "proj"
    place.program("proj/.venv/bin/tool")
    (project / ".venv/pyvenv.cfg").write_text(f"home = {base}/bin\n")
    place.program("proj/analyse", f"#!{interpreter}/bin/python3\n")
    place.program("home/me/.cargo/bin/rustup")
    place.program("home/me/.rustup/settings.toml")
    place.program("home/me/.local/lib/python3.12/site-packages/numpy/x.so")
    place.program("home/me/libs/lib/libx.so")
    env = {
        "HOME": str(place.home),
        "PATH": f"{place.home}/.cargo/bin:/usr/bin",
        "LD_LIBRARY_PATH": f"{place.home}/libs/lib:relative:",
        "PYTHONHOME": f"{place.home}/gone",
    }
    found = look(env, project)
    assert {root.path.removeprefix(f"{place.top}/") for root in found.private()} == {
        "home/me/.local/share/uv/python/cpython-3.12.1",
        "tools/py",
        "home/me/.cargo/bin",
        "home/me/.rustup",
        "home/me/.local/lib/python3.12",
        "home/me/libs/lib",
    }
    seen = chosen(env, found, project, [root.path for root in found.private()])
    assert seen.env["PYTHONUSERBASE"] == f"{place.home}/.local"
    assert seen.env["RUSTUP_HOME"] == f"{place.home}/.rustup"
    assert "PYTHONHOME" not in seen.env


def test_look_what_the_project_alone_leads_to_is_private(open_place):
    place = open_place
    outside = [
        place.program(f"data/{name}/run").parent for name in ("base", "script", "link", "libs", "venv")
    ]
    base, script, link, libs, venv = outside
    place.program("proj/tool", f"#!{script}/run\n")
    place.link("proj/.venv/bin/y", link / "run")
    (place.top / "proj/.venv/pyvenv.cfg").write_text(f"home = {base}\n")
    libs_of_project = place.link("proj/libs", libs)
    venv_of_project = place.link("proj/venv", venv)
    env = {"HOME": str(place.home), "PATH": f"{place.top}/proj/.venv/bin"}
    env |= {"LD_LIBRARY_PATH": str(libs_of_project), "VIRTUAL_ENV": str(venv_of_project)}
    found = look(env, place.top / "proj")
    assert {root.path for root in found.private()} == set(map(str, outside))
    env["PATH"] += "".join(f":{folder}" for folder in outside)  # the user leads there, too
    found = look(env, place.top / "proj")
    assert found.private() == ()
    assert set(map(str, outside)) <= {root.path for root in found.roots}


def test_chosen_without_what_the_project_wants_has_what_the_user_leads_to(open_place):
    place = open_place
    place.program("data/py/bin/run")
    place.program("proj/tool", f"#!{place.program('data/py/lib/run')}\n")
    (place.top / "proj/.venv").mkdir()
    (place.top / "proj/.venv/pyvenv.cfg").write_text(f"home = {place.top}/data\n")
    env = {"HOME": str(place.home), "PATH": f"{place.top}/data/py/bin"}
    found = look(env, place.top / "proj")
    for allowed, root in (((), "data/py"), ([f"{place.top}/data"], "data")):
        seen = chosen(env, found, place.top / "proj", allowed)
        paths = [one.path for one in seen.roots if one.path.startswith(str(place.top))]
        assert paths == [f"{place.top}/{root}"]


def test_look_what_is_on_another_systems_disk_is_no_root(place):
    place.program("stick/lib/libx.so")
    table = FileSystems([("/", "ext4"), (str(place.top / "stick"), "vfat")])
    env = {"HOME": str(place.home), "PATH": "/usr/bin", "LD_LIBRARY_PATH": f"{place.top}/stick/lib"}
    assert look(env, None, table=table).private() == ()


def test_look_and_chosen_never_touch_what_links_to_a_server_that_is_gone(place):
    gone = place.top / "gone"
    table = FileSystems([("/", "ext4"), (str(gone), "nfs4")])
    assert not table.answers(str(gone))  # it is asked once; now there is something to find
    base = place.python("gone/py")
    (base / "pyvenv.cfg").write_text(f"home = {place.python('tools/py')}/bin\n")
    env = {"HOME": str(place.home), "PATH": "/usr/bin"}
    for name in ("LD_LIBRARY_PATH", "VIRTUAL_ENV", "SSL_CERT_DIR"):
        env[name] = str(place.link(f"links/{name}", base))
    place.link("proj/.venv", base)
    place.link("proj/script", place.program("gone/script", f"#!{place.top}/tools/py/bin/python3\n"))
    found = look(env, place.top / "proj", table=table)
    assert found.private() == ()
    assert chosen(env, found, place.top / "proj", ()).env.get("VIRTUAL_ENV") is None


def test_loader_folders_follows_includes(tmp_path):
    (tmp_path / "ld.so.conf").write_text("include conf.d/*.conf # all\n/opt/a/lib\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/b.conf").write_text("# nothing\n/opt/b/lib=libc6\ninclude ../ld.so.conf\n")
    assert loader_folders(str(tmp_path / "ld.so.conf"))[-1] == "/opt/a/lib"
    assert "/opt/b/lib" in loader_folders(str(tmp_path / "ld.so.conf"))
    assert loader_folders(str(tmp_path / "gone")) == []

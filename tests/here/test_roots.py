"""Which folders hold the programs, and which links have to be mounts."""

import os

import pytest

from tests.here import places
from womm.here import roots as module
from womm.here.roots import base_of_venv, interpreter_of, kind_of


@pytest.fixture
def place(tmp_path):
    return places.make(tmp_path)


def own(roots):
    """Return the roots that are not the system's, and the links that are not."""
    found, links = roots.found()
    return (
        {root.path: root.kind for root in found if root.kind != "system"},
        {link: target for link, target in links if os.path.dirname(link) != "/"},
    )


@pytest.mark.parametrize("merged", [True, False])
def test_system_has_each_folder_as_it_is_there(tmp_path, merged):
    for name in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "home", "lost+found", "opt"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        if merged:
            (tmp_path / name).symlink_to(f"usr/{name}")
        else:
            (tmp_path / name).mkdir()
    (tmp_path / "lib32").symlink_to("gone")
    for name in ("library", "libvirt-images"):
        (tmp_path / name).mkdir()
    found, links = module.system(str(tmp_path))
    names = {os.path.basename(root.path) for root in found}
    if merged:
        assert names == {"usr"}
        assert dict(links) == {
            f"{tmp_path}/{name}": f"{tmp_path}/usr/{name}" for name in ("bin", "sbin", "lib", "lib64")
        }
    else:
        assert (names, links) == ({"usr", "bin", "sbin", "lib", "lib64"}, [])


def test_see_a_program_of_a_prefix_makes_the_prefix_a_root(place):
    python = place.python("home/me/.pyenv/versions/3.12.1")
    roots = place.roots()
    assert roots.see(f"{python}/bin/python3", "in PATH")
    assert roots.see(f"{python}/lib/python3.12", "PYTHONPATH")
    assert own(roots) == ({str(python): "python"}, {})
    assert all(root.private for root in roots.found()[0] if root.kind == "python")


def test_see_folders_of_a_home_stay_narrow(place):
    for name in (".local/bin", "bin", ".cargo/bin"):
        place.program(f"home/me/{name}/tool")
        (place.home / name).parent.joinpath("share").mkdir(exist_ok=True)
    (place.home / ".cargo/share").rmdir()
    roots = place.roots()
    for name in (".local/bin", "bin", ".cargo/bin"):
        assert roots.see(str(place.home / name), "in PATH")
    assert set(own(roots)[0]) == {str(place.home / name) for name in (".local/bin", "bin", ".cargo/bin")}


def test_see_a_home_itself_is_refused_whatever_leads_there(place):
    place.program("home/me/tool")
    place.link("home/me/bin/tool", place.home / "tool")
    roots = place.roots()
    assert roots.see(str(place.home / "bin"), "in PATH")
    roots.programs(str(place.home / "bin"))
    assert set(own(roots)[0]) == {str(place.home / "bin")}
    assert roots.refused.broad == [str(place.home)]
    assert not roots.see(str(place.top / "home"), "in PATH")
    assert roots.name(str(place.home)) == "is a home, or holds one"


def test_see_what_others_may_not_read_is_refused(place):
    place.program("opt-like/bin/tool")
    (place.top / "opt-like/bin").chmod(0o750)
    roots = place.roots()
    assert not roots.see(f"{place.top}/opt-like/bin/tool", "in PATH")
    assert roots.refused.unreadable == [f"{place.top}/opt-like/bin"]
    assert "not readable" in roots.name(f"{place.top}/opt-like/bin")


def test_programs_links_out_of_a_folder_are_followed(place):
    python = place.python("home/me/.local/share/pipx/venvs/black")
    place.link("home/me/.local/bin/black", python / "bin/python3")
    place.link("home/me/.local/bin/gone", place.home / "nowhere/gone")
    place.link("home/me/.local/bin/circle", "circle2")
    place.link("home/me/.local/bin/circle2", "circle")
    roots = place.roots()
    roots.see(str(place.home / ".local/bin"), "in PATH")
    roots.programs(str(place.home / ".local/bin"))
    assert set(own(roots)[0]) == {str(place.home / ".local/bin"), str(python)}


def test_programs_the_interpreter_of_a_script_is_seen(place):
    python = place.python("tools/py")
    place.program("home/me/bin/script", f"#! {python}/bin/python3 -I\n")
    roots = place.roots()
    roots.see(str(place.home / "bin"), "in PATH")
    roots.programs(str(place.home / "bin"))
    assert set(own(roots)[0]) == {str(place.home / "bin"), str(python)}


def test_see_a_link_on_the_way_becomes_a_mount_of_the_root(place):
    python = place.python("data/me/.pyenv/versions/3.12.1")
    place.link("homes", place.top / "data")
    place.link("data/me/.pyenv/versions/3.12", "3.12.1")
    roots = place.roots()
    assert roots.see(f"{place.top}/homes/me/.pyenv/versions/3.12/bin", "in PATH")
    link = f"{place.top}/homes/me/.pyenv/versions/3.12"
    assert own(roots) == ({str(python): "python"}, {link: str(python)})


def test_see_links_within_a_root_are_links_there_too(place):
    python = place.python("data/py")
    place.link("data/py/current", "lib")
    place.link("data/py/out", place.program("data/other/lib/x"))
    roots = place.roots()
    assert roots.see(f"{python}/bin", "in PATH")
    assert roots.see(f"{python}/current/python3.12", "PYTHONPATH")
    assert roots.see(f"{python}/out", "a library")
    assert own(roots) == ({str(python): "python", f"{place.top}/data/other/lib": "programs"}, {})


def test_venv_of_the_project_needs_its_base_alone(place):
    python = place.python("home/me/.pyenv/versions/3.12.1")
    project = place.top / "proj"
    place.program("proj/.venv/bin/tool")
    place.link("proj/.venv/bin/python", python / "bin/python3.12")
    (project / ".venv/pyvenv.cfg").write_text(f"home = {python}/bin\nversion = 3.12.1\n")
    roots = place.roots(str(project))
    roots.venv(str(project / ".venv"))
    assert own(roots) == ({str(python): "python"}, {})
    elsewhere = place.roots()
    elsewhere.venv(str(project / ".venv"))
    assert set(own(elsewhere)[0]) == {str(python), str(project / ".venv")}


def test_name_a_folder_of_the_users_choice_holds_what_is_in_it(place):
    python = place.python("home/me/.pyenv/versions/3.12.1")
    (place.home / ".pyenv/lib").mkdir()
    roots = place.roots()
    assert roots.name(str(place.home / ".pyenv")) == ""
    assert roots.see(str(python / "bin"), "in PATH")
    assert list(own(roots)[0]) == [str(place.home / ".pyenv")]
    assert roots.name(str(place.home / "nowhere")) == "is no folder"


@pytest.mark.parametrize("disk", ["/opt", "/home", "/srv", "/mnt", "/tmp", "/var/tmp", "/var"])
def test_see_a_whole_disk_is_no_root(place, disk):
    roots = place.roots()
    assert not roots.see(disk, "in PATH")
    assert own(roots) == ({}, {})


def test_see_what_lies_on_a_disk_takes_the_folder_of_programs_alone(place):
    for name in ("data/bin/x", "data/share/x", "srv/lib/x", "venv/bin/x", "venv/pyvenv.cfg", "venv/lib/x"):
        place.program(name)
    roots = place.roots(top=str(place.top))
    assert not roots.see(f"{place.top}/srv", "in PATH")
    assert roots.see(f"{place.top}/data/bin", "in PATH")
    assert roots.see(f"{place.top}/venv/bin", "in PATH")  # an environment says what it is
    assert set(own(roots)[0]) == {f"{place.top}/data/bin", f"{place.top}/venv"}


def test_see_a_folder_of_the_pod_is_no_root(place):
    roots = place.roots()
    assert not roots.see("/proc/self", "in PATH")
    assert not roots.see("/etc/skel", "in PATH")
    assert own(roots) == ({}, {})


@pytest.mark.parametrize("path", ["/etc", "/etc/apt", "/run", "/proc/self", "/dev/shm", "/tmp", "/var/tmp"])
def test_name_a_folder_of_the_pod_cannot_be_named(place, path):
    roots = place.roots()
    assert roots.name(path) == "is the pods' own, or of no use in them"
    assert own(roots) == ({}, {})


def test_kind_of_tells_what_a_root_is(place):
    for name, kind in (("conda-meta/x", "conda"), ("pyvenv.cfg", "venv"), ("lib/node_modules/x", "node")):
        place.program(f"{kind}/{name}")
        assert kind_of(f"{place.top}/{kind}") == kind
    assert kind_of("/nix/store") == "nix"


def test_base_of_venv_and_interpreter_of_odd_files_are_none(place):
    assert base_of_venv(str(place.top)) == ""
    assert interpreter_of(str(place.top)) == ""
    assert interpreter_of(str(place.program("a", "#!\n"))) == ""
    assert interpreter_of(str(place.program("b", "#!/usr/bin/env python3\n"))) == ""
    os.mkfifo(place.top / "fifo")
    assert interpreter_of(str(place.top / "fifo")) == ""
    assert interpreter_of(str(place.program("c", "#! /bin/x y\n"))) == "/bin/x"

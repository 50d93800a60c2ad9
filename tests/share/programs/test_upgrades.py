"""Packages that are upgraded while a task runs."""

import os

import pytest

from womm.here.programs import Programs, Root
from womm.share.programs.mounts import Mounts
from womm.share.programs.upgrades import Upgrades


def test_a_change_of_a_database_or_a_root_is_noticed_once(tmp_path):
    root, database = tmp_path / "conda", tmp_path / "status"
    packages = root / "lib/python3.12/site-packages"
    packages.mkdir(parents=True)
    database.write_text("one")
    upgrades = Upgrades(Programs((Root(str(root), "conda", ""),)), (str(database), str(tmp_path / "none")))
    assert (upgrades.look(), upgrades.due) == ("", False)
    database.write_text("one and two")
    assert (upgrades.look(), upgrades.look()) == (str(database), "")
    os.mkdir(packages / "numpy")
    assert upgrades.look() == str(packages)
    (tmp_path / "none").write_text("a package manager")
    assert upgrades.look() == str(tmp_path / "none")
    assert "paths" in repr(upgrades)


@pytest.mark.parametrize(
    "place",
    [
        "bin",
        "local/bin",
        "lib/python3/dist-packages",
        "local/lib/python3.11/dist-packages",
        "local/lib/node_modules",
        "lib/ruby/gems/3.1.0/specifications",
    ],
)
def test_what_installers_put_beside_packages_is_noticed(tmp_path, place):
    (tmp_path / place).mkdir(parents=True)
    upgrades = Upgrades(Programs((Root(str(tmp_path), "system", ""),)), ())
    (tmp_path / place / "tool").touch()
    assert upgrades.look() == str(tmp_path / place)


def test_a_root_on_another_machine_is_not_looked_at(tmp_path):
    for name in ("near/bin", "far/bin", "near/local/bin"):
        (tmp_path / name).mkdir(parents=True)
    lines = [f"26 22 0:42 / {tmp_path}/{name} rw - nfs4 server:/x rw\n" for name in ("far", "near/local")]
    (tmp_path / "mountinfo").write_text("".join(lines))
    roots = tuple(Root(str(tmp_path / name), "opt", "") for name in ("near", "far"))
    upgrades = Upgrades(Programs(roots), (), mounts=Mounts(str(tmp_path / "mountinfo")))
    (tmp_path / "far/bin/tool").touch()
    (tmp_path / "near/local/bin/tool").touch()
    assert upgrades.look() == ""
    (tmp_path / "near/bin/tool").touch()
    assert upgrades.look() == str(tmp_path / "near/bin")


def test_a_first_program_below_local_is_noticed(tmp_path):
    upgrades = Upgrades(Programs((Root(str(tmp_path), "system", ""),)), ())
    (tmp_path / "local/bin").mkdir(parents=True)
    assert upgrades.look() and not upgrades.look()

"""Packages that are upgraded while a task runs."""

import os

from womm.here.programs import Programs, Root
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
    assert "4 paths" in repr(upgrades) or "5 paths" in repr(upgrades)

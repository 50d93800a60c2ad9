"""PATH as pods get it."""

import pytest

from tests.here import places
from womm.here.filesystems import FileSystems
from womm.here.search_path import search_path


@pytest.fixture
def place(tmp_path):
    return places.make(tmp_path)


def searched(place, *entries, mounts=()):
    table = FileSystems([("/", "ext4"), *mounts])
    return search_path({"PATH": ":".join(map(str, entries))}, place.top, place.roots(), table)


def test_search_path_keeps_the_order_of_what_is_there(place):
    own = place.program("home/me/bin/tool").parent
    found = searched(place, own, "/usr/bin", own, "/usr/sbin")
    assert found.folders == [str(own), "/usr/bin", "/usr/sbin"]
    assert found.notes() == []


def test_search_path_says_what_is_left_out_and_why(place):
    closed = place.program("closed/tool").parent
    closed.chmod(0o700)
    found = searched(
        place, "/usr/bin", "", "bin", place.top / "gone", closed, "/mnt/c/Windows", mounts=[("/mnt/c", "9p")]
    )
    assert found.folders == ["/usr/bin"]
    assert found.notes() == [
        "pods do not have these folders of PATH, since they are relative: (an empty one), bin",
        f"these folders of PATH are not there: {place.top}/gone",
        f"pods do not have these folders of PATH, since not every user can read them: {closed}",
        "pods do not have these folders of PATH, since they are of another system: /mnt/c/Windows",
    ]


def test_search_path_on_a_networks_file_system_is_taken_and_said(place):
    soft = place.program("soft/bin/tool").parent
    mounts = [(str(place.top / "soft"), "nfs4"), (str(place.top / "gone"), "nfs4")]
    link = place.link("link", place.top / "gone" / "bin")
    found = searched(place, soft, place.top / "gone" / "bin", link, mounts=mounts)
    assert (found.folders, found.network) == ([str(soft)], [str(soft)])
    assert found.silent == [f"{place.top}/gone/bin", str(link)]


def test_search_path_a_circle_of_links_is_missing(place):
    circle = place.link("circle", place.top / "circle")
    assert searched(place, circle).missing == [str(circle)]


def test_search_path_shims_are_replaced_by_the_chosen_version(place):
    python = place.python("home/me/.pyenv/versions/3.12.1")
    root = place.home / ".pyenv"
    (root / "bin").mkdir()
    place.program("home/me/.pyenv/shims/python3", "#!/usr/bin/env bash\n")
    place.program("home/me/.pyenv/bin/pyenv")
    (root / "version").write_text("3.12.1\n")
    found = searched(place, root / "shims", root / "bin", "/usr/bin")
    assert found.folders == [str(python / "bin"), "/usr/bin"]
    assert found.notes() == [
        f"{root}/shims of PATH is {python}/bin in pods",
        f"{root}/bin of PATH is left out in pods",
    ]


def test_search_path_that_is_not_set_is_the_shells(place):
    assert "/usr/bin" in search_path({}, place.top, place.roots(), FileSystems([])).folders

"""The table of places: what was noted is found, also by the next process, and damage costs hints only."""

from womm.nfs.backends import locations
from womm.nfs.backends.locations import Locations


def test_places_are_found_moved_and_forgotten(tmp_path):
    places = Locations(tmp_path / "files.db")
    for ino in range(3 * locations.BUFFER_ENTRIES // 2):
        places.note(ino, 1, b"n%d" % ino)
    places.note(5, 2, b"moved")
    places.forget(6)
    big = 2**64 - 1
    places.note(big, big - 1, b"\xff/")
    assert places.find(4) == (1, b"n4")
    assert places.find(5) == (2, b"moved")
    assert places.find(6) is None
    places.close()
    again = Locations(tmp_path / "files.db")
    assert again.find(5) == (2, b"moved")
    assert again.find(6) is None
    assert again.find(big) == (big - 1, b"\xff/")
    again.note(8, 2, b"before")
    with again.walk():
        again.note(9, 2, b"meanwhile")
        again.forget(10)
        again.note_walked((ino, 3, b"seen") for ino in (5, 8, 9, 10))
    # What a walk has seen is newer than what was noted before it, and older than what was noted meanwhile.
    assert again.find(5) == again.find(8) == (3, b"seen")
    assert again.find(9) == (2, b"meanwhile")
    assert again.find(10) is None
    again.close()


def test_damaged_table_is_made_anew(tmp_path):
    path = tmp_path / "files.db"
    path.write_bytes(b"this is no database" * 1000)
    places = Locations(path)
    assert places.find(1) is None
    places.note(1, 2, b"x")
    places.close()
    again = Locations(path)
    assert again.find(1) == (2, b"x")
    again.close()

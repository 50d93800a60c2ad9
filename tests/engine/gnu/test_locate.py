"""Which GNU parallel is taken: the one that came with womm comes first."""

from womm.engine.gnu.locate import OLDEST_VERSION, locate


def test_locate_takes_the_one_that_came_with_womm_whatever_the_path_is():
    found = locate({"PATH": "/nowhere"})
    assert found.vendored
    assert found.version >= OLDEST_VERSION
    assert found.path.is_file()
    assert locate({"PATH": ""}) == found

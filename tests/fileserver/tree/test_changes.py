"""Changes by clients that overlap with questions."""

from womm.fileserver.tree.changes import Changes

STAMP = 1, 1


def test_change_touches_the_questions_that_it_overlaps():
    changes = Changes()
    with changes.question(STAMP) as before:
        with changes.change([7]):
            assert changes.touched(7, before) and not changes.touched(8, before)
            assert not changes.touched(7, before, but=1)
        assert changes.touched(7, before)
        with changes.question(STAMP) as after:
            assert not changes.touched(7, after)
            assert changes.touched(7, before)


def test_change_that_fails_has_ended():
    changes = Changes()
    try:
        with changes.change([7]):
            raise OSError
    except OSError:
        pass
    assert not changes.touched(7, changes.now(STAMP))
    assert repr(changes) == "<Changes 1, 0 concerns and 0 questions now>"


def test_two_changes_of_one_name_are_two():
    changes = Changes()
    with changes.change([(1, b"f")]):
        with changes.change([(1, b"f")]):
            assert changes.touched((1, b"f"), changes.now(STAMP), but=1)
        assert not changes.touched((1, b"f"), changes.now(STAMP), but=1)
        assert changes.touched((1, b"f"), changes.now(STAMP))

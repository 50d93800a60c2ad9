"""Byte-range locks against the plainest model: what each owner holds on each byte."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from womm.nfs.state.locks import END, Ranges

SIZE = 12
RANGES = st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)).map(
    lambda x: (x[0], min(x[0] + x[1], SIZE))
)
STEPS = st.lists(
    st.tuples(st.sampled_from(["read", "write", "unlock"]), st.sampled_from("abc"), RANGES), max_size=30
)


@given(STEPS)
def test_ranges_do_what_a_map_of_bytes_does(steps):
    ranges: Ranges[str] = Ranges()
    model: list[dict[str, bool]] = [{} for _ in range(SIZE)]
    for what, owner, (start, end) in steps:
        write = what == "write"
        others = [held for byte in model[start:end] for who, held in byte.items() if who != owner]
        conflict = ranges.conflict(owner, start, end, write)
        if what == "unlock":
            ranges.unlock(owner, start, end)
            for byte in model[start:end]:
                byte.pop(owner, None)
            continue
        assert (conflict is not None) == (any(others) or (write and bool(others)))
        if conflict is None:
            ranges.lock(owner, start, end, write)
            for byte in model[start:end]:
                byte[owner] = write
    found: list[dict[str, bool]] = [{} for _ in range(SIZE)]
    for owner in "abc":
        held = sorted(ranges.of(owner), key=lambda piece: piece.start)
        for one, two in itertools.pairwise(held):
            assert one.end < two.start or (one.end == two.start and one.write != two.write), "not joined"
        for piece in held:
            for byte in found[piece.start : piece.end]:
                assert owner not in byte
                byte[owner] = piece.write
    assert found == model


def test_range_to_the_end_of_all_files():
    ranges: Ranges[str] = Ranges()
    ranges.lock("a", 10, END, True)
    assert ranges.conflict("b", END - 1, END, False) is not None
    ranges.unlock("a", 100, 200)
    assert [(piece.start, piece.end) for piece in ranges.of("a")] == [(10, 100), (200, END)]
    ranges.unlock("a", 0, END)
    assert len(ranges) == 0

"""The values of settings as people write them, with their units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from womm import values


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("30d", 30 * 86400),
        ("2", 2),
        ("0.5", 0.5),
        (7, 7),
        (1.5, 1.5),
    ],
)
def test_parse_duration_units(text, seconds):
    assert values.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "5x", "-1s", "1s1", "1e5", "9" * 20, "inf", True, []])
def test_parse_duration_refuses_the_rest(text):
    with pytest.raises(ValueError, match="a time such as"):
        values.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512Mi", 512 << 20), ("1GiB", 1 << 30), ("1G", 10**9), ("1 KB", 1000), (5, 5), ("0", 0)],
)
def test_parse_size_units(text, size):
    assert values.parse_size(text) == size


@pytest.mark.parametrize(
    ("quantity", "millis"), [("1", 1000), ("500m", 500), ("0.5", 500), (".25", 250), ("1.5", 1500)]
)
def test_cpu_millis_of_quantities(quantity, millis):
    assert values.cpu_millis(quantity) == millis


def test_format_quantities_are_short():
    assert [values.format_cpu(millis) for millis in (1000, 4000, 1500, 250)] == [
        "1",
        "4",
        "1500m",
        "250m",
    ]
    sizes = (512 << 20, 2 << 30, 1536 << 20, 1000, 0)
    assert [values.format_mem(size) for size in sizes] == ["512Mi", "2Gi", "1536Mi", "1000", "0"]


@given(st.integers(1, 10**18 - 1))
def test_format_mem_round_trips(size):
    assert values.mem_bytes(values.format_mem(size)) == size

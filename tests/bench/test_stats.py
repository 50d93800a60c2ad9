import pytest

from bench import stats


def test_spread_of_rounds_is_median_and_range() -> None:
    found = stats.spread([3.0, 1.0, 100.0])
    assert found == stats.Spread(3.0, 1.0, 100.0, 3)
    assert str(found) == "3.00 (1.00-100)"


def test_spread_of_an_even_number_lies_between_the_middle_two() -> None:
    assert stats.spread([1.0, 2.0, 4.0, 9.0]).median == 3.0


def test_spread_of_one_round_shows_no_range() -> None:
    assert str(stats.spread([0.04])) == "0.04"


def test_spread_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no measurements"):
        stats.spread([])


def test_ratios_are_of_neighbours_not_of_medians() -> None:
    # The machine became ten times slower after the first round; the ratio does not care.
    assert stats.ratios([100.0, 10.0, 10.0], [200.0, 20.0, 20.0]) == [0.5, 0.5, 0.5]


def test_ratios_of_unequal_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        stats.ratios([1.0], [1.0, 2.0])


def test_marginal_rate_leaves_the_start_up_out() -> None:
    start_s, job_s = 0.7, 0.01
    rate = stats.marginal_rate(4, start_s + 4 * job_s, 1000, start_s + 1000 * job_s)
    assert rate == pytest.approx(100.0)


def test_marginal_rate_of_noise_is_none() -> None:
    assert stats.marginal_rate(4, 1.0, 20, 0.9) is None


def test_marginal_rate_of_the_same_count_is_refused() -> None:
    with pytest.raises(ValueError, match="not more"):
        stats.marginal_rate(4, 1.0, 4, 2.0)


def test_both_keeps_the_rounds_that_both_have() -> None:
    assert stats.both([1.0, None, 3.0], [4.0, 5.0, None]) == ([1.0], [4.0])


def test_order_of_every_second_round_is_turned() -> None:
    assert [stats.order("abc", number) for number in range(3)] == [list("abc"), list("cba"), list("abc")]


@pytest.mark.parametrize(
    ("target", "text", "good", "bad"),
    [
        (stats.Target(least=0.5), "≥ 0.5 x", 0.5, 0.49),
        (stats.Target(most=150, unit="ms"), "≤ 150 ms", 150, 151),
        (stats.Target(least=1, most=2, unit="s"), "≥ 1 s and ≤ 2 s", 1.5, 2.5),
    ],
)
def test_target_met_at_its_bound(target: stats.Target, text: str, good: float, bad: float) -> None:
    assert str(target) == text
    assert target.met(good)
    assert not target.met(bad)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.00"), (0.0123, "0.012"), (0.5, "0.50"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")],
)
def test_short_shows_about_three_digits(value: float, text: str) -> None:
    assert stats.short(value) == text


def test_steady_rate_leaves_out_the_beginning_and_the_end() -> None:
    # 100 bytes in 2 s of start-up, then 100 a second.
    marks = [(2.0, 100), (3.0, 200), (4.0, 300), (5.0, 400)]
    assert stats.steady_rate(marks) == pytest.approx(100.0)


@pytest.mark.parametrize("marks", [[], [(1.0, 100)]])
def test_steady_rate_of_output_that_came_at_once_is_refused(marks: list[tuple[float, int]]) -> None:
    with pytest.raises(ValueError, match="output"):
        stats.steady_rate(marks)

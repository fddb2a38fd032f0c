"""Every duration has one bucket, whose number and middle can be relied on."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.server.insight.buckets import ERROR, LAST, LONGEST_S, bounds_s, bucket, middle_s

durations_s = st.one_of(
    st.floats(0, LONGEST_S * 2),
    st.floats(0, 100),
    st.integers(0, LAST - 1).map(lambda number: bounds_s(number)[1]),
)


@given(durations_s)
def test_a_duration_is_within_the_bounds_of_its_bucket(duration_s: float) -> None:
    begin, end = bounds_s(bucket(duration_s))
    assert begin <= duration_s < end


@given(st.floats(1, LONGEST_S))
def test_a_middle_is_wrong_by_no_more_than_is_said(duration_s: float) -> None:
    assert abs(middle_s(bucket(duration_s)) - duration_s) <= ERROR * duration_s * (1 + 1e-5)
    assert ERROR < 1 / 40


@given(st.floats(0, 1, exclude_max=True))
def test_below_a_second_it_is_wrong_by_half_a_second(duration_s: float) -> None:
    assert bucket(duration_s) == 0
    assert abs(middle_s(0) - duration_s) <= 0.5


@given(durations_s, durations_s)
def test_a_longer_duration_is_in_no_earlier_bucket(one: float, two: float) -> None:
    assert bucket(min(one, two)) <= bucket(max(one, two))


def test_buckets_leave_no_gap_and_are_about_5_percent_wide() -> None:
    every = [bounds_s(number) for number in range(LAST + 1)]
    assert all(one[1] == two[0] for one, two in pairwise(every))
    assert all(end / begin == pytest.approx(1.05, abs=2e-6) for begin, end in every[1:-1])
    assert every[0][0] == 0
    assert every[-1][1] == float("inf")


def test_every_middle_is_in_its_bucket() -> None:
    assert middle_s(LAST) == bounds_s(LAST)[0]
    assert [bucket(middle_s(number)) for number in range(LAST + 1)] == list(range(LAST + 1))


@pytest.mark.parametrize(
    ("duration_s", "number"),
    [
        (-5.0, 0),
        (0.0, 0),
        (0.999999, 0),
        (1.0, 1),
        (1.049999, 1),
        (1.05, 2),
        (60.0, 84),  # 1.05**83 is 57.4, 1.05**84 is 60.2
        (3600.0, 168),  # 1.05**167 is 3454, 1.05**168 is 3627
        (86400.0, 233),
        (7 * 86400.0, 273),
        (3e9, 448),
        (1e12, LAST),
        (float("inf"), LAST),
    ],
)
def test_numbers_stay_what_they_are(duration_s: float, number: int) -> None:
    # They are stored: where this fails, every roll-up has to be built again.
    assert bucket(duration_s) == number


@pytest.mark.parametrize("number", [-1, LAST + 1])
def test_there_are_no_other_buckets(number: int) -> None:
    with pytest.raises(ValueError, match=f"numbered from 0 to {LAST}"):
        bounds_s(number)

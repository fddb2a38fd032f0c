"""The curve against the product of the textbook, in fractions; quantiles by walking along it."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.server.insight.buckets import ERROR, bucket
from cloudsignal.server.insight.survival import (
    POINTS,
    Curve,
    Observation,
    curve,
    curve_of_buckets,
    in_a_row,
)

SHARES = (Fraction(1, 10), Fraction(1, 2), Fraction(9, 10), Fraction(1))

observations = st.lists(
    st.builds(Observation, st.integers(0, 12).map(float), st.booleans(), st.integers(1, 3)),
    max_size=10,
)


def each(observed: list[Observation]) -> list[tuple[float, bool]]:
    """Every thing by itself."""
    return [(one.duration_s, one.ended) for one in observed for _ in range(one.count)]


def left_after(observed: list[Observation], duration_s: float) -> Fraction:
    """What lasts longer: of all times at which something ended, the shares that went on, multiplied."""
    left = Fraction(1)
    things = each(observed)
    for time_s in sorted({lasted for lasted, ended in things if ended and lasted <= duration_s}):
        going = sum(lasted >= time_s for lasted, _ in things)
        ends = sum(lasted == time_s and ended for lasted, ended in things)
        left *= 1 - Fraction(ends, going)
    return left


def remaining_s(observed: list[Observation], waited_s: float, share: Fraction) -> float | None:
    """The first time after which no more than the rest of those that waited so long is left."""
    waited = left_after(observed, waited_s)
    for time_s in sorted({one.duration_s for one in observed if one.ended}):
        if waited and time_s > waited_s and left_after(observed, time_s) <= (1 - share) * waited:
            return time_s - max(waited_s, 0)
    return None


@given(observations)
def test_the_curve_is_the_product_of_the_textbook(observed: list[Observation]) -> None:
    estimated = curve(observed)
    for half_s in range(28):
        expected = left_after(observed, half_s / 2)
        assert estimated.left_after(half_s / 2) == pytest.approx(float(expected), abs=1e-12)
    assert estimated.observed == len(each(observed))
    assert estimated.ended == sum(ended for _, ended in each(observed))


@given(observations, st.sampled_from(SHARES))
def test_a_quantile_is_where_the_curve_first_falls_so_far(
    observed: list[Observation], share: Fraction
) -> None:
    assert curve(observed).quantile(float(share)) == remaining_s(observed, -1, share)


@given(observations, st.integers(0, 26), st.sampled_from(SHARES))
def test_what_remains_is_reckoned_from_those_that_lasted_longer(
    observed: list[Observation], half_s: int, share: Fraction
) -> None:
    waited_s = half_s / 2
    found = curve(observed).remaining_s(waited_s, float(share))
    assert found == remaining_s(observed, waited_s, share)
    assert found is None or found > 0


@given(observations, st.integers(0, 26), st.integers(-2, 26))
def test_the_chance_is_what_ends_of_those_that_lasted_longer(
    observed: list[Observation], half_s: int, within_half_s: int
) -> None:
    waited = left_after(observed, half_s / 2)
    chance = curve(observed).chance(half_s / 2, within_half_s / 2)
    if not waited:
        assert chance is None
    else:
        later = left_after(observed, half_s / 2 + max(within_half_s, 0) / 2)
        assert chance == pytest.approx(float(1 - later / waited), abs=1e-12)


@given(observations, st.integers(-1, 26), st.integers(0, 26), st.sampled_from(SHARES))
def test_a_curve_begun_later_tells_what_remains(
    observed: list[Observation], half_s: int, further_half_s: int, share: Fraction
) -> None:
    waited_s, further_s = half_s / 2, further_half_s / 2
    whole = curve(observed)
    later = whole.after(waited_s)
    if waited_s >= 0:
        assert later.quantile(float(share)) == whole.remaining_s(waited_s, float(share))
    if whole.left_after(waited_s):
        chance = whole.chance(waited_s, further_s)
        assert 1 - later.left_after(further_s) == pytest.approx(chance, abs=1e-12)
    assert later.observed == whole.precedents(waited_s)
    assert later.ended == sum(ended for lasted, ended in each(observed) if lasted > waited_s)


def likelihood(observed: list[list[Observation]], within_s: float) -> Fraction:
    """How likely several in a row end within a time: over every way in which they can."""
    if not observed:
        return Fraction(within_s >= 0)
    first, *others = observed
    found, before = Fraction(0), Fraction(1)
    for time_s in sorted({one.duration_s for one in first if one.ended}):
        after = left_after(first, time_s)
        found += (before - after) * likelihood(others, within_s - time_s)
        before = after
    return found


@given(st.lists(observations, min_size=1, max_size=3), st.integers(0, 36))
def test_in_a_row_the_likelihood_is_that_of_every_way(
    observed: list[list[Observation]], within_s: int
) -> None:
    found = in_a_row([curve(each) for each in observed])
    # Each curve may be wrong by half a point, and so may each thinning, on either side.
    error = 0 if len(observed) == 1 else len(observed) / POINTS
    expected = float(likelihood(observed, within_s))
    assert 1 - found.left_after(within_s) == pytest.approx(expected, abs=error + 1e-9)


def test_one_in_a_row_is_itself() -> None:
    only = curve([Observation(3.0, True), Observation(5.0, False)])
    assert in_a_row([only]) is only


def test_three_in_a_row_by_hand() -> None:
    half_and_half = curve([Observation(1.0, True), Observation(10.0, True)])
    found = in_a_row([half_and_half] * 3)
    assert found.times_s == (3, 12, 21, 30)
    assert found.left == pytest.approx((7 / 8, 1 / 2, 1 / 8, 0), abs=0.02)


def test_in_a_row_nothing_is_shifted() -> None:
    evenly = curve([Observation(float(each), True) for each in range(1, 1001)])
    assert in_a_row([evenly] * 2).median_s == pytest.approx(1001, abs=3)
    assert in_a_row([evenly] * 3).median_s == pytest.approx(1501.5, abs=12)


@given(observations, st.integers(-1, 26))
def test_precedents_lasted_until_the_next_end(observed: list[Observation], half_s: int) -> None:
    ends = [lasted for lasted, ended in each(observed) if ended and lasted > half_s / 2]
    expected = sum(lasted >= min(ends) for lasted, _ in each(observed)) if ends else 0
    assert curve(observed).precedents(half_s / 2) == expected


@given(observations)
def test_order_and_bundling_do_not_matter(observed: list[Observation]) -> None:
    single = [Observation(lasted, ended) for lasted, ended in each(observed)]
    assert curve(reversed(single)) == curve(observed)


@given(st.lists(st.floats(1, 1e8), min_size=1, max_size=60), st.sampled_from(SHARES))
def test_without_unfinished_ones_quantiles_are_those_of_the_list(
    durations_s: list[float], share: Fraction
) -> None:
    exact = sorted(durations_s)[-(-len(durations_s) * share.numerator // share.denominator) - 1]
    assert curve([Observation(each, True) for each in durations_s]).quantile(float(share)) == exact
    estimated = curve_of_buckets(Counter(map(bucket, durations_s)), {}).quantile(float(share))
    assert estimated == pytest.approx(exact, rel=ERROR * 1.001)


@given(st.lists(st.tuples(st.integers(0, 300), st.booleans(), st.integers(1, 10**7)), max_size=40))
def test_buckets_are_observations_of_their_middles(counts: list[tuple[int, bool, int]]) -> None:
    ended: Counter[int] = Counter()
    unfinished: Counter[int] = Counter()
    for number, is_ended, count in counts:
        (ended if is_ended else unfinished)[number] += count
    estimated = curve_of_buckets(ended, unfinished)
    assert estimated.observed == sum(count for _, _, count in counts)
    assert list(map(bucket, estimated.times_s)) == sorted(ended)
    assert all(0 <= after <= before for before, after in pairwise((1.0, *estimated.left)))


def test_an_example_by_hand() -> None:
    # Of ten items six ended; the curve falls to 9/10, then by 1/8, and so on.
    lasted = [(1, True), (2, False), (3, True), (4, True), (5, False)]
    lasted += [(6, True), (7, False), (8, True), (9, False), (10, True)]
    found = curve([Observation(duration, ended) for duration, ended in lasted])
    assert found.times_s == (1, 3, 4, 6, 8, 10)
    assert found.at_risk == (10, 8, 7, 5, 3, 1)
    assert found.ends == (1, 1, 1, 1, 1, 1)
    assert found.left == pytest.approx((0.9, 0.7875, 0.675, 0.54, 0.36, 0.0))
    assert (found.median_s, found.ninth_decile_s) == (8, 10)
    # After 5 there are 0.675 left, so half of those have ended when 0.3375 are: at 10.
    assert found.remaining_s(5, 0.5) == 5
    assert found.remaining_s(5, 0.4) == 3
    assert found.remaining_s(10, 0.5) is None
    assert found.chance(5, 1) == pytest.approx(0.2)


def test_unfinished_items_make_the_median_later_not_earlier() -> None:
    ended = [Observation(10.0, True, 5), Observation(20.0, True, 5)]
    assert curve(ended).median_s == 10
    assert curve([*ended, Observation(15.0, False, 3)]).median_s == 20
    assert curve([*ended, Observation(30.0, False, 11)]).median_s is None


def test_what_went_on_at_the_end_of_another_lasted_longer() -> None:
    assert curve([Observation(5.0, True), Observation(5.0, False)]).left == (0.5,)


def test_of_nothing_nothing_is_known() -> None:
    nothing = curve([])
    assert nothing == Curve((), (), (), (), 0)
    assert nothing.median_s is None
    assert nothing.remaining_s(3, 0.5) is None
    assert nothing.chance(3, 4) == 0
    assert nothing.precedents(0) == 0


def test_negative_durations_count_as_none() -> None:
    assert curve([Observation(-3.0, True)]) == curve([Observation(0.0, True)])
    assert curve([Observation(-3.0, True)]).median_s == 0


def test_nine_of_ten_are_nine_of_ten_in_floating_point_too() -> None:
    assert curve([Observation(float(each), True) for each in range(1, 11)]).ninth_decile_s == 9
    assert curve([Observation(float(each), True) for each in range(1, 11)]).quantile(1) == 10


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_there_are_no_other_shares(share: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        curve([]).quantile(share)

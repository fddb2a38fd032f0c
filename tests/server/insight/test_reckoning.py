"""Figures from counts, by hand; that they are what they are item by item is in the contract of stores."""

import pytest

from cloudsignal.protocol.items import Item
from cloudsignal.protocol.units import SECOND_US
from cloudsignal.server.insight import counting
from cloudsignal.server.insight.buckets import ERROR
from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.counting import lasted
from cloudsignal.server.insight.reckoning import (
    BANDS_S,
    curve,
    honesty,
    lags,
    punctuality,
    quarter_s,
    score,
)
from cloudsignal.server.insight.reporting import Tally
from tests.server.insight.test_calendars import OFFICE, berlin

HOUR_S = 3600


def test_a_key_says_what_it_was_made_of() -> None:
    item = Item(registered=0, first_registered=0, producing=10**9, canceled=10**10, live=True)
    counted = counting.of_item(item, None, Calendar())
    assert counted is not None
    steps = {what: lasted(key) for what, _, key in counted.counts if what.startswith("took")}
    assert steps == {
        "took:01": (142, True),
        "took:04": (189, False),
        "took:12": (187, False),
        "took:14": (187, False),
    }
    assert set(steps) < set(counting.WHAT)


def test_what_goes_on_counts_for_as_long_as_it_has() -> None:
    # Friday at 10:30, and now it is Monday at 09:00: two and a half hours on Friday, and one today.
    begun, now = berlin("2026-12-04 10:00"), berlin("2026-12-07 09:00")
    going = {(begun // SECOND_US, ""): 3}
    wall = curve({"219": 3}, going, now)
    assert (wall.observed, wall.ended) == (6, 3)
    # Half of them ended after some twelve hours; of those that go on all lasted longer.
    assert wall.median_s == pytest.approx(12 * HOUR_S, rel=ERROR)
    assert wall.ninth_decile_s is None
    worked = curve({"219": 3}, going, now, OFFICE)
    assert worked.median_s == worked.ninth_decile_s == wall.median_s


def test_what_begins_in_the_future_has_not_lasted() -> None:
    now = berlin("2026-12-04 10:00")
    going = {(now // SECOND_US + HOUR_S, ""): 1}
    assert curve({"219": 1}, going, now).at_risk == (1,)


def test_a_quarter_of_an_hour_is_over_when_the_next_begins() -> None:
    assert quarter_s(1_800_000_000 - 1) == 900
    assert quarter_s(1_800_000_000) == 1800
    waiting = {"waiting": 1, "told": 2, "announced": 4, "on_time": 8}
    found = punctuality(waiting, waiting | {"late": 16})
    assert (found.overdue, found.open, found.on_time, found.late) == (7, 7, 16, 16)


def test_hours_of_delays_have_a_median() -> None:
    found = honesty({}, {}, {}, announced_h={"24": 3, "-2": 3}, real_h={"1": 1, "5": 2})
    assert (found.announced_h, found.real_h, found.error_h) == (11, 5, None)


def test_refused_posts_count_if_there_are_any() -> None:
    assert score({}, {}, {}).points is None
    found = score({}, {}, {}, Tally(5, 100))
    assert (found.grades[-1].part.name, found.grades[-1].tally) == ("refused", Tally(5, 100))
    assert found.points == pytest.approx(75)


def test_lags_are_told_by_bands() -> None:
    counts = {"0": 1, "60": 2, str(counting.bucket(2 * HOUR_S)): 4, "400": 1}
    found = lags(counts)
    assert [each.within_s for each in found.bands] == [*BANDS_S, None]
    assert [each.count for each in found.bands] == [3, 0, 0, 4, 0, 1]
    assert sum(each.share for each in found.bands) == 1
    assert found.curve.median_s == pytest.approx(2 * HOUR_S, rel=ERROR)
    assert [each.share for each in lags({}).bands] == [0] * 6

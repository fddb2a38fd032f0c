"""When items will be shipped: by hand, and against their curves."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.outlook import (
    PRECEDENTS_MIN,
    SAFE_CHANCE,
    Outlook,
    Route,
    outlook,
)
from cloudsignal.server.insight.survival import Curve, Observation, curve
from tests.server.insight.test_calendars import HOUR_S, OFFICE, berlin, instant

HOUR_US = 3_600_000_000
SINCE = instant(datetime.fromisoformat("2026-11-30T00:00+00:00"))

curves = st.lists(
    st.builds(Observation, st.integers(0, 40).map(lambda h: h * HOUR_S), st.booleans()),
    min_size=1,
    max_size=30,
).map(curve)


def ended(*hours: float) -> Curve:
    return curve([Observation(each * HOUR_S, True) for each in hours])


TEN = ended(*range(1, 11))
"""One item after each hour from 1 to 10."""


def after(hours: float) -> int:
    return SINCE + round(hours * HOUR_US)


def test_an_item_that_has_just_begun() -> None:
    found = outlook([Route([TEN])], since=SINCE, now=SINCE, due=after(8))
    assert (found.earliest, found.expected, found.latest) == (after(1), after(5), after(9))
    assert found.chance == pytest.approx(0.8)
    assert found.precedents == 10
    assert not found.is_at_risk


def test_an_item_that_has_waited_is_compared_with_those_that_waited_as_long() -> None:
    # Six items lasted longer than 4 hours, until 5, 6, 7, 8, 9 and 10.
    found = outlook([Route([TEN])], since=SINCE, now=after(4), due=after(8))
    assert (found.earliest, found.expected, found.latest) == (after(5), after(7), after(10))
    assert found.chance == pytest.approx(4 / 6)
    assert found.precedents == 6
    assert found.is_at_risk


@pytest.mark.parametrize(
    ("due_h", "now_h", "is_at_risk"),
    [
        (7.9, 0, True),  # seven of ten are shipped by then
        (8, 0, False),
        (30, 0, False),
        (0, 1, True),  # overdue
        (30, 12, True),  # nothing ever took so long
        (30, 9.5, True),  # one did
        (30, 5, False),
    ],
)
def test_who_is_at_risk(due_h: float, now_h: float, is_at_risk: bool) -> None:
    found = outlook([Route([TEN])], since=SINCE, now=after(now_h), due=after(due_h))
    assert found.is_at_risk == is_at_risk
    assert 0.7 < SAFE_CHANCE < 0.8


def test_what_is_overdue_has_no_chance_but_is_expected() -> None:
    found = outlook([Route([TEN])], since=SINCE, now=after(4), due=after(3))
    assert (found.is_overdue, found.chance, found.expected) == (True, 0, after(7))


def test_without_due_date_there_is_no_risk() -> None:
    found = outlook([Route([TEN])], since=SINCE, now=after(4))
    assert (found.chance, found.is_overdue, found.is_at_risk) == (None, False, False)
    assert not outlook([Route([TEN])], since=SINCE, now=after(40)).is_at_risk


def test_too_few_precedents_tell_nothing() -> None:
    few = ended(*range(1, PRECEDENTS_MIN))
    found = outlook([Route([few]), Route([curve([])])], since=SINCE, now=SINCE, due=after(1))
    assert found == Outlook(due=after(1))
    assert not found.is_at_risk
    assert outlook([], since=SINCE, now=SINCE) == Outlook()
    assert outlook([], since=SINCE, now=after(2), due=after(1)).is_at_risk


def test_an_item_that_outlasts_all_others_is_told() -> None:
    found = outlook([Route([TEN])], since=SINCE, now=after(11), due=after(30))
    assert found == Outlook(due=after(30), is_outlasting=True)
    # Of the ten only four lasted so long: too few to tell, but it outlasts nobody.
    assert not outlook([Route([TEN])], since=SINCE, now=after(6), due=after(30)).is_outlasting


def test_the_first_route_with_enough_precedents_is_taken() -> None:
    own, all_partners = ended(*range(1, 7)), ended(*range(10, 40))
    early = outlook([Route([own]), Route([all_partners])], since=SINCE, now=after(0))
    late = outlook([Route([own]), Route([all_partners])], since=SINCE, now=after(4))
    assert (early.precedents, early.expected) == (6, after(3))
    assert (late.precedents, late.expected) == (30, after(24))
    assert not late.is_outlasting


def test_where_the_curve_does_not_come_so_far_the_end_is_unknown() -> None:
    observed = [Observation(hours * HOUR_S, True) for hours in range(1, 7)]
    half_known = curve([*observed, Observation(7 * HOUR_S, False, 4)])
    found = outlook([Route([half_known])], since=SINCE, now=SINCE, due=after(100))
    assert (found.earliest, found.expected, found.latest) == (after(1), after(5), None)
    assert found.chance == pytest.approx(0.6)
    assert found.is_at_risk


def test_steps_follow_each_other() -> None:
    # It has waited 4 hours, so this step will take 1 to 6 more; the next takes 20, and the last 30.
    route = [TEN, ended(*[20] * 5), ended(*[30] * 7)]
    found = outlook([Route(route)], since=SINCE, now=after(4), due=after(4 + 53))
    assert (found.earliest, found.expected, found.latest) == (after(55), after(57), after(60))
    assert found.chance == pytest.approx(0.5, abs=0.03)
    assert found.precedents == 5


def test_a_route_is_as_well_known_as_its_weakest_step() -> None:
    route = [TEN, ended(*range(PRECEDENTS_MIN - 1))]
    assert outlook([Route(route)], since=SINCE, now=SINCE) == Outlook()
    unfinished = [Observation(HOUR_S, True, PRECEDENTS_MIN - 1), Observation(HOUR_S, False, 9)]
    assert outlook([Route([TEN, curve(unfinished)])], since=SINCE, now=SINCE) == Outlook()


def test_working_time_is_reckoned_with_the_calendar() -> None:
    # Friday at 13:00 after 3 of its hours; 4 more are one today, and three on Monday.
    since, now = berlin("2026-12-04 10:00"), berlin("2026-12-04 13:00")
    lasted = ended(*[7.0] * 10)
    found = outlook([Route([lasted], OFFICE)], since=since, now=now, due=berlin("2026-12-06"))
    assert found.expected == found.earliest == found.latest == berlin("2026-12-07 11:00")
    assert found.chance == 0
    due = berlin("2026-12-07 11:00")
    assert outlook([Route([lasted], OFFICE)], since=since, now=now, due=due).chance == 1


def test_a_state_that_begins_in_the_future_has_not_waited() -> None:
    found = outlook([Route([TEN])], since=after(5), now=SINCE)
    assert (found.expected, found.precedents) == (after(5), 10)


@given(
    st.lists(curves, min_size=1, max_size=3),
    st.integers(0, 60),
    st.integers(0, 90),
    st.sampled_from([Calendar(), OFFICE]),
)
def test_what_is_told_is_in_order(
    route: list[Curve], now_h: int, due_h: int, calendar: Calendar
) -> None:
    now = after(now_h)
    found = outlook([Route(route, calendar)], since=SINCE, now=now, due=after(due_h))
    known = [each for each in (found.earliest, found.expected, found.latest) if each is not None]
    assert known == sorted(known)
    assert all(each >= now for each in known)
    if found.expected is None:
        assert found.latest is None
    if found.chance is not None:
        assert -1e-9 <= found.chance <= 1 + 1e-9
        # The due date and the expected time agree, but for the points of a curve that are added.
        if found.expected is not None and found.expected <= after(due_h):
            assert found.chance >= 0.5 - 1e-9
        elif not found.is_overdue and calendar == Calendar():
            assert found.chance < 0.5 + 1e-9


@given(curves, st.integers(0, 40), st.integers(0, 40))
def test_a_later_due_date_is_no_less_likely_kept(only: Curve, one: int, two: int) -> None:
    chances = [
        outlook([Route([only])], since=SINCE, now=SINCE, due=after(hours)).chance
        for hours in sorted((one, two))
    ]
    if None not in chances:
        assert chances == sorted(chances)

"""What is stalled, against a clock that is looked at minute by minute."""

from datetime import timedelta
from typing import get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.stalling import (
    EVERY,
    HOURS_MAX,
    STATES,
    WHYS,
    Limit,
    Rule,
    Standing,
    Why,
    cleared,
    limit_at,
    rule_at,
    stalled_since,
)
from tests.server.insight.test_calendars import (
    CHANGES,
    EPOCH,
    MINUTE_US,
    OFFICE,
    berlin,
    instant,
    is_working,
    made,
)

HOUR_S = 3600
DAY_MINUTES = 1440


@st.composite
def moments(draw: st.DrawFn) -> tuple[Calendar, int]:
    """A calendar, and a moment near a change of the clocks."""
    around = draw(st.sampled_from(CHANGES))
    return made(draw, around), instant(around) + draw(st.integers(-1440, 1440)) * MINUTE_US


@settings(deadline=None)
@given(moments(), st.integers(0, 1500))
def test_what_is_stalled_is_found_minute_by_minute(
    moment: tuple[Calendar, int], limit: int
) -> None:
    calendar, now = moment
    since, worked = now, 0
    for _ in range(3 * DAY_MINUTES):
        since -= MINUTE_US
        worked += is_working(calendar, since)
        if worked > limit:
            break
    found = stalled_since(calendar, limit * 60, now)
    if worked > limit:
        # Within that minute of work, all but nothing of which is needed.
        assert since < found < since + MINUTE_US
        assert found == since + MINUTE_US - 1
    else:
        assert found < since


@settings(deadline=None)
@given(moments(), st.integers(0, HOURS_MAX * HOUR_S), st.integers(-10, 10))
@example((Calendar(), 0), 5, 0)
@example((Calendar(), 3), 0, 0)
@example((OFFICE, 10_000_000), HOURS_MAX * HOUR_S, 0)
def test_whatever_was_not_heard_of_then_is_stalled_and_nothing_later(
    moment: tuple[Calendar, int], limit_s: int, off: int
) -> None:
    calendar, now = moment
    found = stalled_since(calendar, limit_s, now)
    since = found + off
    if since >= 0:
        assert (calendar.working_s(since, now) > limit_s) is (since <= found)
    else:
        assert found >= -1


def test_nights_and_weekends_do_not_count() -> None:
    monday_noon = berlin("2026-11-09T12:00:00")
    friday = berlin("2026-11-06T10:00:00")
    # Four hours on Friday, and four on Monday.
    assert stalled_since(OFFICE, 8 * HOUR_S, monday_noon) == friday - 1
    assert stalled_since(Calendar(), 8 * HOUR_S, monday_noon) == berlin("2026-11-09T04:00:00") - 1


# ---- rules ----

RULES = {
    (EVERY, "packed"): Rule(24 * HOUR_S, 2 * HOUR_S),
    (1, "packed"): Rule(8 * HOUR_S),
    (2, "packed"): Rule(None),
}


def test_a_print_partners_own_rule_goes_before_that_for_every_one() -> None:
    assert rule_at(RULES, (1, "packed")) == Rule(8 * HOUR_S)
    assert rule_at(RULES, (2, "packed")) == Rule(None)
    assert rule_at(RULES, (3, "packed")) == Rule(24 * HOUR_S, 2 * HOUR_S)
    assert rule_at(RULES, (1, "produced")) is None


def test_where_there_is_no_limit_nothing_is_ever_stalled() -> None:
    now = instant(EPOCH + timedelta(days=9000))
    hour = HOUR_S * 1_000_000
    assert limit_at(RULES, Calendar(), (1, "produced"), now) is None
    assert limit_at(RULES, Calendar(), (2, "packed"), now) is None
    assert limit_at(RULES, Calendar(), (1, "packed"), now) == Limit(8 * HOUR_S, now - 8 * hour - 1)
    assert limit_at(RULES, Calendar(), (3, "packed"), now) == Limit(
        26 * HOUR_S, now - 26 * hour - 1
    )


# ---- what becomes of alerts ----

RAISED = Standing(1, "packed", 100)


@pytest.mark.parametrize(
    ("item", "limit", "why"),
    [
        (RAISED, Limit(9, 100), None),
        (Standing(1, "packed", 300), Limit(9, 300), None),  # heard of, and that was long ago
        (Standing(1, "packed", 300), Limit(9, 200), "heard of"),
        (RAISED, Limit(9, 99), "rule changed"),
        (RAISED, None, "rule changed"),
        (Standing(1, "produced", 100), Limit(9, 100), "went on"),
        (Standing(1, "registered", 50), Limit(9, 100), "went on"),
        (Standing(1, "shipped", 100), Limit(9, 100), "shipped"),
        (Standing(1, "canceled", 100), None, "canceled"),
        (Standing(2, "packed", 100), Limit(9, 100), "given on"),
        (Standing(2, "shipped", 100), Limit(9, 100), "shipped"),
        (None, Limit(9, 100), "gone"),
    ],
)
def test_an_alert_is_over_once_its_item_is_stalled_no_more(
    item: Standing | None, limit: Limit | None, why: Why | None
) -> None:
    assert cleared(RAISED, item, limit) == why


def test_every_reason_is_one_that_people_are_told() -> None:
    assert get_args(Why) == WHYS
    assert STATES == ("registered", "producing", "produced", "packed")


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(STATES), st.integers(1, 90)), min_size=1, max_size=6),
    st.integers(1, 60),
)
def test_a_life_has_an_alert_exactly_while_it_is_stalled(
    steps: list[tuple[str, int]], limit_min: int
) -> None:
    """Against a count of minutes: the item stays so long in each state, and all hours are worked."""
    rules = {(EVERY, state): Rule(limit_min * 60) for state in STATES}
    start = instant(EPOCH + timedelta(days=9000))
    alert: Standing | None = None
    now = start
    for state, minutes in steps:
        since = now
        for minute in range(minutes):
            now = since + minute * MINUTE_US
            item = Standing(1, state, since)
            if alert is not None and cleared(
                alert, item, limit_at(rules, Calendar(), (1, alert.state), now)
            ):
                alert = None
            limit = limit_at(rules, Calendar(), (1, state), now)
            if alert is None and limit is not None and item.since <= limit.since:
                alert = item
            assert (alert is not None) is (minute > limit_min), (state, minute)
            assert alert in (None, item)
        now += MINUTE_US

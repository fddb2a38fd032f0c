"""The steps of an item as a picture."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.protocol.items import STEPS, Item
from cloudsignal.protocol.units import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from cloudsignal.server.panel.picture import DRAWN, TICKS_MAX, Picture, lasting, picture
from tests.server.arrivals import NOON

NOW = NOON + 10 * DAY_US


def item(first_registered: int | None = None, **times: int) -> Item:
    known = {name: NOON + when for name, when in times.items()}
    first = known.get("registered") if first_registered is None else NOON + first_registered
    return Item(**known, first_registered=first, latest=max(known.values(), default=None))


def drawn(of: Item, now: int = NOW) -> Picture:
    found = picture(of, now)
    assert found is not None
    return found


def told(of: Item, now: int = NOW) -> dict[str, str]:
    return {bar.name: bar.took for bar in drawn(of, now).bars}


def test_a_finished_item_has_a_bar_for_each_step_one_after_the_other() -> None:
    hours = {"registered": 0, "producing": 20, "produced": 30, "packed": 31, "shipped": 40}
    found = drawn(item(**{name: at * HOUR_US for name, at in hours.items()}))

    assert [(bar.name, bar.took) for bar in found.bars] == [
        ("registered to shipped", "1 d 16 h"),
        ("registered to producing", "20 h"),
        ("producing to produced", "10 h"),
        ("produced to packed", "1 h"),
        ("packed to shipped", "9 h"),
    ]
    assert [(bar.left, bar.width) for bar in found.bars] == [
        (0, 100),
        (0, 50),
        (50, 25),
        (75, 2.5),
        (77.5, 22.5),
    ]
    assert [(mark.name, mark.left) for mark in found.reports] == [
        ("registered", 0),
        ("producing", 50),
        ("produced", 75),
        ("packed", 77.5),
        ("shipped", 100),
    ]
    # From noon on for 40 hours.
    assert [tick.name for tick in found.ticks] == [
        "01-20 12:00",
        "01-21 00:00",
        "01-21 12:00",
        "01-22 00:00",
    ]


def test_what_goes_on_lasts_until_now_and_the_rest_is_yet_to_come() -> None:
    assert told(item(registered=0, producing=HOUR_US), NOON + 3 * HOUR_US) == {
        "registered to shipped": "3 h so far",
        "registered to producing": "1 h",
        "producing to produced": "2 h so far",
        "produced to packed": "not yet",
        "packed to shipped": "not yet",
    }


def test_what_was_skipped_is_not_reported() -> None:
    assert told(item(registered=0, packed=HOUR_US, shipped=2 * HOUR_US)) == {
        "registered to shipped": "2 h",
        "registered to producing": "not reported",
        "producing to produced": "not reported",
        "produced to packed": "not reported",
        "packed to shipped": "1 h",
    }


def test_a_canceled_item_came_so_far() -> None:
    found = told(item(registered=0, producing=HOUR_US, canceled=3 * HOUR_US))

    assert found["registered to shipped"] == "3 h until it was canceled"
    assert found["producing to produced"] == "2 h until it was canceled"
    assert found["produced to packed"] == "not begun"


def test_a_delay_is_marked_where_it_was_reported() -> None:
    found = drawn(item(registered=0, delayed=HOUR_US, shipped=2 * HOUR_US))

    assert [(mark.name, mark.left) for mark in found.reports] == [
        ("registered", 0),
        ("shipped", 100),
        ("delayed", 50),
    ]


def test_nothing_is_drawn_of_what_nothing_was_heard() -> None:
    assert picture(Item(), NOW) is None


@given(
    st.dictionaries(st.sampled_from(STEPS), st.integers(-400 * DAY_US, 90_000 * DAY_US)),
    st.integers(0, 100 * DAY_US),
)
def test_whatever_was_reported_is_within_the_picture(times: dict[str, int], ago: int) -> None:
    first = {} if "registered" not in times else {"first_registered": times["registered"] - ago}
    found = picture(item(**first, **times), NOW)
    if not times:
        assert found is None
        return
    assert found is not None
    assert [bar.step for bar in found.bars] == list(DRAWN)
    assert all(bar.took for bar in found.bars)
    for bar in found.bars:
        assert bar.left >= 0
        assert bar.left + bar.width <= 100.01
        assert (bar.width > 0) == (bar.span is not None)
    assert len(found.reports) == len(times)
    assert 1 <= len(found.ticks) <= TICKS_MAX
    for mark in (*found.reports, *found.ticks):
        assert 0 <= mark.left <= 100
    names = [tick.name for tick in found.ticks]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("us", "words"),
    [
        (0, "0 s"),
        (59 * SECOND_US, "59 s"),
        (60 * SECOND_US, "1 min"),
        (59 * MINUTE_US, "59 min"),
        (HOUR_US, "1 h"),
        (2 * HOUR_US + 5 * MINUTE_US, "2 h 5 min"),
        (-DAY_US, "1 d"),
        (3 * DAY_US + 4 * HOUR_US + 59 * MINUTE_US, "3 d 4 h"),
    ],
)
def test_durations_are_told_by_their_two_largest_units(us: int, words: str) -> None:
    assert lasting(us) == words


def test_the_axis_shows_days_where_it_is_long() -> None:
    found = drawn(item(registered=0, shipped=5 * DAY_US))

    assert [datetime.fromisoformat(tick.name).day for tick in found.ticks] == [22, 24]

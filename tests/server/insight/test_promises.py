"""Due dates and announced delays: each fate and verdict by hand, sums against counting one by one."""

from datetime import UTC, datetime, timedelta
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.protocol.items import Item, Telling
from cloudsignal.server.insight.promises import (
    BROKEN,
    DAYS,
    TOLERANCE_H,
    Delay,
    Fate,
    Honesty,
    Promise,
    Punctuality,
    Verdict,
    days_until,
    delay,
    honesty,
    promise,
    punctuality,
)

HOUR_US = 3_600_000_000
DUE = 1_000 * HOUR_US
NOW = DUE + 10 * HOUR_US

instants = st.integers(DUE - 100 * HOUR_US, DUE + 100 * HOUR_US)
promises = st.one_of(
    st.builds(Promise, instants),
    st.builds(Promise, instants, shipped=instants),
    st.builds(Promise, instants, canceled=instants),
)


@pytest.mark.parametrize(
    ("promised", "fate"),
    [
        (Promise(DUE, shipped=DUE - 1), "on_time"),
        (Promise(DUE, shipped=DUE), "on_time"),
        (Promise(DUE, shipped=DUE + 1), "late"),
        (Promise(DUE), "overdue"),
        (Promise(NOW), "open"),
        (Promise(NOW - 1), "overdue"),
        (Promise(DUE, canceled=DUE), "withdrawn"),
        (Promise(DUE, canceled=DUE + 1), "given_up"),
        (Promise(NOW + HOUR_US, canceled=NOW), "withdrawn"),
        (Promise(NOW + HOUR_US, shipped=NOW), "on_time"),
    ],
)
def test_what_became_of_a_promise(promised: Promise, fate: Fate) -> None:
    assert promised.fate(NOW) == fate


def test_fates_are_declared_once() -> None:
    assert Punctuality.__struct_fields__ == get_args(Fate)
    assert set(get_args(Fate)) > BROKEN


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (Item(packed=5), Promise(DUE)),
        (Item(shipped=5), Promise(DUE, shipped=5)),
        (Item(canceled=5), Promise(DUE, canceled=5)),
        (Item(shipped=5, canceled=5), Promise(DUE, shipped=5)),
        (Item(shipped=6, canceled=5), Promise(DUE, shipped=6)),
        (Item(shipped=5, canceled=6), Promise(DUE, canceled=6)),
    ],
)
def test_of_two_ends_the_later_counts(item: Item, expected: Promise) -> None:
    assert promise(item, DUE) == expected


@given(st.lists(promises), instants)
def test_the_rate_is_that_of_kept_to_kept_and_broken(many: list[Promise], now: int) -> None:
    found = punctuality(many, now)
    fates = [each.fate(now) for each in many]
    decided = [fate for fate in fates if fate == "on_time" or fate in BROKEN]
    assert found.counts() == {fate: fates.count(fate) for fate in get_args(Fate)}
    assert found.rate == (decided.count("on_time") / len(decided) if decided else None)


@given(st.lists(promises), st.lists(promises), instants)
def test_rates_of_parts_can_be_added(one: list[Promise], two: list[Promise], now: int) -> None:
    assert punctuality(one, now) + punctuality(two, now) == punctuality([*one, *two], now)


@given(promises, instants, instants)
def test_a_broken_promise_stays_broken(promised: Promise, one: int, two: int) -> None:
    before, after = sorted((one, two))
    if promised.fate(before) in BROKEN:
        assert promised.fate(after) in BROKEN


def test_a_rate_by_hand() -> None:
    found = Punctuality(on_time=6, late=1, overdue=2, given_up=1, withdrawn=5, open=9)
    assert (found.decided, found.rate) == (10, 0.6)
    assert Punctuality(withdrawn=3, open=2).rate is None


def instant(text: str) -> int:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return (datetime.fromisoformat(text) - epoch) // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("now", "days", "since", "until"),
    [
        ("2026-11-30T12:00+01:00", 1, "2026-11-30T00:00+01:00", "2026-12-01T00:00+01:00"),
        ("2026-11-30T00:00+01:00", 1, "2026-11-30T00:00+01:00", "2026-12-01T00:00+01:00"),
        ("2026-11-29T23:30+00:00", 7, "2026-11-24T00:00+01:00", "2026-12-01T00:00+01:00"),
        # Over the end of summer time.
        ("2026-10-25T12:00+01:00", 1, "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"),
        ("2026-11-10T12:00+01:00", 30, "2026-10-12T00:00+02:00", "2026-11-11T00:00+01:00"),
    ],
)
def test_days_are_those_of_a_zone_with_the_whole_of_today(
    now: str, days: int, since: str, until: str
) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert days_until(instant(now), days, berlin) == (instant(since), instant(until))


def test_there_is_at_least_today() -> None:
    assert DAYS == (1, 7, 30)
    with pytest.raises(ValueError, match="at least one day"):
        days_until(NOW, 0, UTC)


# ---- announced delays ----------------------------------------------------------------------------


def hours(after_due_h: float) -> int:
    return DUE + round(after_due_h * HOUR_US)


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        (Delay(Promise(DUE, shipped=hours(24)), 24, True), "kept"),
        (Delay(Promise(DUE, shipped=hours(24 + TOLERANCE_H)), 24, True), "kept"),
        (Delay(Promise(DUE, shipped=hours(24 + TOLERANCE_H) + 1), 24, True), "exceeded"),
        (Delay(Promise(DUE, shipped=hours(-5)), 24, True), "kept"),
        (Delay(Promise(DUE, shipped=hours(5)), 0, True), "exceeded"),
        (Delay(Promise(DUE, shipped=hours(5))), "unannounced"),
        (Delay(Promise(DUE, shipped=hours(5)), None, True), "unspecified"),
        (Delay(Promise(DUE, shipped=hours(-5)), None, True), "none"),
        (Delay(Promise(DUE, shipped=hours(-5))), "none"),
        # It is 10 hours after the due date, and they are not shipped.
        (Delay(Promise(DUE), 24, True), "none"),
        (Delay(Promise(DUE), 10 - TOLERANCE_H, True), "none"),
        (Delay(Promise(DUE), 8, True), "exceeded"),
        (Delay(Promise(DUE)), "unannounced"),
        (Delay(Promise(DUE), None, True), "unspecified"),
        (Delay(Promise(NOW + 1)), "none"),
        (Delay(Promise(DUE, canceled=hours(5)), 1, True), "none"),
        (Delay(Promise(DUE, canceled=hours(5))), "none"),
    ],
)
def test_what_an_announced_delay_is_worth(told: Delay, verdict: Verdict) -> None:
    assert told.verdict(NOW) == verdict


def test_what_was_told_of_an_item() -> None:
    item = Item(packed=1, delayed=2, delay=Telling(2, "fingerprint", "1.5"))
    assert delay(item, DUE) == Delay(Promise(DUE), 1.5, True)
    assert delay(Item(shipped=3), DUE) == Delay(Promise(DUE, shipped=3))
    assert delay(Item(delayed=3), DUE) == Delay(Promise(DUE), None, True)


def test_honesty_by_hand() -> None:
    found = honesty(
        [
            Delay(Promise(DUE, shipped=hours(20)), 24, True),
            Delay(Promise(DUE, shipped=hours(30)), 24, True),
            Delay(Promise(DUE, shipped=hours(90)), 48, True),
            Delay(Promise(DUE), 2, True),
            Delay(Promise(DUE, shipped=hours(3))),
            Delay(Promise(DUE, shipped=hours(3)), None, True),
            Delay(Promise(DUE, shipped=hours(-3))),
            Delay(Promise(DUE, canceled=hours(3)), 7, True),
        ],
        NOW,
    )
    # Announced were 24, 24 and 48 hours, and it became 20, 30 and 90: 4 less, 6 and 42 more.
    assert found == Honesty(1, 3, 1, 1, announced_h=24, real_h=30, error_h=6)
    assert found.rate == 1 / 6


def test_without_delays_there_is_no_honesty() -> None:
    nothing = honesty([Delay(Promise(DUE, shipped=hours(-3)))], NOW)
    assert nothing == Honesty(0, 0, 0, 0, None, None, None)
    assert nothing.rate is None


@given(st.builds(Delay, promises, st.floats(0, 8760), st.just(True)), instants, instants)
def test_an_announcement_once_exceeded_stays_so(told: Delay, one: int, two: int) -> None:
    before, after = sorted((one, two))
    if told.verdict(before) == "exceeded":
        assert told.verdict(after) == "exceeded"

"""When news are told, against a clock that is looked at minute by minute."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudsignal.protocol.units import HOUR_US
from cloudsignal.server.alerting.digests import told_at
from cloudsignal.server.store.alert_messages import Digest
from tests.server.insight.test_calendars import CHANGES, EPOCH, MINUTE_US, ZONES, instant

DAY_MINUTES = 1440


@given(st.integers(0, 4 * 10**15))
def test_at_once_is_when_they_are_new_and_hourly_at_the_next_full_hour(since: int) -> None:
    assert told_at(Digest(), since) == since
    at = told_at(Digest("hourly"), since)
    assert at % HOUR_US == 0
    assert since < at <= since + HOUR_US


@settings(deadline=None)
@given(
    st.sampled_from(ZONES),
    st.sampled_from(CHANGES),
    st.integers(-2880, 1440),
    st.integers(0, DAY_MINUTES - 1),
)
def test_daily_is_when_the_clock_next_shows_that_time(
    zone: str, around: datetime, minutes: int, at: int
) -> None:
    since = instant(around) + minutes * MINUTE_US + 7
    found = told_at(Digest("daily", at, zone), since)
    assert since < found <= since + 49 * HOUR_US

    def shown(when: int) -> datetime:
        return (EPOCH + timedelta(microseconds=when)).astimezone(ZoneInfo(zone))

    first = (since // MINUTE_US + 1) * MINUTE_US
    for when in range(first, found, MINUTE_US):
        clock = shown(when)
        # Nobody's clock has shown it before; only one that was set back may show it again.
        assert clock.hour * 60 + clock.minute != at or clock.fold == 1, clock
    clock = shown(found)
    was_skipped = shown(found - 3 * HOUR_US).utcoffset() != clock.utcoffset()
    assert was_skipped or clock.hour * 60 + clock.minute == at


@pytest.mark.parametrize(
    ("since", "at"),
    [
        ("2026-03-28 06:29", "2026-03-28 06:30"),
        ("2026-03-28 06:30", "2026-03-29 05:30"),  # summer time begins
        ("2026-10-24 12:00", "2026-10-25 06:30"),
    ],
)
def test_daily_follows_the_clock_of_its_zone(since: str, at: str) -> None:
    digest = Digest("daily", 7 * 60 + 30, "Europe/Berlin")
    begun, told = (
        instant(datetime.fromisoformat(each).replace(tzinfo=UTC)) for each in (since, at)
    )
    assert told_at(digest, begun) == told
    assert str(digest) == "daily at 07:30 in Europe/Berlin"

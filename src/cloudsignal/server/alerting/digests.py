"""When news of alerts are told: at once, on the hour, or daily. Time is an argument.

Instants are microseconds since 1970.
"""

from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cloudsignal.protocol.units import HOUR_US
from cloudsignal.server.store.alert_messages import Digest

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)


def told_at(digest: Digest, since: int) -> int:
    """When news are to be told that wait since an instant.

    A time of the day that a change of the clocks repeats means the first of the two; one that it skips is
    read with the offset before the change.
    """
    if digest.every == "at once":
        return since
    if digest.every == "hourly":
        return (since // HOUR_US + 1) * HOUR_US
    zone = ZoneInfo(digest.timezone)
    today = (_EPOCH + since * _MICROSECOND).astimezone(zone).date()
    at = time(*divmod(digest.at, 60), tzinfo=zone)
    days = (datetime.combine(today + n * _DAY, at) for n in range(3))
    return next(found for day in days if (found := (day - _EPOCH) // _MICROSECOND) > since)

"""The datetime spellings of the wire, and the instants they mean.

An instant is a whole number of microseconds since 1970-01-01T00:00:00Z.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

YEAR_MIN: Final = 2000
YEAR_MAX: Final = 2100
CACHED: Final = 4096
"""How many texts are remembered: signals come in bursts that name the same few seconds."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# What fromisoformat reads depends on the version of Python: only these spellings are let through.
_SPELLING: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]"
    r"(?:[01][0-9]|2[0-3]):[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]{1,9})?)?)"
    r" ?(GMT|UTC|[Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)?"
)
_UTC_NAMES: Final = {"GMT": "Z", "UTC": "Z", "z": "Z"}


@lru_cache(maxsize=CACHED)
def parse(text: str, zone: tzinfo) -> int:
    """The instant that ``text`` means; without a zone of its own it is read in ``zone``.

    Raises ValueError with a sentence when it is no real date and time of the years 2000 to 2100,
    where the year as written counts, not that in UTC. A local time that a change of the clocks
    repeats means the first of the two; one that it skips is read with the offset before the change.
    Digits beyond the microsecond are cut off.
    """
    match = _SPELLING.fullmatch(text)
    if match is None:
        raise ValueError(
            "write it like 2016-01-20 13:00:00 GMT or 2016-01-20T14:00:00+01:00"
            " (hours 00 to 23, no zone names but GMT and UTC)"
        )
    local, own_zone = match.groups()
    if own_zone is None:
        moment = datetime.fromisoformat(local).replace(tzinfo=zone)
    else:
        moment = datetime.fromisoformat(local + _UTC_NAMES.get(own_zone, own_zone))
    if not YEAR_MIN <= moment.year <= YEAR_MAX:
        raise ValueError(f"the year must be between {YEAR_MIN} and {YEAR_MAX}")
    return (moment - _EPOCH) // _MICROSECOND


def write(instant: int) -> str:
    """The instant in ISO 8601 with offset, in UTC: ``2016-01-20T13:00:00+00:00``."""
    return (_EPOCH + instant * _MICROSECOND).isoformat()


def reread(written: str) -> int:
    """The instant that was written so, whatever year it is in UTC."""
    return (datetime.fromisoformat(written) - _EPOCH) // _MICROSECOND

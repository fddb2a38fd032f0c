"""The same instant, written in the ways in which print partners write it."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Final, Literal

Spelling = Literal["gmt", "zulu", "offset", "short offset", "fractions"]
SPELLINGS: Final[tuple[Spelling, ...]] = ("gmt", "zulu", "offset", "short offset", "fractions")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def spelled(instant: int, spelling: Spelling, offset_hours: float) -> str:
    """The instant, in microseconds, as a signal's ``datetime``; it is read back as what it was."""
    moment = _EPOCH + timedelta(microseconds=instant)
    here = moment.astimezone(timezone(timedelta(hours=offset_hours)))
    match spelling:
        case "gmt":
            return moment.replace(tzinfo=None).isoformat(" ") + " GMT"
        case "zulu":
            return moment.replace(tzinfo=None).isoformat() + "Z"
        case "offset":
            return here.isoformat()
        case "short offset":
            return here.strftime("%Y-%m-%d %H:%M:%S.%f%z")
        case "fractions":
            return here.strftime("%Y-%m-%dT%H:%M:%S.%f000%z")

"""What people may choose: names, passwords, keys, time zones, addresses, overlaps."""

from collections.abc import Sequence
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cloudsignal.server import addresses
from cloudsignal.server.keys import APIKEY

NAME_CHARS_MAX: Final = 255
FILTER_NAME_CHARS_MAX: Final = 100
PASSWORD_CHARS_MIN: Final = 12
PASSWORD_CHARS_MAX: Final = 256
ADDRESSES_MAX: Final = 256
"""How many addresses and networks an interface may be tied to."""
OVERLAP_HOURS: Final = 24.0
OVERLAP_HOURS_MAX: Final = 8760.0


class Unfit(ValueError):
    """What was chosen cannot be; the message says why."""


def name(chosen: str) -> str:
    """The name that somebody or something is to have. Raises Unfit."""
    return _line(chosen, NAME_CHARS_MAX)


def filter_name(chosen: str) -> str:
    """The name that somebody gives a filter. Raises Unfit."""
    return _line(chosen, FILTER_NAME_CHARS_MAX)


def _line(chosen: str, characters_max: int) -> str:
    found = chosen.strip()
    if not 1 <= len(found) <= characters_max or not found.isprintable():
        raise Unfit(f"a name has 1 to {characters_max} printable characters")
    return found


def password(chosen: str, again: str, *, name: str) -> str:
    """The password that somebody of that name is to have, typed twice. Raises Unfit."""
    if chosen != again:
        raise Unfit("The two passwords differ.")
    if not PASSWORD_CHARS_MIN <= len(chosen) <= PASSWORD_CHARS_MAX:
        raise Unfit(f"A password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters.")
    if len(set(chosen)) < PASSWORD_CHARS_MIN // 3:
        raise Unfit("This password has too few different characters.")
    if len(name) >= PASSWORD_CHARS_MIN // 2 and name.casefold() in chosen.casefold():
        raise Unfit("A password must not contain the name it is for.")
    return chosen


def apikey(chosen: str) -> str:
    """The key that an interface or an owner is to have. Raises Unfit, and does not repeat it."""
    if not APIKEY.fullmatch(chosen):
        raise Unfit(
            "a key is 32 lower-case hex characters, such as `openssl rand -hex 16` makes them"
        )
    return chosen


def zone(chosen: str) -> str:
    """The time zone that datetimes are to be read in that name none. Raises Unfit."""
    try:
        return ZoneInfo(chosen).key
    except (KeyError, ValueError, OSError):
        raise Unfit(f"{chosen!r} is no time zone: write UTC or one like Europe/Berlin") from None


@cache
def zones() -> tuple[str, ...]:
    """The names of time zones, to choose from."""
    return tuple(sorted(available_timezones()))


def networks(chosen: Sequence[str]) -> tuple[str, ...]:
    """From where an interface may be used: addresses and networks, in normal form. Raises Unfit."""
    if len(chosen) > ADDRESSES_MAX:
        raise Unfit(
            f"there are {len(chosen)} addresses, {ADDRESSES_MAX} at most can be allowed: write networks"
            " such as 192.0.2.0/24"
        )
    try:
        return addresses.checked(chosen)
    except ValueError as error:
        raise Unfit(f"{error}: write 192.0.2.7 or 192.0.2.0/24") from None


def overlap_hours(chosen: str | float) -> float:
    """For how long older keys are to stay valid beside a new one. Raises Unfit."""
    try:
        found = float(chosen)
    except ValueError:
        found = -1.0
    if not 0 <= found <= OVERLAP_HOURS_MAX:
        raise Unfit(f"older keys can stay valid for 0 to {OVERLAP_HOURS_MAX:g} hours")
    return found

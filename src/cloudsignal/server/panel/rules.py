"""What people may choose: names and passwords."""

from typing import Final

NAME_CHARS_MAX: Final = 255
FILTER_NAME_CHARS_MAX: Final = 100
PASSWORD_CHARS_MIN: Final = 12
PASSWORD_CHARS_MAX: Final = 256


class Unfit(ValueError):
    """What was chosen cannot be; the message says why."""


def name(chosen: str) -> str:
    """The name that somebody is to have. Raises Unfit."""
    return _line(chosen, NAME_CHARS_MAX)


def filter_name(chosen: str) -> str:
    """The name that somebody gives a filter. Raises Unfit."""
    return _line(chosen, FILTER_NAME_CHARS_MAX)


def _line(chosen: str, characters_max: int) -> str:
    found = chosen.strip()
    if not 1 <= len(found) <= characters_max or not found.isprintable():
        raise Unfit(f"A name has 1 to {characters_max} characters.")
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

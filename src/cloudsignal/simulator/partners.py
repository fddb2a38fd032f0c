"""Print partners: how fast they are, when they work, and how their software writes."""

from random import Random
from typing import Final

from msgspec import Struct

from cloudsignal.protocol.signals import ItemDelay, ItemError
from cloudsignal.simulator.spellings import Spelling
from cloudsignal.simulator.working_hours import WorkingHours

_NAMES: Final = (
    "Paper and Ink",
    "Druckhaus Nord",
    "Imprimerie du Parc",
    "Tipografia Aurora",
    "Blue Heron Press",
    "Grafisk Verk",
    "Drukkerij De Linde",
    "Taller Gráfico Sur",
    "Sakura Printing",
    "Southern Cross Books",
    "Maple Leaf Print",
    "Presswerk am Fluss",
)
_ZONES: Final = (
    ("Etc/GMT+8", -8.0),
    ("Etc/GMT+5", -5.0),
    ("Etc/GMT+3", -3.0),
    ("UTC", 0.0),
    ("Etc/GMT-1", 1.0),
    ("Etc/GMT-1", 1.0),
    ("Etc/GMT-1", 1.0),
    ("Etc/GMT-2", 2.0),
    ("Asia/Kolkata", 5.5),
    ("Etc/GMT-9", 9.0),
    ("Etc/GMT-10", 10.0),
)
"""Time zones without summer time, and by how many hours each is ahead of UTC; the names have it the other way round."""
_WEEKDAYS: Final = ((6, 22), (7, 19), (8, 17), (8, 18))
_SATURDAYS: Final = (None, None, (8, 13), (7, 17))
_SUNDAYS: Final = (None, None, None, (9, 15))
_USUAL: Final[tuple[Spelling, ...]] = ("gmt", "gmt", "zulu", "offset")


class PrintPartner(Struct, frozen=True):
    """One print partner.

    ``speed`` is how fast it works, 1.0 as most do. ``timezone`` is the name of a zone that is as far ahead of UTC as its
    ``hours`` are. ``is_precise`` is whether its software knows fractions of seconds, ``spelling`` how it writes a
    datetime, ``delay_type`` how it calls a delay.
    """

    name: str
    speed: float
    timezone: str
    hours: WorkingHours
    is_precise: bool
    spelling: Spelling
    delay_type: type[ItemDelay]


def print_partners(count: int, chance: Random) -> list[PrintPartner]:
    """So many print partners, each with a name of its own."""
    return [_print_partner(number, chance) for number in range(count)]


def _print_partner(number: int, chance: Random) -> PrintPartner:
    weekday = chance.choice(_WEEKDAYS)
    week = (*[weekday] * 5, chance.choice(_SATURDAYS), chance.choice(_SUNDAYS))
    speed = round(chance.uniform(0.6, 1.6), 2)
    timezone, offset_hours = chance.choice(_ZONES)
    return PrintPartner(
        name=_name(number),
        speed=speed,
        timezone=timezone,
        hours=WorkingHours(week, offset_hours),
        is_precise=chance.random() < 0.3,
        spelling=chance.choice(_USUAL),
        delay_type=chance.choice((ItemDelay, ItemError)),
    )


def _name(number: int) -> str:
    round_, index = divmod(number, len(_NAMES))
    return f"{_NAMES[index]} {round_ + 1}" if round_ else _NAMES[index]

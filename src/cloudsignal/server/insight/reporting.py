"""How well a print partner reports: a score with its parts, and what offends against each.

What a part counts and what is listed as offending is decided by the same functions. Instants are
microseconds since 1970.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final, Literal

from msgspec import Struct

from cloudsignal.protocol.items import FUTURE_US, SLOW_US, Item
from cloudsignal.protocol.refusals import STATUS
from cloudsignal.protocol.units import SECOND_US

OPTIONAL_STEPS: Final = ("producing", "produced", "packed")
"""The steps that nobody has to report."""
EXPECTED_STEPS: Final = ("registered",)
"""The steps that every item which got further should have been reported at."""
OTHERS_FAULT: Final = frozenset(
    {"unknown_key", "key_disabled", "unknown_order", "too_many_requests"}
)
"""Refusals below 500 that need not be the print partner's: it may be another who has no key; operators
disable keys, register orders late, and set limits."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY_ENDS: Final = frozenset({time(23, 59, 59), time(0, 0, 0)})

# ---- what offends ------------------------------------------------------------------------------


def lag_s(when: int, received: int) -> float:
    """How many seconds a signal came after it happened; 0 when it is dated ahead."""
    return max(received - when, 0) / SECOND_US


def is_slow(when: int, received: int) -> bool:
    """Whether a signal came more than an hour after its datetime, as the finding ``slow_report``."""
    return received - when > SLOW_US


def is_future(when: int, received: int) -> bool:
    """Whether it is dated more than 5 minutes ahead, as the finding ``future_datetime``."""
    return when - received > FUTURE_US


def is_day_end(when: int, zone: tzinfo) -> bool:
    """Whether it is dated exactly 23:59:59 or 00:00:00, in the print partner's zone or in UTC.

    Hardly anything happens then: it is what programs write that know the day only.
    """
    moment = _EPOCH + when * _MICROSECOND
    return moment.time() in _DAY_ENDS or moment.astimezone(zone).time() in _DAY_ENDS


def faults(when: int, received: int, zone: tzinfo) -> "Iterator[Name]":
    """The parts of the score that a signal offends against; ``zone`` is that of its interface."""
    if is_slow(when, received):
        yield "slow"
    if is_future(when, received):
        yield "future"
    if is_day_end(when, zone):
        yield "day_end"


def is_under_way(item: Item) -> bool:
    """Whether more than a registration, a delay or a cancellation was reported of an item."""
    return any(getattr(item, step) is not None for step in (*OPTIONAL_STEPS, "shipped"))


def missing_steps(item: Item) -> tuple[str, ...]:
    """The steps that should have been reported before what was. Optional ones are never among them."""
    if not is_under_way(item):
        return ()
    return tuple(step for step in EXPECTED_STEPS if getattr(item, step) is None)


def is_own_fault(type: str) -> bool:
    """Whether a post refused with this error type is the print partner's fault.

    Raises KeyError when there is no such type.
    """
    return STATUS[type] < 500 and type not in OTHERS_FAULT


# ---- the score ---------------------------------------------------------------------------------

Name = Literal["slow", "missing", "future", "day_end", "refused"]


class Part(Struct, frozen=True):
    """A part of the score.

    ``counted`` says of what, and ``offending`` which of them offend. ``weight`` is its weight in the
    score, ``worthless_at`` the share of offending ones from which on the part is worth nothing.
    """

    name: Name
    counted: str
    offending: str
    weight: int
    worthless_at: float


PARTS: Final = (
    Part("slow", "signals", "came more than an hour after they happened", 30, 0.5),
    Part("missing", "items that got further than registered", "were never registered", 20, 0.5),
    Part("future", "signals", "are dated more than 5 minutes ahead", 10, 0.1),
    Part("day_end", "signals", "are dated exactly 23:59:59 or 00:00:00", 15, 0.5),
    Part(
        "refused", "posts, but those refused through no fault of its own", "were refused", 25, 0.2
    ),
)
"""Every part of the score, declared once."""


class Tally(Struct, frozen=True):
    """How many offend of how many counted; those of several days or interfaces can be added."""

    offending: int = 0
    counted: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.offending + other.offending, self.counted + other.counted)

    @property
    def share(self) -> float | None:
        """Which part of them offends, from 0 to 1; None when nothing is counted."""
        return self.offending / self.counted if self.counted else None


class Grade(Struct, frozen=True):
    """What a part is worth: from 0 to 100, None when nothing is counted."""

    part: Part
    tally: Tally
    points: float | None


class Score(Struct, frozen=True):
    """The quality of reporting from 0 to 100, None when nothing is counted; and what it is made of."""

    points: float | None
    grades: tuple[Grade, ...]


def refused_posts(accepted: int, refused: Mapping[str, int]) -> Tally:
    """The tally of posts, from how many were accepted and how many refused, by error type.

    Those refused through no fault of the print partner's count for nothing. Raises KeyError for what is no error type.
    """
    own = sum(count for type, count in refused.items() if is_own_fault(type))
    return Tally(own, accepted + own)


def tally(offends: Iterable[bool]) -> Tally:
    """Count those that offend."""
    every = list(offends)
    return Tally(sum(every), len(every))


def score(tallies: Mapping[Name, Tally]) -> Score:
    """The weighted mean of the parts of which anything is counted."""
    grades = tuple(_grade(part, tallies.get(part.name, Tally())) for part in PARTS)
    worth = [(each.part.weight, each.points) for each in grades if each.points is not None]
    if not worth:
        return Score(None, grades)
    points = sum(weight * points for weight, points in worth) / sum(weight for weight, _ in worth)
    return Score(points, grades)


def _grade(part: Part, counted: Tally) -> Grade:
    share = counted.share
    points = None if share is None else 100 * max(0.0, 1 - share / part.worthless_at)
    return Grade(part, counted, points)

"""When open items will be shipped, and whether they are at risk of missing their due date.

Instants are microseconds since 1970. Durations are working time of the calendar that they were measured
with, wall-clock time with the default one.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.survival import EXACTNESS, Curve, in_a_row

PRECEDENTS_MIN: Final = 5
"""How many earlier items must have lasted as long as one, for an outlook to rest on them."""
INTERVAL: Final = 0.8
"""How likely an item is shipped within the interval that is told."""
SAFE_CHANCE: Final = 0.75
"""With a smaller chance of being shipped when it is due, an item is at risk."""
OUTLASTED_SHARE: Final = 0.1
"""Where no more of the known items lasted so long, and too few to tell more, an item outlasts them."""

ALWAYS: Final = Calendar()


class Route(Struct, frozen=True):
    """What is known of the way from an item's state until it is shipped.

    ``curves`` are those of the steps on it, in their order; the first is that of the step the item is in. One
    may be the whole way. ``calendar`` is the one that their durations were measured with.
    """

    curves: Sequence[Curve]
    calendar: Calendar = ALWAYS


class Outlook(Struct, frozen=True):
    """When an item will be shipped, if it is not canceled, and what its due date is worth.

    ``expected`` is as likely too late as too early, and it is shipped between ``earliest`` and ``latest``
    with the likelihood ``INTERVAL``; each is None when too little is known. ``chance``, from 0 to 1, is how
    likely it is shipped when it is due; None without due date, or when too little is known. ``precedents``
    is on how many earlier items this rests. ``is_outlasting`` is whether hardly any known item lasted so
    long, and nothing more can be said.
    """

    due: int | None = None
    expected: int | None = None
    earliest: int | None = None
    latest: int | None = None
    chance: float | None = None
    precedents: int = 0
    is_overdue: bool = False
    is_outlasting: bool = False

    @property
    def is_at_risk(self) -> bool:
        """Whether the due date is missed already, or the chance to keep it below ``SAFE_CHANCE``.

        An item that outlasts all others is at risk, since nothing says that it will ever be shipped.
        """
        unlikely = self.chance is not None and self.chance < SAFE_CHANCE
        return self.due is not None and (self.is_overdue or self.is_outlasting or unlikely)


def outlook(routes: Sequence[Route], *, since: int, now: int, due: int | None = None) -> Outlook:
    """The outlook of an open item that is in its present state since an instant.

    It follows from the first of the routes with enough precedents: put the print partner's own before those
    of all partners. ``due`` is when the item has to be shipped.
    """
    is_outlasting = False
    for route in routes:
        waited_s = max(route.calendar.working_s(since, now), 0.0)
        if _precedents(route, waited_s) >= PRECEDENTS_MIN:
            return _along(route, waited_s, now, due)
        is_outlasting = is_outlasting or _is_outlasting(route.curves[0], waited_s)
    return Outlook(due=due, is_overdue=due is not None and now > due, is_outlasting=is_outlasting)


def _along(route: Route, waited_s: float, now: int, due: int | None) -> Outlook:
    first, *others = route.curves
    remaining = in_a_row([first.after(waited_s), *others])
    earliest, expected, latest = (
        None if left_s is None else route.calendar.add(now, left_s)
        for left_s in map(remaining.quantile, (0.5 - INTERVAL / 2, 0.5, 0.5 + INTERVAL / 2))
    )
    return Outlook(
        due=due,
        expected=expected,
        earliest=earliest,
        latest=latest,
        chance=None if due is None else _chance(remaining, now, due, route.calendar),
        precedents=_precedents(route, waited_s),
        is_overdue=due is not None and now > due,
    )


def _chance(remaining: Curve, now: int, due: int, calendar: Calendar) -> float:
    return 0.0 if due < now else 1 - remaining.left_after(calendar.working_s(now, due))


def _precedents(route: Route, waited_s: float) -> int:
    """On how many items the weakest of the curves rests."""
    first, *others = route.curves
    return min([first.precedents(waited_s), *(each.ended for each in others)])


def _is_outlasting(curve: Curve, waited_s: float) -> bool:
    return (
        curve.ended >= PRECEDENTS_MIN and curve.left_after(waited_s) <= OUTLASTED_SHARE + EXACTNESS
    )

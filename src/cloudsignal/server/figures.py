"""Figures of print partners: reckoned from roll-ups when they are asked for, and kept for a short time."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, tzinfo
from functools import cache, partial
from typing import Any, Final, TypeVar, get_args
from zoneinfo import ZoneInfo

from msgspec import Struct

from cloudsignal.protocol.items import FINAL, State
from cloudsignal.server.clock import Clock
from cloudsignal.server.insight import causes, counting, reckoning
from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.causes import Share
from cloudsignal.server.insight.outlook import ALWAYS, Outlook, Route, outlook
from cloudsignal.server.insight.promises import DAYS, Honesty, Punctuality
from cloudsignal.server.insight.reckoning import Counted, Lags, Sums, days_s, quarter_s
from cloudsignal.server.insight.reporting import Score
from cloudsignal.server.insight.steps import ALL_STEPS, TO_SHIPPED, Step
from cloudsignal.server.insight.survival import Curve
from cloudsignal.server.store.access import Partner
from cloudsignal.server.store.open_items import OpenItem
from cloudsignal.server.store.store import Store

KEPT_S: Final = 30.0
"""For how long figures are kept."""
CURVES_KEPT_S: Final = 300.0
"""For how long it is kept how long things take: what follows from it is expected, and not exact."""
CURVES_DAYS: Final = 90
"""An outlook rests on what began in so many days."""
WHOLE_WAY: Final = TO_SHIPPED[0]
"""The step that print partners are compared by: registered to shipped."""
WHOLE_WAY_KEY: Final = counting.step_key(WHOLE_WAY)
OPEN_STATES: Final = tuple(state for state in get_args(State) if state not in FINAL)

Posts = Callable[[int], Mapping[str, Sums]]
"""Tells how many posts of each print partner had which outcome since an instant (``reckoning.score``)."""
Made = TypeVar("Made")


class Row(Struct, frozen=True):
    """What a print partner is compared by, or all of them together, without its name and number."""

    partner: Partner | None
    on_time: Punctuality
    whole_way: Curve
    score: Score
    honesty: Honesty


class Overview(Struct, frozen=True):
    """All print partners compared, over some days; ``at`` is when that was reckoned."""

    at: int
    days: int
    rows: tuple[Row, ...]
    total: Row


class Times(Struct, frozen=True):
    """How long a step takes by the clock, and in the working time of a calendar if there is one."""

    step: Step
    wall: Curve
    working: Curve | None = None
    calendar: Calendar = ALWAYS


class Figures(Struct, frozen=True):
    """What there is to say of a print partner, over some days; ``at`` is when that was reckoned.

    ``on_time`` is by the number of days, those of the zone of the ``calendar``; ``open`` is how many of the open
    items are in which state.
    """

    at: int
    days: int
    calendar: Calendar | None
    times: tuple[Times, ...]
    on_time: dict[int, Punctuality]
    honesty: Honesty
    score: Score
    causes: list[Share]
    lags: Lags
    open: dict[str, int]


class Reckoner:
    """Reckons figures of a store, for any number of threads. Every verb may raise StoreUnavailable."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        posts: Posts = lambda since: {},
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._clock = clock
        self._posts = posts
        self._figures = Kept(KEPT_S, timer)
        self._curves = Kept(CURVES_KEPT_S, timer)

    def overview(self, days: int) -> Overview:
        """All print partners compared, over so many days."""
        return self._figures.get(days, lambda: self._overview(days))

    def figures(self, partner: str, days: int) -> Figures:
        """What there is to say of a print partner, over so many days."""
        return self._figures.get((partner, days), lambda: self._figures_of(partner, days))

    def outlook(self, item: OpenItem) -> Outlook:
        """When an open item will be shipped."""
        state = item.folded.state
        since = item.folded.times.get(state, item.since)
        routes = self.routes(item.partner_name, state)
        return outlook(routes, since=since, now=self._clock(), due=item.due)

    def routes(self, partner: str, state: str) -> list[Route]:
        """The ways from a state to shipped, the print partner's own first, and its own time before the clock's."""
        step: Step = (state, "shipped")
        if step not in TO_SHIPPED:
            return []
        place = ALL_STEPS.index(step)
        own, of_all = self._steps_of(partner)[place], self._steps_of(None)[place]
        wall = [Route([own.wall]), Route([of_all.wall])]
        return wall if own.working is None else [Route([own.working], own.calendar), *wall]

    # ---- all of them ----

    def _overview(self, days: int) -> Overview:
        now, rollups = self._clock(), self._store.rollups
        of_each = cache(rollups.by_partner)
        posts = self._posts(days_s(now, days)[0] * counting.SECOND_US)

        def row(partner: Partner) -> Row:
            name = partner.name
            look = Look(now, days, lambda what, **when: of_each(what, **when)[name])
            going = rollups.counts("open", partner=name, key=WHOLE_WAY_KEY, since=look.begin)
            return _row(partner, look, going, posts.get(name, {}))

        rows = tuple(row(each) for each in self._store.access.partners())
        look = Look(now, days, rollups.sums)
        going = rollups.counts("open", key=WHOLE_WAY_KEY, since=look.begin)
        return Overview(now, days, rows, _row(None, look, going, _added(posts.values())))

    # ---- one of them ----

    def _figures_of(self, partner: str, days: int) -> Figures:
        now, rollups = self._clock(), self._store.rollups
        sums = partial(rollups.sums, partner=partner)
        look = Look(now, days, sums)
        calendar = self._store.calendars.calendars().get(partner)
        zone = ZoneInfo(calendar.timezone if calendar else "UTC")
        states = sums("state")
        return Figures(
            at=now,
            days=days,
            calendar=calendar,
            times=_times(look, rollups.counts("open", partner=partner, since=look.begin), calendar),
            on_time={each: Look(now, each, sums, zone).punctuality() for each in DAYS},
            honesty=look.honesty(with_hours=True),
            score=look.score(self._posts(look.begin * counting.SECOND_US).get(partner, {})),
            causes=causes.pareto(look.since("cause")),
            lags=reckoning.lags(look.since("lag")),
            open={state: states[state] for state in OPEN_STATES if state in states},
        )

    def _steps_of(self, partner: str | None) -> tuple[Times, ...]:
        """How long each step takes a print partner, or all of them."""
        return self._curves.get(partner, lambda: self._fresh_steps_of(partner))

    def _fresh_steps_of(self, partner: str | None) -> tuple[Times, ...]:
        now, rollups = self._clock(), self._store.rollups
        look = Look(now, CURVES_DAYS, partial(rollups.sums, partner=partner))
        going = rollups.counts("open", partner=partner, since=look.begin)
        calendar = None if partner is None else self._store.calendars.calendars().get(partner)
        return _times(look, going, calendar)


Sum = Callable[..., Sums]
"""Sums what was counted by key, ``since`` a time and ``until`` another, if one is named."""


class Look:
    """A look at what was counted over the last so many days of a zone, the whole of today among them."""

    def __init__(self, now: int, days: int, sum: Sum, zone: tzinfo = UTC) -> None:
        self.now = now
        self.begin, self._end = days_s(now, days, zone)
        self._quarter = quarter_s(now)
        self._sum = sum

    def since(self, what: str) -> Sums:
        """What was counted in these days."""
        return self._sum(what, since=self.begin)

    def punctuality(self) -> Punctuality:
        """What became of what was due, or will be until the end of today."""
        return reckoning.punctuality(self._past("due"), self._coming("due"))

    def honesty(self, *, with_hours: bool = False) -> Honesty:
        """What announced delays are worth, with the medians of their hours if they are asked for."""
        hours = ("announced_h", "real_h", "error_h") if with_hours else ()
        return reckoning.honesty(
            self._until_tonight("delay"),
            self._past("due"),
            self._past("announced"),
            **{what: self._until_tonight(what) for what in hours},
        )

    def score(self, posts: Sums) -> Score:
        """How well it is reported."""
        return reckoning.score(self.since("day"), self.since("fault"), self.since("steps"), posts)

    def _until_tonight(self, what: str) -> Sums:
        return self._sum(what, since=self.begin, until=self._end)

    def _past(self, what: str) -> Sums:
        return self._sum(what, since=self.begin, until=self._quarter)

    def _coming(self, what: str) -> Sums:
        return self._sum(what, since=self._quarter, until=self._end)


def _row(partner: Partner | None, look: Look, going: Counted, posts: Sums) -> Row:
    curves = reckoning.curves(look.since("took"), going, look.now)
    return Row(partner, look.punctuality(), curves[WHOLE_WAY], look.score(posts), look.honesty())


def _times(look: Look, going: Counted, calendar: Calendar | None) -> tuple[Times, ...]:
    wall = reckoning.curves(look.since("took"), going, look.now)
    if calendar is None:
        return tuple(Times(step, wall[step]) for step in ALL_STEPS)
    working = reckoning.curves(look.since("worked"), going, look.now, calendar)
    return tuple(Times(step, wall[step], working[step], calendar) for step in ALL_STEPS)


def _added(posts: Iterable[Sums]) -> Sums:
    total: Counter[str] = Counter()
    for each in posts:
        total.update(each)
    return total


class Kept:
    """What was made, kept for a while by what it was made of. For any number of threads."""

    def __init__(self, kept_s: float, timer: Callable[[], float]) -> None:
        self._kept_s = kept_s
        self._timer = timer
        self._made: dict[Any, tuple[float, Any]] = {}
        self._lock = threading.Lock()

    def get(self, key: Any, make: Callable[[], Made]) -> Made:
        """What was made under a key; made now if it is not there, or too old."""
        with self._lock:
            made = self._made.get(key)
        if made is not None and self._timer() < made[0]:
            found: Made = made[1]
            return found
        found = make()
        now = self._timer()
        with self._lock:
            self._made = {each: it for each, it in self._made.items() if now < it[0]}
            self._made[key] = now + self._kept_s, found
        return found

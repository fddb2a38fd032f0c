"""Figures of print partners: reckoned from roll-ups when they are asked for, and kept for a short time."""

import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, tzinfo
from functools import cache, partial
from typing import Any, Final, TypeVar, get_args
from zoneinfo import ZoneInfo

from msgspec import Struct

from cloudsignal.protocol.items import FINAL, State
from cloudsignal.protocol.units import SECOND_US
from cloudsignal.server.clock import Clock
from cloudsignal.server.insight import causes, counting, promises, reckoning
from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.causes import Share
from cloudsignal.server.insight.outlook import ALWAYS, Outlook, Route, outlook
from cloudsignal.server.insight.promises import Honesty, Punctuality
from cloudsignal.server.insight.reckoning import (
    NO_POSTS,
    Counted,
    Lags,
    Sums,
    days_s,
    quarter_s,
)
from cloudsignal.server.insight.reporting import Score, Tally
from cloudsignal.server.insight.steps import ALL_STEPS, TO_SHIPPED, Step
from cloudsignal.server.insight.survival import Curve
from cloudsignal.server.store.access import Partner
from cloudsignal.server.store.open_items import OpenItem
from cloudsignal.server.store.store import Store

KEPT_S: Final = 30.0
"""For how long figures are kept."""
WAYS_KEPT_S: Final = 300.0
"""For how long it is kept how long things take until they are shipped: an outlook is never exact."""
WAYS_DAYS: Final = 30
"""An outlook rests on what began in so many days."""
WHOLE_WAY: Final = TO_SHIPPED[0]
"""The step that print partners are compared by: registered to shipped."""
OPEN_STATES: Final = tuple(state for state in get_args(State) if state not in FINAL)

Made = TypeVar("Made")


class Row(Struct, frozen=True):
    """What a print partner is compared by, or all of them together, without its name and number."""

    partner: Partner | None
    on_time: Punctuality
    whole_way: Curve
    score: Score
    honesty: Honesty


def longest_s(curves: Iterable[Curve]) -> float:
    """The longest 90th percentile of curves, or what it is longer than; 0 if nothing is told."""
    told = [curve.ninth_decile_s or curve.times_s[-1] for curve in curves if curve.times_s]
    return max(told, default=0.0)


class Overview(Struct, frozen=True):
    """All print partners compared, over some days; ``at`` is when that was reckoned."""

    at: int
    days: int
    rows: tuple[Row, ...]
    total: Row

    @property
    def longest_s(self) -> float:
        """The longest time that is told, for pictures to end with."""
        return longest_s(each.whole_way for each in (*self.rows, self.total))


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

    @property
    def whole_way(self) -> Curve:
        """How long it takes by the clock from registered to shipped."""
        return self.times[ALL_STEPS.index(WHOLE_WAY)].wall

    @property
    def longest_s(self) -> float:
        """The longest time that is told, for pictures to end with."""
        return longest_s(each.wall for each in self.times)


class Reckoner:
    """Reckons figures of a store, for any number of threads. Every verb may raise StoreUnavailable."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._clock = clock
        self._figures = Kept(KEPT_S, timer)
        self._ways = Kept(WAYS_KEPT_S, timer)

    def now(self) -> int:
        """The instant that figures are of, if they are reckoned now."""
        return self._clock()

    def overview(self, days: int) -> Overview:
        """All print partners compared, over so many days."""
        return self._figures.get(days, lambda: self._overview(days))

    def figures(self, partner: str, days: int) -> Figures:
        """What there is to say of a print partner, over so many days."""
        return self._figures.get((partner, days), lambda: self._figures_of(partner, days))

    def outlook(self, item: OpenItem, *, own_only: bool = False) -> Outlook:
        """When an open item will be shipped; of which no signal came, as if it had been taken when it was registered.

        With ``own_only`` it rests on nothing of other print partners.
        """
        state = "registered" if item.is_unheard else item.folded.state
        since = item.folded.times.get(state, item.since)
        routes = self.routes(item.partner_name, state, own_only=own_only)
        return outlook(routes, since=since, now=self._clock(), due=item.due)

    def routes(self, partner: str | None, state: str, *, own_only: bool = False) -> list[Route]:
        """The ways from a state to shipped, the print partner's own first, and its own time before the clock's.

        Without a print partner, those of all; with ``own_only`` none but its own.
        """
        step: Step = (state, "shipped")
        if step not in TO_SHIPPED:
            return []
        own = self._way(partner, step)
        working = [] if own.working is None else [Route([own.working], own.calendar)]
        of_all = [] if own_only else [Route([self._way(None, step).wall])]
        return [*working, Route([own.wall]), *of_all]

    def _way(self, partner: str | None, step: Step) -> Times:
        """How long a step takes a print partner, or all of them."""

        def reckon() -> Times:
            calendars = self._ways.get("calendars", self._store.calendars.calendars)
            look = self._look(self._clock(), WAYS_DAYS, partner)
            return look.times(step, calendars.get(partner or ""))

        return self._ways.get((partner, step), reckon)

    def _overview(self, days: int) -> Overview:
        now, rollups = self._clock(), self._store.rollups
        posts = self._posts(days_s(now, days)[0])
        of_each = cache(rollups.by_partner)

        def row(partner: Partner) -> Row:
            name = partner.name
            counts = partial(rollups.counts, partner=name)
            look = Look(now, days, lambda what, **when: of_each(what, **when)[name], counts)
            return _row(partner, look, posts.get(name, NO_POSTS))

        rows = [row(each) for each in self._store.access.partners()]
        total = _row(None, self._look(now, days, None), sum(posts.values(), NO_POSTS))
        return Overview(now, days, tuple(rows), total)

    def _figures_of(self, partner: str, days: int) -> Figures:
        now, calendar = self._clock(), self._store.calendars.calendars().get(partner)
        zone = ZoneInfo(calendar.timezone if calendar else "UTC")
        look = self._look(now, days, partner)
        posts = self._posts(look.begin).get(partner, NO_POSTS)
        states = self._store.rollups.sums("state", partner=partner)
        return Figures(
            at=now,
            days=days,
            calendar=calendar,
            times=tuple(look.times(step, calendar) for step in ALL_STEPS),
            on_time={
                each: self._look(now, each, partner, zone).punctuality() for each in promises.DAYS
            },
            honesty=look.honesty(with_hours=True),
            score=look.score(posts),
            causes=causes.pareto(look.since("cause")),
            lags=reckoning.lags(look.since("lag")),
            open={state: states[state] for state in OPEN_STATES if state in states},
        )

    def _posts(self, since_s: int) -> dict[str, Tally]:
        """How many posts of each print partner were refused through its own fault. Tests count nowhere."""
        traffic = self._store.posts.of_partners(since_s * SECOND_US, live=True)
        return {name: each.tally for name, each in traffic.items()}

    def _look(self, now: int, days: int, partner: str | None, zone: tzinfo = UTC) -> "Look":
        sums = partial(self._store.rollups.sums, partner=partner)
        counts = partial(self._store.rollups.counts, partner=partner)
        return Look(now, days, sums, counts, zone)


class Look:
    """A look at what was counted over the last so many days of a zone, the whole of today among them.

    ``sums`` tells what was counted by key, and ``counts`` by time and key: of something, ``since`` a time and
    ``until`` another, if one is named.
    """

    def __init__(
        self,
        now: int,
        days: int,
        sums: Callable[..., Sums],
        counts: Callable[..., Counted],
        zone: tzinfo = UTC,
    ) -> None:
        self._now = now
        self.begin, self._end = days_s(now, days, zone)
        self._quarter = quarter_s(now)
        self._sums = sums
        self._counts = counts

    def since(self, what: str) -> Sums:
        """What was counted in these days."""
        return self._sums(what, since=self.begin)

    def times(self, step: Step, calendar: Calendar | None) -> Times:
        """How long a step took that began in these days."""
        going = self._counts(counting.of_step("open", step), since=self.begin)
        took = self.since(counting.of_step("took", step))
        wall = reckoning.curve(took, going, self._now)
        if calendar is None:
            return Times(step, wall)
        worked = self.since(counting.of_step("worked", step))
        return Times(step, wall, reckoning.curve(worked, going, self._now, calendar), calendar)

    def punctuality(self) -> Punctuality:
        """What became of what was due, or will be until the end of today."""
        coming = self._sums("due", since=self._quarter, until=self._end)
        return reckoning.punctuality(self._past("due"), coming)

    def honesty(self, *, with_hours: bool = False) -> Honesty:
        """What announced delays are worth, with the medians of their hours if they are asked for."""
        hours = ("announced_h", "real_h", "error_h") if with_hours else ()
        return reckoning.honesty(
            self._until_tonight("delay"),
            self._past("due"),
            self._past("announced"),
            **{what: self._until_tonight(what) for what in hours},
        )

    def score(self, posts: Tally) -> Score:
        """How well it is reported, with posts of these days."""
        return reckoning.score(self.since("day"), self.since("fault"), self.since("steps"), posts)

    def _past(self, what: str) -> Sums:
        return self._sums(what, since=self.begin, until=self._quarter)

    def _until_tonight(self, what: str) -> Sums:
        return self._sums(what, since=self.begin, until=self._end)


def _row(partner: Partner | None, look: Look, posts: Tally) -> Row:
    whole_way = look.times(WHOLE_WAY, None).wall
    return Row(partner, look.punctuality(), whole_way, look.score(posts), look.honesty())


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

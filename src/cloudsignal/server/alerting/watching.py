"""Looks for items that are stalled, and for alerts that are over: about once a minute, a little at a time."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Final

from cloudsignal.protocol.units import DAY_US
from cloudsignal.server.clock import Clock
from cloudsignal.server.insight import stalling
from cloudsignal.server.insight.stalling import STATES, Limit, Place, Standing
from cloudsignal.server.store.alerts import Stalled, Uncleared, Watched
from cloudsignal.server.store.store import Store

EVERY_S: Final = 60.0
"""How often is looked, unless rules are changed: then it is at once."""
SOME: Final = 500
"""How many alerts are raised or cleared in one transaction."""
WORKS_S: Final = 0.1
"""For how long it works at once."""
KEPT_US: Final = 90 * DAY_US
"""For how long alerts are kept that were cleared, and messages that were told or given up."""
_OVER: Final = object()


class Watch:
    """Raises alerts and clears them. Every verb may raise StoreUnavailable."""

    def __init__(self, store: Store, clock: Clock, timer: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._timer = timer
        self._looked = -EVERY_S
        self._revision = -1
        self._looking: Iterator[None] = iter(())

    def step(self) -> bool:
        """Look at some of what there is, if it is time: whether there is more to look at."""
        begun = self._timer()
        while self._timer() - begun <= WORKS_S:
            if next(self._looking, _OVER) is _OVER and not self._begin():
                return False
        return True

    def _begin(self) -> bool:
        """Begin to look once more, if it is time."""
        revision, now = self._store.alerts.revision(), self._clock()
        is_time = revision != self._revision or self._timer() - self._looked >= EVERY_S
        if not is_time or self._is_behind():
            return False
        self._revision, self._looked = revision, self._timer()
        self._looking = self._look(self._store.alerts.watched(), now)
        return True

    def _look(self, watched: Watched, now: int) -> Iterator[None]:
        """Look at everything once, and let others do something in between."""
        limits = Limits(watched, now)
        yield from self._clear(limits, now)
        for place in product(watched.partners, STATES):
            if limit := limits.at(place):
                yield from self._raise(place, limit, now)
        while self._store.alerts.forget(now - KEPT_US):
            yield
        self._store.alert_messages.forget(now - KEPT_US)

    def _clear(self, limits: "Limits", now: int) -> Iterator[None]:
        after = 0
        while found := self._store.alerts.uncleared(after=after, limit=SOME):
            if self._is_behind():
                return
            self._see_to(found, limits, now)
            after = found[-1].item
            yield

    def _is_behind(self) -> bool:
        """Whether what was read last is not how items stand: they may have gone on long ago.

        Asked after reading, for everything may begin to be counted anew at any time.
        """
        return self._store.rollups.is_behind(self._clock())

    def _see_to(self, found: list[Uncleared], limits: "Limits", now: int) -> None:
        """Clear those that are over, and note of others that they were heard of."""
        whys = [
            (each, stalling.cleared(each.then, each.now, limits.of(each.then))) for each in found
        ]
        self._store.alerts.note(
            cleared=[(each.id, why) for each, why in whys if why is not None],
            heard=[
                (each.id, each.now.since)
                for each, why in whys
                if why is None and each.now is not None and each.now != each.then
            ],
            now=now,
        )

    def _raise(self, place: Place, limit: Limit, now: int) -> Iterator[None]:
        while found := self._store.alerts.stalled(place, since=limit.since, limit=SOME):
            if self._is_behind():
                return
            raised = [Stalled(item, standing, limit.limit_s) for item, standing in found]
            self._store.alerts.note(raised=raised, now=now)
            yield
            if len(found) < SOME:
                return
        yield


class Limits:
    """What is stalled at one instant, reckoned once for each place."""

    def __init__(self, watched: Watched, now: int) -> None:
        self._watched = watched
        self._now = now
        self._known: dict[Place, Limit | None] = {}

    def at(self, place: Place) -> Limit | None:
        """What is stalled at a place; None where nothing ever is."""
        if place not in self._known:
            calendar = self._watched.calendar(place[0])
            self._known[place] = stalling.limit_at(self._watched.rules, calendar, place, self._now)
        return self._known[place]

    def of(self, standing: Standing) -> Limit | None:
        """What is stalled where an item stands."""
        return self.at((standing.partner, standing.state))

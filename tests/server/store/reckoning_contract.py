"""What figures promise on any store: from roll-ups they are what they are item by item. See ``contract.py``."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cloudsignal.protocol import wire
from cloudsignal.protocol.items import Item
from cloudsignal.protocol.wire import Report
from cloudsignal.server.insight import calendars, causes, counting, reckoning
from cloudsignal.server.insight.buckets import ERROR
from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.promises import Honesty
from cloudsignal.server.insight.steps import ALL_STEPS, Step
from cloudsignal.server.insight.survival import Curve
from cloudsignal.server.store.log import Arrival
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.reading import ItemQuery
from cloudsignal.server.store.store import Store
from tests.server.arrivals import MINUTE, SECOND, arrival, whole_log
from tests.server.insight import plainly
from tests.server.insight.plainly import DAY, Heard, Known, Lasting
from tests.server.store.rollups_contract import count_all
from tests.strategies import post_body

MONDAY = datetime(2026, 11, 30, tzinfo=UTC)
STEP_H = 7
"""Everything happens at a multiple of so many hours, so that durations are in order whatever their buckets are:
those that differ do so by more than a bucket, and what goes on is never near to what has ended."""
STEPS_MAX = 16
HOUR = 60 * MINUTE
BEGIN = round(MONDAY.timestamp()) * SECOND
NOW = BEGIN + STEPS_MAX * STEP_H * HOUR + 3 * HOUR + 37 * MINUTE
DAYS = (1, 3, 5, 7)
NAMES = ("Alpha", "Beta")
BERLIN = 4
"""The interface of Alpha whose zone is that of Berlin."""
# It is free for four of the steps, from 49 hours to 77.
CALENDAR = calendars.read(
    '{"timezone": "UTC", "hours": {"wed": ["00:00-01:00"], "thu": ["05:00-24:00"], '
    + ", ".join(f'"{day}": ["00:00-24:00"]' for day in ("mon", "tue", "fri", "sat", "sun"))
    + "}}"
)
WAY = ("ItemRegistered", "ItemProduce", "ItemProduced", "ItemPacked", "ItemShipped")
LAGS_S = (0, 0.4, 5, 61, 290, 310, 3500, 3700, 30_000, 90_000, -600)


def made(type: str, order: int, item: int, when: int, **fields: str) -> Report:
    moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=when)
    if type == "ItemShipped":
        fields |= {"tracking": "T", "shipping_option": "GLS"}
    common = {"type": type, "order": str(order), "item": str(item)}
    body = post_body(**common, datetime=moment.isoformat(), **fields)
    [report] = wire.validate(wire.decode(body), zone=UTC)
    return report


def life(random: Random, order: int, item: int) -> Iterator[Report]:
    """What is reported of an item: some of its way, in order or not, and perhaps a delay or that it is canceled."""
    at = sorted(random.sample(range(STEPS_MAX + 1), len(WAY)))
    for type, step in list(zip(WAY, at, strict=True))[: random.randint(0, len(WAY))]:
        if random.random() < 0.85:
            step = step if random.random() < 0.9 else random.randint(0, STEPS_MAX)
            yield made(type, order, item, BEGIN + step * STEP_H * HOUR)
    when = BEGIN + random.randint(0, STEPS_MAX) * STEP_H * HOUR
    if random.random() < 0.4:
        told = random.choice(({}, {"delay": "24"}, {"delay": "7.5"}, {"delay": "0"}))
        yield made("ItemDelay", order, item, when, cause="paper", **told)
    if random.random() < 0.2:
        told = random.choice(({}, {"cause": "jam"}, {"cause": "CancelMiscError"}))
        yield made("ItemCanceled", order, item, when, **told)


def fill(store: Store, random: Random) -> None:
    """A few days at two print partners."""
    alpha, _ = store.access.partners()
    zone = {"timezone": "Europe/Berlin", "allow": (), "test": False}
    store.access.create_interface(alpha, "d", **zone, now=1)
    store.orders.create_owner("Books", now=1)
    store.calendars.set("Alpha", CALENDAR)
    for order in range(1, 31):
        partner = random.choice((1, 2))
        if random.random() < 0.8:
            due = BEGIN + random.randint(0, 160 * 60) * MINUTE
            whose = random.choice((None, NAMES[partner - 1]))
            told = Registration(
                str(order), "Books", whose, due=due, items={"1": None, "2": None, "3": None}
            )
            store.orders.register([told], now=BEGIN)
        append(store, random, partner, *life(random, order, 1), *life(random, order, 2))
    for _ in range(6):  # Midnight at Berlin and in UTC, and a second before.
        midnight = BEGIN + random.randint(1, 4) * DAY - random.choice((0, 1, 3600)) * SECOND
        append(store, random, random.choice((1, 2)), made("ItemPacked", 1, 1, midnight))


def append(store: Store, random: Random, partner: int, *reports: Report) -> None:
    store.append([arriving(random, partner, each) for each in reports])


def arriving(random: Random, partner: int, report: Report) -> Arrival:
    return arrival(
        report,
        partner=partner,
        interface=random.choice((1, BERLIN)) if partner == 1 else 2,
        received=report.datetime + round(random.choice(LAGS_S) * SECOND),
        test=random.random() < 0.05,
    )


class Plain:
    """What there is in a store, item by item and signal by signal."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._zones = {each.id: ZoneInfo(each.timezone) for each in store.access.interfaces()}

    def items(self, partner: str | None) -> list[Known]:
        heard = self._store.reading.items(ItemQuery(limit=999))
        found = [
            Known(self._due(each.order), each.folded)
            for each in heard
            if partner in (None, each.partner_name) and each.folded.live
        ]
        known = {(each.order, each.item) for each in heard}
        for each in self._store.orders.orders("Books", limit=999):
            if partner in (None, each.partner_name):
                of_order = self._store.orders.order(each.order)
                assert of_order is not None
                for item in of_order.items:
                    if (each.order, item) not in known:
                        found.append(Known(each.due, Item()))
        return found

    def _due(self, order: str) -> int | None:
        registered = self._store.orders.order(order)
        return None if registered is None else registered.due

    def signals(self, partner: str | None) -> list[Heard]:
        return [
            Heard(each.datetime, each.received, self._zones[each.interface])
            for each in whole_log(self._store)
            if partner in (None, each.partner_name) and not each.test
        ]


class Reckoned:
    """The same from roll-ups."""

    def __init__(self, store: Store, partner: str | None, days: int, zone: tzinfo = UTC) -> None:
        self._rollups = store.rollups
        self._partner = partner
        self._begin, self._end = reckoning.days_s(NOW, days, zone)

    def sums(self, what: str) -> dict[str, int]:
        return self._rollups.sums(what, partner=self._partner, since=self._begin)

    def due(self, what: str) -> dict[str, int]:
        return self._rollups.sums(what, partner=self._partner, since=self._begin, until=self._end)

    def past(self, what: str) -> dict[str, int]:
        until = reckoning.quarter_s(NOW)
        return self._rollups.sums(what, partner=self._partner, since=self._begin, until=until)

    def coming(self, what: str) -> dict[str, int]:
        since = reckoning.quarter_s(NOW)
        return self._rollups.sums(what, partner=self._partner, since=since, until=self._end)

    def curve(self, about: str, step: Step, calendar: Calendar | None) -> Curve:
        what = counting.of_step("open", step)
        going = self._rollups.counts(what, partner=self._partner, since=self._begin)
        lasted = self.sums(counting.of_step(about, step))
        return reckoning.curve(lasted, going, NOW, calendar)

    def honesty(self) -> Honesty:
        return reckoning.honesty(
            self.due("delay"),
            self.past("due"),
            self.past("announced"),
            announced_h=self.due("announced_h"),
            real_h=self.due("real_h"),
            error_h=self.due("error_h"),
        )


def near(expected: float | None, rel: float = 0.0) -> Any:
    """What is wrong by no more than half a unit, or by such a part; None is that exactly."""
    return None if expected is None else pytest.approx(expected, rel=rel, abs=0.5)


class ReckoningContract:
    @pytest.mark.parametrize("seed", range(4))
    def test_figures_from_roll_ups_are_those_from_items_and_signals(
        self, store: Store, seed: int
    ) -> None:
        fill(store, Random(seed))
        count_all(store)
        plain = Plain(store)
        for partner in (None, *NAMES):
            items, signals = plain.items(partner), plain.signals(partner)
            for days in DAYS:
                reckoned = Reckoned(store, partner, days)
                self.check_times(reckoned, items, days)
                if partner == "Alpha":
                    self.check_times(reckoned, items, days, CALENDAR)
                self.check_promises(reckoned, items, days)
                self.check_reporting(reckoned, items, signals, days)
                assert causes.pareto(reckoned.sums("cause")) == plainly.pareto(items, NOW, days)

    def check_times(
        self,
        reckoned: Reckoned,
        items: list[Known],
        days: int,
        calendar: Calendar | None = None,
    ) -> None:
        """The same estimate, wrong by no more than a bucket is wide; what goes on is known by the hour."""
        about = "took" if calendar is None else "worked"
        for step in ALL_STEPS:
            observed = plainly.lasting(items, step, NOW, days, calendar or Calendar())
            found = reckoned.curve(about, step, calendar)
            assert (found.observed, found.ended) == (
                len(observed),
                sum(each.ended for each in observed),
            )
            for share in (Fraction(1, 2), Fraction(9, 10)):
                expected = plainly.quantile(observed, share)
                assert found.quantile(float(share)) == near(expected, rel=ERROR), (step, share)

    def check_promises(self, reckoned: Reckoned, items: list[Known], days: int) -> None:
        found = reckoning.punctuality(reckoned.past("due"), reckoned.coming("due"))
        assert found == plainly.punctuality(items, NOW, days)
        told, expected = reckoned.honesty(), plainly.honesty(items, NOW, days)
        for name in ("kept", "exceeded", "unannounced", "unspecified"):
            assert getattr(told, name) == getattr(expected, name), name
        # Hours are counted as whole ones.
        for name in ("announced_h", "real_h", "error_h"):
            assert getattr(told, name) == near(getattr(expected, name)), name

    def check_reporting(
        self, reckoned: Reckoned, items: list[Known], signals: list[Heard], days: int
    ) -> None:
        found = reckoning.score(
            reckoned.sums("day"), reckoned.sums("fault"), reckoned.sums("steps")
        )
        assert found == plainly.score(items, signals, NOW, days)
        lags = reckoning.lags(reckoned.sums("lag"))
        expected = plainly.lags_s(signals, NOW, days)
        assert lags.curve.ended == sum(each.count for each in lags.bands) == len(expected)
        ended = [Lasting(each, True) for each in expected]
        for share in (Fraction(1, 2), Fraction(9, 10)):
            quantile = plainly.quantile(ended, share)
            told = lags.curve.quantile(float(share))
            assert told == near(quantile, rel=ERROR)
        for band, end in zip(lags.bands, reckoning.BANDS_S, strict=False):
            before = sum(
                each.count for each in lags.bands if each.within_s and each.within_s <= end
            )
            assert band.within_s == end
            assert (
                sum(each <= end * (1 - ERROR) for each in expected)
                <= before
                <= sum(each <= end * (1 + ERROR) for each in expected)
            )

    def test_days_are_those_of_a_zone(self, store: Store) -> None:
        fill(store, Random(7))
        count_all(store)
        zone = ZoneInfo("Asia/Kathmandu")  # Its days begin at a quarter past six in the evening.
        items = Plain(store).items(None)
        for days in DAYS:
            reckoned = Reckoned(store, None, days, zone)
            found = reckoning.punctuality(reckoned.past("due"), reckoned.coming("due"))
            assert found == plainly.punctuality(items, NOW, days, zone)

"""What roll-ups promise on any store: whatever happened in between, they equal a full scan. See ``contract.py``."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC
from random import Random
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select

from cloudsignal.protocol.wire import Report
from cloudsignal.server.insight import counting
from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.store import rollups, schema
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.reading import ItemQuery
from cloudsignal.server.store.rollups import SIGNALS_MAX, Step
from cloudsignal.server.store.store import Store
from tests.server.arrivals import MINUTE, NOON, arrival, report, whole_log

TYPES = (
    "ItemRegistered",
    "ItemProduce",
    "ItemProduced",
    "ItemPacked",
    "ItemShipped",
    "ItemDelay",
    "ItemCanceled",
)
NAMES = ("Alpha", "Beta")
WEEK = Calendar("Europe/Berlin")


def anything(store: Store, random: Random) -> None:
    """Something happens: signals come, in any order, or orders are registered, or otherwise."""
    if random.random() < 0.25:
        register(store, random)
        return
    partner = random.choice((1, 2))
    made = [some_report(random) for _ in range(random.randint(1, 5))]
    store.append(
        [
            arrival(
                *made,
                partner=partner,
                received=NOON + random.randint(-3, 9) * 20 * MINUTE,
                test=random.random() < 0.2,
            )
        ]
    )


def some_report(random: Random) -> Report:
    type = random.choice(TYPES)
    fields: dict[str, str] = {}
    if type == "ItemDelay":
        fields = random.choice(({}, {"delay": "24", "cause": "paper"}))
    if type == "ItemCanceled":
        fields = random.choice(({}, {"cause": "paper jam " * 9}))
    order = str(random.randint(1, 6))
    return report(
        type, order=order, item=str(random.randint(1, 3)), minute=random.randint(0, 59), **fields
    )


def register(store: Store, random: Random) -> None:
    told = Registration(
        str(random.randint(1, 7)),
        "Books",
        partner_name=random.choice((None, None, *NAMES)),
        due=random.choice((None, NOON + random.randint(-40, 40) * 20 * MINUTE)),
        items={str(random.randint(1, 4)): None},
    )
    store.orders.register([told], now=NOON)


def count_all(store: Store) -> None:
    """Have everything counted that is not yet."""
    while not store.rollups.step(limit=7).is_idle:
        pass
    assert store.rollups.behind() == 0


def scanned(store: Store) -> dict[str | None, Counter[counting.Count]]:
    """What has to be counted, in all and of each print partner, reckoned from everything there is."""
    found: dict[str | None, Counter[counting.Count]] = {each: Counter() for each in (None, *NAMES)}

    def add(partner: str | None, counts: Counter[counting.Count]) -> None:
        found[None] += counts
        if partner is not None:
            found[partner] += counts

    zones = {each.id: ZoneInfo(each.timezone) for each in store.access.interfaces()}
    for each in whole_log(store):
        if not each.test:
            zone = zones.get(each.interface, UTC)
            counts = counting.of_signal(each.type, each.datetime, each.received, zone)
            add(each.partner_name, Counter(counts))
    calendars = store.calendars.calendars()
    heard = store.reading.items(ItemQuery(limit=999))
    for item in heard:
        registered = store.orders.order(item.order)
        due = None if registered is None else registered.due
        counted = counting.of_item(item.folded, due, calendars.get(item.partner_name))
        if counted is not None:
            add(item.partner_name, counted.counts)
    known = {(each.order, each.item) for each in heard}
    for each in store.orders.orders("Books", limit=999):
        items = store.orders.order(each.order).items  # type: ignore[union-attr]
        unheard = sum((each.order, item) not in known for item in items)
        if each.due is not None:
            add(each.partner_name, counting.of_unheard(unheard, each.due))
    return found


def kept(store: Store) -> dict[str | None, Counter[counting.Count]]:
    """What the roll-ups hold, in all and of each print partner."""
    return {
        partner: Counter(
            {
                (what, at, key): count
                for what in counting.WHAT
                for (at, key), count in store.rollups.counts(what, partner=partner).items()
            }
        )
        for partner in (None, *NAMES)
    }


def meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have something happen once, between the moments in which a step reads and writes."""
    acts = [act]
    settle = store.rollups._database.settle

    def settling(position: int) -> None:
        settle(position)
        while acts:
            acts.pop()()

    monkeypatch.setattr(store.rollups._database, "settle", settling)


class BrokenOff(Exception):
    """As if the process had ended."""


def break_off(store: Store, monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """Begin to count anew, and end after so many of the transactions that prepare it."""
    prepare, left = store.rollups._prepare, [after]

    def preparing() -> bool:
        if not left[0]:
            raise BrokenOff
        left[0] -= 1
        return prepare()

    with monkeypatch.context() as patched, suppress(BrokenOff):
        patched.setattr(store.rollups, "_prepare", preparing)
        store.rollups.begin_anew()


def rows_of(store: Store) -> int:
    """How many rows there are of what is counted, and of what it was counted as."""
    tables = schema.rollups, schema.counted_items, schema.counted_orders
    with store.rollups._database.reading() as connection:
        return sum(
            connection.scalar(select(func.count()).select_from(each)) or 0 for each in tables
        )


class RollupsContract:
    @pytest.mark.parametrize("seed", range(8))
    def test_they_equal_a_full_scan_whatever_happens_in_between(
        self, store: Store, seed: int
    ) -> None:
        random = Random(seed)
        store.orders.create_owner("Books", now=1)
        if random.random() < 0.5:
            store.calendars.set("Alpha", WEEK)
        for _ in range(60):
            anything(store, random)
            if random.random() < 0.3:
                store.rollups.step(limit=random.randint(1, 9))

        count_all(store)

        assert kept(store) == scanned(store)
        store.rollups.begin_anew()
        assert not kept(store)[None]
        count_all(store)
        assert kept(store) == scanned(store)

    def test_nothing_is_counted_twice_by_two_who_count_at_once(
        self, store: Store, another: Store
    ) -> None:
        store.append([arrival(report(item=str(number))) for number in range(30)])
        begun = store.rollups.step(limit=10)
        page = another.rollups
        assert (begun.signals, begun.left, page.behind()) == (10, 20, 20)

        while not (store.rollups.step(limit=3).is_idle and page.step(limit=3).is_idle):
            pass

        assert kept(store) == scanned(store)

    @pytest.mark.parametrize("limit", [0, SIGNALS_MAX])
    def test_no_order_is_counted_twice_by_two_who_count_at_once(
        self, store: Store, another: Store, monkeypatch: pytest.MonkeyPatch, limit: int
    ) -> None:
        store.orders.create_owner("Books", now=1)
        told = [Registration(str(n), "Books", due=NOON, items={"1": None}) for n in range(3)]
        store.orders.register(told, now=1)
        store.rollups.step(limit=0)
        store.rollups.begin_anew()
        store.append([arrival(report(order="1"))] if not limit else [])

        meanwhile(store, monkeypatch, lambda: another.rollups.step(limit=limit))
        assert store.rollups.step() == Step(0, 0, 0 if limit else 1, again=True)

        count_all(store)
        assert kept(store) == scanned(store)

    def test_an_order_that_changes_while_it_is_counted_is_counted_as_it_is_then(
        self, store: Store, another: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.orders.create_owner("Books", now=1)
        told = [Registration(str(n), "Books", due=NOON, items={"1": None}) for n in range(3)]
        store.orders.register(told, now=1)
        later = Registration("1", "Books", due=NOON + 900_000_000)
        meanwhile(store, monkeypatch, lambda: another.orders.register([later], now=2))

        count_all(store)

        assert kept(store) == scanned(store)

    def test_where_its_place_in_the_log_was_forgotten_nothing_counts_twice(
        self, store: Store
    ) -> None:
        random = Random(3)
        store.orders.create_owner("Books", now=1)
        for _ in range(20):
            anything(store, random)
        count_all(store)
        before = kept(store)

        store.cursors.remove(rollups.READER)
        anything(store, random)
        count_all(store)

        after = kept(store)
        store.rollups.begin_anew()
        count_all(store)
        assert after == kept(store)
        assert after != before

    @pytest.mark.parametrize("seed", range(4))
    def test_it_begins_anew_in_small_steps_wherever_it_is_broken_off(
        self, store: Store, another: Store, monkeypatch: pytest.MonkeyPatch, seed: int
    ) -> None:
        random = Random(seed)
        happen = anything if seed else register  # Where no signal came, the position tells nothing.
        store.orders.create_owner("Books", now=1)
        for _ in range(40):
            happen(store, random)
        count_all(store)
        monkeypatch.setattr(rollups, "CLEARED_MAX", 5)
        before = kept(store)

        # Who has read before that it begins anew, and writes after it, writes nothing.
        told = Registration("8", "Books", due=NOON, items={"1": None})
        store.orders.register([told], now=1)
        meanwhile(another, monkeypatch, lambda: break_off(store, monkeypatch, after=0))
        assert another.rollups.step().again
        assert kept(store) == before
        while kept(store)[None]:
            rows = rows_of(store)
            # Others go on where it was, and what comes meanwhile is neither lost nor counted twice.
            step = another.rollups.step()
            assert (step.signals, step.orders, step.again) == (0, 0, True)
            assert rows - 5 <= rows_of(store) <= rows
            if random.random() < 0.3:
                happen(store, random)
            if random.random() < 0.1:
                break_off(store, monkeypatch, after=random.randint(0, 20))

        assert store.compare_counts().why_not
        count_all(another)
        assert kept(store) == scanned(store)
        assert store.compare_counts().differed == 0

    def test_few_items_are_counted_again_in_one_step(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rollups, "RECOUNTED_ITEMS_MAX", 4)
        store.orders.create_owner("Books", now=1)
        for order, items in (("1", 2), ("2", 2), ("3", 9), ("4", 1)):
            told = Registration(
                order, "Books", due=NOON, items={str(n): None for n in range(items)}
            )
            store.orders.register([told], now=1)

        steps = [store.rollups.step() for _ in range(4)]

        assert [(each.orders, each.again) for each in steps] == [
            (2, True),
            (1, True),
            (1, False),
            (0, False),
        ]
        assert kept(store) == scanned(store)

    def test_what_was_counted_is_summed_over_times_and_partners(self, store: Store) -> None:
        for item, minute in (("1", 0), ("2", 20), ("3", 20)):
            made = report("ItemShipped", item=item, minute=minute)
            store.append([arrival(made, partner=1 if item == "1" else 2)])
        count_all(store)
        noon = NOON // 1_000_000

        assert store.rollups.sums("state") == {"shipped": 3}
        assert store.rollups.sums("state", partner="Alpha") == {"shipped": 1}
        assert store.rollups.sums("state", partner="nobody") == {}
        assert store.rollups.by_partner("state") == {
            "Alpha": {"shipped": 1},
            "Beta": {"shipped": 2},
        }
        assert store.rollups.counts("shipped") == {(noon, ""): 1, (noon + 900, ""): 2}
        assert store.rollups.counts("shipped", since=noon + 900) == {(noon + 900, ""): 2}
        assert store.rollups.sums("shipped", until=noon + 900) == {"": 1}

    def test_an_item_that_is_due_is_waited_for_before_anything_is_heard_of_it(
        self, store: Store
    ) -> None:
        store.orders.create_owner("Books", now=1)
        told = Registration(
            "7", "Books", partner_name="Beta", due=NOON, items={"1": None, "2": None}
        )
        store.orders.register([told], now=1)
        count_all(store)
        noon = NOON // 1_000_000
        assert store.rollups.counts("due", partner="Beta") == {(noon, "waiting"): 2}

        store.append([arrival(report("ItemShipped", item="1", minute=5), partner=2)])
        count_all(store)

        assert store.rollups.counts("due") == {(noon, "waiting"): 1, (noon, "late"): 1}
        later = Registration("7", "Books", due=NOON + 900_000_000)
        store.orders.register([later], now=2)
        count_all(store)
        assert store.rollups.counts("due", partner="Beta") == {
            (noon + 900, "waiting"): 1,
            (noon + 900, "on_time"): 1,
        }

    def test_what_is_pruned_stays_counted(self, store: Store) -> None:
        day = 86_400_000_000
        for number in range(6):
            made = report(item=str(number))
            store.append([arrival(made, received=NOON + number * day)])
        count_all(store)
        store.cursors.advance("rollups", 6)
        before = kept(store)
        assert store.prune(NOON + 3 * day).signals == 3

        store.rollups.begin_anew()
        count_all(store)

        assert kept(store) == before
        assert store.rollups.sums("state") == {"registered": 6}

    def test_minutes_are_forgotten_in_time(self, store: Store) -> None:
        store.append([arrival()])
        count_all(store)
        store.rollups.forget_minutes(NOON + 2 * 86_400_000_000)
        assert store.rollups.sums("minute") == {"ItemRegistered": 1}

        store.rollups.forget_minutes(NOON + 2 * 86_400_000_000 + 60_000_000)

        assert store.rollups.sums("minute") == {}
        assert store.rollups.sums("day") == {"ItemRegistered": 1}

    def test_the_log_is_not_pruned_before_it_is_counted(self, store: Store) -> None:
        store.append([arrival(report(item=str(number))) for number in range(6)])
        store.rollups.step(limit=2)

        assert store.prune(NOON + MINUTE).signals == 2


class LeasesContract:
    def test_one_at_a_time_is_the_one(self, store: Store, another: Store) -> None:
        assert store.leases.hold("rollups", "a", lease_s=60)
        assert another.leases.hold("rollups", "b", lease_s=60) is not store.nodes
        assert another.leases.hold("other", "b", lease_s=60)
        assert store.leases.hold("rollups", "a", lease_s=-1)
        assert another.leases.hold("rollups", "b", lease_s=60)
        assert store.leases.hold("rollups", "a", lease_s=60) is not store.nodes
        another.leases.give_up("rollups", "a")
        assert store.leases.hold("rollups", "a", lease_s=60) is not store.nodes
        another.leases.give_up("rollups", "b")
        assert store.leases.hold("rollups", "a", lease_s=60)

    def test_a_calendar_is_as_it_was_set(self, store: Store, another: Store) -> None:
        store.calendars.set("Alpha", WEEK)
        assert another.calendars.calendars() == {"Alpha": WEEK}
        store.calendars.set("Alpha", None)
        assert another.calendars.calendars() == {}
        whats = [(each.what, each.subject) for each in store.changes.changes(limit=2)]
        assert whats == [("calendar changed", "Alpha")] * 2

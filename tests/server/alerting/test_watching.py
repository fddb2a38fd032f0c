"""Alerts are raised once and cleared by themselves, a little at a time, and never from counts that are old."""

from datetime import date
from itertools import count as counting
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from cloudsignal.server.alerting import watching as its
from cloudsignal.server.alerting.watching import EVERY_S, KEPT_US, Watch
from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.stalling import Rule
from cloudsignal.server.store.alert_messages import News, Way, Written
from cloudsignal.server.store.alerts import Alert, Uncleared
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.orders import Registration
from cloudsignal.server.store.reading import ItemQuery
from cloudsignal.server.store.rollups import BEHIND_US
from cloudsignal.server.store.store import Store
from tests.server.arrivals import MINUTE, NOON, arrival, report
from tests.server.clock import Clock
from tests.server.insight.test_calendars import OFFICE
from tests.server.store.alerts_contract import count, pack

HOUR_S = 3600
HOUR = 60 * MINUTE
NUMBERS = counting()
STATES = {
    "ItemRegistered": "registered",
    "ItemProduce": "producing",
    "ItemProduced": "produced",
    "ItemPacked": "packed",
}


class Watching:
    """A watch whose timer goes as the clock does."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.watch = Watch(store, clock, lambda: clock() / 1e6)

    def look(self) -> None:
        """Look at everything once, and be done with it."""
        self.clock.pass_s(EVERY_S)
        while self.watch.step():
            pass

    @property
    def open(self) -> list[str]:
        """The items that have an alert, in order of time."""
        cases = self.store.attention.cases("stalled", now=self.clock(), limit=999)
        return [each.item for each in cases]

    @property
    def over(self) -> list[tuple[str, str]]:
        """The items whose alerts were cleared, and why; the last one first."""
        return [(each.item, each.why) for each in self.store.attention.cleared(limit=999)]


@pytest.fixture
def watching(store: Store, clock: Clock) -> Watching:
    return Watching(store, clock)


def test_an_item_has_one_alert_from_when_it_is_stalled_until_it_goes_on(
    store: Store, watching: Watching, clock: Clock
) -> None:
    store.alerts.set_rule(None, "packed", Rule(HOUR_S, HOUR_S))
    pack(store, "1", "2")
    clock.now = NOON + 2 * HOUR - int(EVERY_S) * 1_000_000
    watching.look()
    assert watching.open == []
    watching.look()
    assert watching.open == ["1", "2"]
    for _ in range(3):
        watching.look()
    assert (watching.open, watching.over) == (["1", "2"], [])

    store.append([arrival(report("ItemShipped", item="1", minute=59))])
    count(store)
    watching.look()

    assert (watching.open, watching.over) == (["2"], [("1", "shipped")])
    [cleared] = store.attention.cleared(limit=9)
    assert (cleared.since, cleared.limit_s) == (NOON, 2 * HOUR_S)
    assert NOON + 2 * HOUR < cleared.raised < (cleared.cleared or 0) == clock()


def test_each_way_on_clears_an_alert_with_its_reason(
    store: Store, watching: Watching, clock: Clock
) -> None:
    store.alerts.set_rule(None, "producing", Rule(60))
    names = ("on", "heard", "long ago", "shipped", "canceled")
    store.append([arrival(*(report("ItemProduce", item=each) for each in names))])
    count(store)
    clock.now = NOON + 20 * MINUTE
    watching.look()
    assert sorted(watching.open) == sorted(names)

    store.append(
        [
            arrival(
                report("ItemProduced", item="on", minute=1),
                report("ItemDelay", item="heard", minute=21, delay="9", cause="jam"),
                report("ItemDelay", item="long ago", minute=5, delay="9", cause="jam"),
                report("ItemShipped", item="shipped", minute=1),
                report("ItemCanceled", item="canceled", minute=1),
            )
        ]
    )
    count(store)
    watching.look()

    assert watching.open == ["long ago"]
    assert dict(watching.over) == {
        "on": "went on",
        "heard": "heard of",
        "shipped": "shipped",
        "canceled": "canceled",
    }
    [case] = store.attention.cases("stalled", now=clock(), limit=9)
    assert case.since == NOON + 5 * MINUTE


def test_nothing_is_raised_or_cleared_while_everything_is_counted_anew(
    store: Store, watching: Watching, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.alerts.set_rule(None, "packed", Rule(HOUR_S))
    pack(store, "1", "2")
    clock.now = NOON + 2 * HOUR
    watching.look()
    read = store.alerts.uncleared

    def uncleared(**which: Any) -> list[Uncleared]:
        store.rollups.begin_anew()
        return read(**which)

    monkeypatch.setattr(store.alerts, "uncleared", uncleared)
    watching.look()
    assert (watching.open, watching.over) == (
        [],
        [],
    )  # Of items that are not counted nothing is listed.
    monkeypatch.undo()
    count(store)
    watching.look()
    assert (watching.open, watching.over) == (["1", "2"], [])


def test_another_rule_is_followed_at_once(store: Store, watching: Watching, clock: Clock) -> None:
    pack(store, "1")
    pack(store, "2", partner=2)
    clock.now = NOON + 5 * HOUR
    watching.look()
    assert watching.open == []

    def then() -> list[str]:
        while watching.watch.step():
            pass
        return watching.open

    store.alerts.set_rule(None, "packed", Rule(HOUR_S))
    assert then() == ["1", "2"]
    store.alerts.set_rule("Beta", "packed", Rule(9 * HOUR_S))
    assert (then(), watching.over) == (["1"], [("2", "rule changed")])
    store.alerts.set_rule("Alpha", "packed", Rule(None))
    assert then() == []
    store.alerts.set_rule("Alpha", "packed", None)
    store.alerts.set_rule("Beta", "packed", None)
    assert then() == ["1", "2"]
    store.alerts.set_rule(None, "packed", None)
    assert then() == []
    assert [why for _, why in watching.over] == ["rule changed"] * 4


def test_hours_are_those_in_which_the_print_partner_works(
    store: Store, watching: Watching, clock: Clock
) -> None:
    store.alerts.set_rule(None, "packed", Rule(8 * HOUR_S))
    pack(store, "1")
    pack(store, "2", partner=2)
    store.calendars.set("Beta", OFFICE)
    # Wednesday, 13:00 in Berlin: four hours are left of that day, four are before lunch on the next, which is over
    # at 13:00.
    clock.now = NOON + 24 * HOUR - MINUTE
    watching.look()
    assert watching.open == ["1"]
    watching.look()
    assert watching.open == ["1", "2"]
    holiday = Calendar(OFFICE.timezone, OFFICE.hours, (date(2016, 1, 21),))
    store.calendars.set("Beta", holiday)
    watching.look()
    assert (watching.open, watching.over) == (["1"], [("2", "rule changed")])


def test_items_that_are_given_on_are_seen_where_they_are(
    store: Store, watching: Watching, clock: Clock
) -> None:
    store.alerts.set_rule(None, "packed", Rule(HOUR_S))
    pack(store, "1")
    clock.now = NOON + 2 * HOUR
    watching.look()
    store.orders.create_owner("Books", now=1)
    store.orders.register([Registration("7", "Books", partner_name="Beta")], now=2)
    store.rollups.begin_anew()
    count(store)
    watching.look()
    assert watching.over == [("1", "given on")]
    [case] = store.attention.cases("stalled", now=clock(), limit=9)
    assert case.partner_name == "Beta"


def test_nothing_is_raised_or_cleared_while_the_counts_are_old(
    store: Store, watching: Watching, clock: Clock
) -> None:
    store.alerts.set_rule(None, "packed", Rule(HOUR_S))
    pack(store, "1", "2")
    clock.now = NOON + 2 * HOUR
    watching.look()
    # One has gone on, and another is new; what is counted does not know it yet.
    store.append([arrival(report("ItemShipped", item="1", minute=9), received=clock())])
    watching.look()
    assert watching.open == ["1", "2"]
    store.rollups.begin_anew()
    clock.now += BEHIND_US
    watching.look()
    assert (watching.open, watching.over) == ([], [])  # Their items are not counted just now.
    assert len(store.alerts.uncleared(after=0, limit=9)) == 2
    count(store)
    watching.look()
    assert (watching.open, watching.over) == (["2"], [("1", "shipped")])


def test_little_is_done_at_once(
    store: Store, watching: Watching, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(its, "SOME", 2)
    store.alerts.set_rule(None, "packed", Rule(HOUR_S))
    pack(store, *map(str, range(7)))
    clock.now = NOON + 2 * HOUR
    timer = counting()
    # It is asked twice in a step: when that begins, and whether there is time for another piece.
    watch = Watch(store, clock, lambda: next(timer) * its.WORKS_S * 0.6)
    steps = [0]
    while watch.step():
        steps.append(len(watching.open))
        if len(steps) > 20:
            break
    assert [later - before for before, later in pairwise(steps) if later > before] == [2, 2, 2, 1]
    assert len(watching.open) == 7


def test_what_is_away_in_the_middle_is_looked_at_again(
    store: Store, watching: Watching, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.alerts.set_rule(None, "packed", Rule(HOUR_S))
    pack(store, "1")
    clock.now = NOON + 2 * HOUR
    note = store.alerts.note
    faults = [StoreUnavailable("away")]

    def away(**given: Any) -> None:
        if faults:
            raise faults.pop()
        note(**given)

    monkeypatch.setattr(store.alerts, "note", away)
    with pytest.raises(StoreUnavailable):
        watching.look()
    watching.look()
    assert watching.open == ["1"]


def test_what_was_cleared_and_told_long_ago_is_forgotten(
    store: Store, watching: Watching, clock: Clock
) -> None:
    store.alert_messages.set_way(Way(way="email", recipients=("ops@example.com",)))
    store.alerts.set_rule(None, "packed", Rule(HOUR_S))
    pack(store, "1")
    clock.now = NOON + 2 * HOUR
    watching.look()
    store.alerts.set_rule(None, "packed", None)
    watching.look()
    assert len(watching.over) == 1
    clock.now += KEPT_US - int(EVERY_S) * 1_000_000
    watching.look()
    assert len(watching.over) == 1
    watching.look()
    assert watching.over == []


# ---- against looking at every item ----


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_alerts_are_those_of_a_full_scan(
    store: Store, clock: Clock, seed: int
) -> None:
    """Each item that is stalled by looking at all of them has an alert, each other one has none."""
    random, watching = Random(seed), Watching(store, clock)
    store.alert_messages.set_way(Way(way="email", recipients=("ops@example.com",)))
    rules: dict[tuple[str | None, str], Rule] = {}
    told: list[tuple[str, str]] = []
    for minute in range(0, 60, 3):
        clock.now = NOON + minute * MINUTE
        if random.random() < 0.4:
            where = random.choice((None, "Alpha")), random.choice(tuple(STATES.values()))
            rules[where] = Rule(random.choice((None, 60, 600, 1500)), random.choice((0, 120)))
            store.alerts.set_rule(*where, rules[where])
        for _ in range(random.randint(0, 4)):
            type = random.choice((*STATES, "ItemShipped", "ItemDelay", "ItemCanceled"))
            told_by = random.choice((1, 1, 2))
            when = random.randint(0, minute)
            made = report(type, item=str(random.randint(1, 9)), minute=when)
            store.append([arrival(made, partner=told_by, received=clock())])
        count(store)
        watching.look()
        assert set(watching.open) == stalled(store, rules, clock()), minute
        told += news(store)
    # What is told of each item is raised and cleared in turn.
    for item in {each for each, _ in told}:
        whats = [what for each, what in told if each == item]
        assert whats == ["raised", "cleared"] * (len(whats) // 2) + ["raised"] * (len(whats) % 2)
    assert told


def stalled(store: Store, rules: dict[tuple[str | None, str], Rule], now: int) -> set[str]:
    """The items that are stalled, by looking at each."""
    found = set()
    for each in store.reading.items(ItemQuery(limit=999)):
        item = each.folded
        rule = rules.get((each.partner_name, item.state)) or rules.get((None, item.state))
        if item.final or rule is None or rule.limit_s is None:
            continue
        heard = [item.times[item.state], *([item.delayed] if item.is_delayed else [])]
        if now - max(when for when in heard if when is not None) > rule.limit_s * 1_000_000:
            found.add(each.item)
    return found


def news(store: Store) -> list[tuple[str, str]]:
    """What is to be told since it was last asked, in its order."""
    found: list[tuple[str, str]] = []

    def write(news: list[News]) -> Written:
        found.extend((each.alert.item, each.what) for each in news)
        return Written("alert.digest", "")

    store.alert_messages.make("email", write, message=f"m{next(NUMBERS)}", limit=999, now=1)
    if waiting := store.alert_messages.next("email", now=1):
        store.alert_messages.told(waiting, "", now=1)
    return found


def test_an_alert_is_shown_as_it_is(store: Store, watching: Watching, clock: Clock) -> None:
    store.alerts.set_rule(None, "packed", Rule(HOUR_S))
    pack(store, "1")
    clock.now = NOON + 2 * HOUR
    watching.look()
    store.alerts.set_rule(None, "packed", None)
    watching.look()
    [alert] = store.attention.cleared(limit=1)
    assert alert == Alert(
        alert.id, "7", "1", "Alpha", "packed", NOON, HOUR_S, alert.raised, clock(), "rule changed"
    )

"""What waits to be told: in order for each item, never behind another item, and nothing lost."""

from collections import defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from cloudsignal.server.delivery import lineup as its
from cloudsignal.server.delivery.lineup import Delivery, Lineup

FIRST_POSITION = 10


def delivery(position: int, item: str = "1", **values: object) -> Delivery:
    given = {
        "message": f"m{position}",
        "position": position,
        "line": item,
        "type": "ItemDelay",
        "order": "7",
        "item": item,
        "webhook": "{}",
        "happened": position,
    }
    return Delivery(**given | values)  # type: ignore[arg-type]


def lineup(*added: Delivery, held_max: int = 100) -> Lineup:
    made = Lineup(position=FIRST_POSITION, held_max=held_max)
    for each in added:
        take(made, each)
    return made


def take(made: Lineup, each: Delivery, *, newest_only: bool = False) -> list[Delivery]:
    """Put a delivery of the log into a lineup, as the reader does."""
    skipped = made.add(each, newest_only=newest_only)
    if each.stage != "done" and made.must_note(each):
        made.noted(each)
    made.read_to = max(made.read_to, each.position)
    return skipped


def fail(made: Lineup, each: Delivery, due: int, *, newest_only: bool = False) -> list[Delivery]:
    """Have an attempt fail, as the sending does: what was skipped."""
    unnoted = made.failed(each, due)
    skipped = made.keep_newest(each) if newest_only else []
    for one in unnoted:
        if one.stage != "done":
            made.noted(one)
    return skipped


def drained(made: Lineup, now: int = 10**9) -> list[str]:
    """What is told, one after the other, if everything is taken from now on."""
    told = []
    while (each := made.next(now)) is not None:
        told.append(each.message)
        made.done(each)
    return told


# ---- examples ----


def test_items_wait_for_themselves_only() -> None:
    made = lineup(delivery(11), delivery(12), delivery(13, "2"))

    first, other = made.next(0), made.next(0)

    assert first is not None
    assert other is not None
    assert (first.position, other.position, made.next(0)) == (11, 13, None)
    made.done(first)
    assert drained(made) == ["m12"]


def test_what_failed_comes_first_once_it_is_due_unless_what_is_fresh_is_to() -> None:
    made = lineup(delivery(11), delivery(12, "2"), delivery(13, "3"))
    failed = made.next(0)
    assert failed is not None
    fail(made, failed, due=50)

    assert (made.next_at(), drained(made, 49)) == (0, ["m12", "m13"])
    assert made.next_at() == 50
    take(made, delivery(14, "4"))
    fresh = made.next(50, fresh_first=True)
    assert fresh is not None
    assert fresh.message == "m14"
    take(made, delivery(15, "5"))
    assert drained(made, 50) == ["m11", "m15"]


def test_what_was_noted_holds_the_log_no_more() -> None:
    made = lineup(delivery(11), delivery(12), delivery(13, "2"))
    failed = made.next(0)
    assert failed is not None
    assert made.position == 10

    fail(made, failed, due=50)

    assert made.position == 12
    take(made, delivery(14))
    assert drained(made, 0) == ["m13"]
    assert (made.position, len(made)) == (14, 3)


def test_there_is_room_again_when_half_of_what_is_held_is_done() -> None:
    made = lineup(*(delivery(10 + n, str(n)) for n in range(1, 5)), held_max=4)
    assert not made.has_room
    calm = []
    while (each := made.next(0)) is not None:
        made.done(each)
        calm.append(made.is_calm)
    assert (calm, made.has_room) == ([False, True, True, True], True)


def test_only_so_much_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(its, "NOTED_MAX", 2)
    made = lineup(delivery(11), delivery(12))
    failed = made.next(0)
    assert failed is not None
    assert made.has_room

    fail(made, failed, due=5)

    assert not made.has_room
    assert not made.is_calm


def test_one_that_takes_long_lets_only_so_many_pass_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(its, "SPAN_MAX", 3)
    made = lineup(delivery(11))
    slow = made.next(0)
    assert slow is not None
    for position in (12, 13):
        assert made.has_room
        take(made, delivery(position, str(position)))
        drained(made)

    assert (len(made), made.has_room) == (1, False)
    made.done(slow)
    assert (made.has_room, made.position) == (True, 13)


def test_who_hurries_begins_anew() -> None:
    made = lineup(delivery(11, first=3, attempts=7))
    failed = made.next(0)
    assert failed is not None
    fail(made, failed, due=50)

    made.hurry(failed)

    assert (failed.attempts, failed.first, made.next_at()) == (0, None, 0)
    assert drained(made, 0) == ["m11"]
    assert made.next_at() is None


# ---- the newest only ----


def test_of_what_waits_about_an_item_the_latest_fact_is_left() -> None:
    made = lineup(delivery(11), delivery(12, happened=30), delivery(13, "2"))
    under_way = made.next(0)
    assert under_way is not None

    skipped = take(made, delivery(14, happened=20), newest_only=True)

    assert [each.message for each in skipped] == ["m14"]
    made.done(under_way)
    assert drained(made) == ["m13", "m12"]
    assert made.position == 14


def test_what_takes_the_place_of_one_that_failed_waits_as_long_and_is_noted() -> None:
    made = lineup(delivery(11))
    failed = made.next(0)
    assert failed is not None
    fail(made, failed, due=50)
    newer = delivery(12)

    assert take(made, newer, newest_only=True) == [failed]

    assert (newer.due, newer.is_noted, made.position) == (50, True, 12)
    assert drained(made, 49) == []
    assert drained(made, 50) == ["m12"]


def test_an_outage_leaves_the_latest_of_what_was_there_when_it_began() -> None:
    made = lineup(delivery(11), delivery(12), delivery(13))
    failed = made.next(0)
    assert failed is not None

    skipped = fail(made, failed, due=50, newest_only=True)

    assert [each.message for each in skipped] == ["m11", "m12"]
    assert (made.position, drained(made, 49), drained(made, 50)) == (13, [], ["m13"])


def test_what_is_about_the_whole_order_is_told_all_the_same() -> None:
    made = lineup(delivery(11), delivery(12, item="1", line="1"))
    whole = delivery(13, line="1")
    whole.item = ""
    take(made, whole, newest_only=True)
    take(made, delivery(14), newest_only=True)
    assert drained(made) == ["m13", "m14"]


def test_the_latest_is_tried_though_another_one_waits_for_longer() -> None:
    """After a start: what is noted comes with its own instants."""
    made = lineup()
    for each in (delivery(5, due=20, happened=9), delivery(9, due=60, happened=8)):
        each.is_noted = True
        made.add(each)

    take(made, delivery(11, happened=1), newest_only=True)

    assert made.next_at() == 60
    assert drained(made, 60) == ["m5"]


# ---- whatever happens ----


class Lineups(RuleBasedStateMachine):
    """A lineup beside a list of what has to be told, for each item."""

    @initialize(
        newest_only=st.booleans(),
        noted=st.lists(
            st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 9)), max_size=4
        ),
    )
    def start(self, newest_only: bool, noted: list[tuple[int, int, int]]) -> None:
        self.made = Lineup(position=FIRST_POSITION, held_max=5)
        self.newest_only = newest_only
        self.now = 1
        self.position = FIRST_POSITION
        self.passed = FIRST_POSITION
        self.lines: dict[str, list[Delivery]] = defaultdict(list)
        self.under_way: list[Delivery] = []
        self.over: set[str] = set()
        for position, (item, due, happened) in enumerate(noted, 1):
            each = delivery(position, str(item), due=due, happened=happened, is_noted=True)
            self.made.add(each)
            self.lines[each.line].append(each)

    def end(self, gone: list[Delivery]) -> None:
        for each in gone:
            assert each not in self.under_way
            self.lines[str(each.line)].remove(each)
            self.over.add(each.message)

    def latest_only(self, item: str) -> None:
        """Nothing that has to wait about an item is left beside the latest of it."""
        idle = [each for each in self.lines[item] if each not in self.under_way]
        assert not self.newest_only or len(idle) <= 1

    @rule(item=st.integers(0, 3), happened=st.integers(0, 9))
    def add(self, item: int, happened: int) -> None:
        self.position += 1
        each = delivery(self.position, str(item), happened=happened)
        self.lines[str(item)].append(each)
        self.end(take(self.made, each, newest_only=self.newest_only))
        self.latest_only(str(item))

    @rule(fresh_first=st.booleans())
    def next(self, fresh_first: bool) -> None:
        each = self.made.next(self.now, fresh_first=fresh_first)
        possible = [
            line[0]
            for line in self.lines.values()
            if line and line[0] not in self.under_way and line[0].due <= self.now
        ]
        assert (each is None) == (not possible), "nobody waits behind another item"
        if each is not None:
            assert each in possible, "order per item"
            self.under_way.append(each)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        each = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.made.done(each)
        self.end([each])

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), wait=st.integers(0, 30))
    def fail(self, data: st.DataObject, wait: int) -> None:
        each = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.end(fail(self.made, each, self.now + wait, newest_only=self.newest_only))
        self.latest_only(str(each.line))

    @rule(wait=st.integers(1, 20))
    def wait(self, wait: int) -> None:
        self.now += wait

    @precondition(lambda self: any(self.lines.values()))
    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        """Somebody asks for one that is there: it is noted, and hurries."""
        there = [each for line in self.lines.values() for each in line]
        each = there[data.draw(st.integers(0, len(there) - 1))]
        assert self.made.find(each.message) is each
        self.made.hurry(each)
        self.made.noted(each)

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "made"):
            return
        there = [each for line in self.lines.values() for each in line]
        assert len(self.made) == len(there)
        assert self.made.under_way == len(self.under_way)
        assert not any(self.made.find(message) for message in self.over)
        held = [each.position for each in there if not each.is_noted]
        expected = min(held, default=self.position + 1) - 1
        assert self.made.position == expected
        assert self.passed <= expected, "the position never goes back"
        self.passed = expected

    @invariant()
    def it_says_when_there_is_something(self) -> None:
        if not hasattr(self, "made"):
            return
        dues = [
            line[0].due for line in self.lines.values() if line and line[0] not in self.under_way
        ]
        at = self.made.next_at()
        assert (at is None) == (not dues)
        if at is not None:
            is_ready = any(line and line[0].stage == "ready" for line in self.lines.values())
            assert at == (0 if is_ready else min(dues))

    def teardown(self) -> None:
        """All that is left is told in the end, in order for each item."""
        if not hasattr(self, "made"):
            return
        for each in self.under_way:
            self.made.failed(each, self.now)
        told = drained(self.made, 10**9)
        wanted = {
            each.message: (name, n)
            for name, line in self.lines.items()
            for n, each in enumerate(line)
        }
        assert sorted(told) == sorted(wanted)
        for name, line in self.lines.items():
            assert [m for m in told if wanted[m][0] == name] == [each.message for each in line]
        assert self.made.position == self.position
        assert self.made.next_at() is None


Lineups.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLineups = Lineups.TestCase

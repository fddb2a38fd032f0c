"""What alerts promise on any store: raised once, told of in the same transaction, looked for by ranges. See ``contract.py``."""

from typing import Any

import pytest

from cloudsignal.server.insight.calendars import Calendar
from cloudsignal.server.insight.stalling import Rule, Standing
from cloudsignal.server.store import alerts as its
from cloudsignal.server.store.alert_messages import (
    TEST,
    Digest,
    Message,
    News,
    Way,
    Written,
)
from cloudsignal.server.store.alerts import Alert, RuleAt, Stalled
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.store import Store
from tests.server.arrivals import MINUTE, NOON, arrival, report
from tests.server.store.search_contract import asked

HOUR_S = 3600
PACKED = (1, "packed")
MAIL = Way(way="email", recipients=("ops@example.com", "night@example.com"))
HOOK = Way(way="webhook", url="sealed", secret="sealed too", shown="https://ops.example/")


def pack(store: Store, *items: str, partner: int = 1, minute: int = 0) -> None:
    """Items that are packed at a minute past noon, and counted."""
    reports = [report("ItemPacked", item=item, minute=minute) for item in items]
    store.append([arrival(*reports, partner=partner)])
    count(store)


def count(store: Store) -> None:
    while not store.rollups.step().is_idle:
        pass


def raise_packed(store: Store, *, now: int = NOON + 9 * MINUTE, limit: int = 99) -> list[int]:
    """Raise alerts for items of the first print partner that are packed: their numbers."""
    found = store.alerts.stalled(PACKED, since=now, limit=limit)
    raised = [Stalled(item, standing, HOUR_S) for item, standing in found]
    store.alerts.note(raised=raised, now=now)
    return [item for item, _ in found]


def written(news: list[News]) -> Written:
    """A message that says of each alert its item and what there is to tell."""
    return Written("alert.digest", " ".join(f"{each.alert.item}:{each.what}" for each in news))


def made(store: Store, *, limit: int = 99, now: int = NOON) -> Message | None:
    """The message that is to be mailed next."""
    store.alert_messages.make("email", written, message=f"m{now}", limit=limit, now=now)
    return store.alert_messages.next("email", now=now)


def shown(store: Store) -> list[tuple[str, Any, Any]]:
    """What was changed, newest first."""
    return [(each.subject, each.before, each.after) for each in store.changes.changes(limit=9)]


class AlertsContract:
    # ---- rules ----

    def test_a_rule_is_for_a_print_partner_or_for_every_one(
        self, store: Store, another: Store
    ) -> None:
        assert not store.alerts.any_rule()
        store.calendars.set("Beta", Calendar("Europe/Berlin"))
        before = store.alerts.revision()
        store.alerts.set_rule("Beta", "packed", Rule(8 * HOUR_S))
        store.alerts.set_rule("Alpha", "packed", Rule(None))
        store.alerts.set_rule(None, "packed", Rule(24 * HOUR_S, 2 * HOUR_S))

        assert another.alerts.any_rule()
        assert another.alerts.rules() == [
            RuleAt(None, "packed", Rule(24 * HOUR_S, 2 * HOUR_S)),
            RuleAt("Alpha", "packed", Rule(None)),
            RuleAt("Beta", "packed", Rule(8 * HOUR_S)),
        ]
        watched = another.alerts.watched()
        assert watched.revision == another.alerts.revision() > before
        assert watched.rules[2, "packed"] == Rule(8 * HOUR_S)
        assert watched.rules[0, "packed"] == Rule(24 * HOUR_S, 2 * HOUR_S)
        assert watched.partners == [1, 2]
        assert watched.calendar(2) == Calendar("Europe/Berlin")
        assert watched.calendar(1) == Calendar()

    def test_changes_of_rules_are_noted(self, store: Store) -> None:
        store.alerts.set_rule(None, "packed", Rule(int(1.5 * HOUR_S), HOUR_S))
        store.alerts.set_rule(None, "packed", Rule(int(1.5 * HOUR_S), HOUR_S))
        store.alerts.set_rule("Beta", "packed", Rule(None))
        store.alerts.set_rule("Beta", "packed", None)
        with pytest.raises(NotFound, match="no print partner called 'Gamma'"):
            store.alerts.set_rule("Gamma", "packed", Rule(9))

        any_time = {"state": "packed", "period": "any time", "grace": "0 h"}
        hours = {"state": "packed", "period": "1.5 h", "grace": "1 h"}
        assert shown(store)[:3] == [
            ("Beta", any_time, None),
            ("Beta", None, any_time),
            ("every print partner", None, hours),
        ]

    # ---- raising and clearing ----

    def test_an_item_has_one_alert_while_it_is_stalled(self, store: Store, another: Store) -> None:
        pack(store, "1", "2")
        pack(store, "3", minute=5)
        pack(store, "4", partner=2)
        early = store.alerts.stalled(PACKED, since=NOON + MINUTE, limit=9)
        assert early == [(1, Standing(1, "packed", NOON)), (2, Standing(1, "packed", NOON))]
        assert raise_packed(store, limit=2) == [1, 2]
        assert raise_packed(another) == [3]
        assert raise_packed(store) == []

        # Who was not fast enough raises nothing.
        again = [Stalled(item, standing, HOUR_S) for item, standing in early]
        another.alerts.note(raised=[*again, Stalled(4, early[0][1], HOUR_S)], now=NOON)

        assert [each.item for each in store.alerts.uncleared(after=0, limit=9)] == [1, 2, 3]
        assert [each.item for each in store.alerts.uncleared(after=1, limit=1)] == [2]

    def test_an_alert_knows_how_its_item_stood_and_stands(self, store: Store) -> None:
        pack(store, "1", "2")
        raise_packed(store)
        store.append([arrival(report("ItemShipped", item="2", minute=7))])
        count(store)
        store.rollups.begin_anew()
        [first, second] = store.alerts.uncleared(after=0, limit=9)
        assert (first.then, first.now) == (Standing(1, "packed", NOON), None)
        count(store)
        [first, second] = store.alerts.uncleared(after=0, limit=9)
        assert first.now == first.then
        assert second.now == Standing(1, "shipped", NOON + 7 * MINUTE)

        store.alerts.note(heard=[(first.id, NOON + 3)], cleared=[(second.id, "shipped")], now=NOON)

        [first] = store.alerts.uncleared(after=0, limit=9)
        assert first.then == Standing(1, "packed", NOON + 3)

    def test_who_is_stalled_again_has_another_alert(self, store: Store) -> None:
        pack(store, "1")
        raise_packed(store)
        [alert] = store.alerts.uncleared(after=0, limit=9)
        store.alerts.note(cleared=[(alert.id, "rule changed")], now=NOON)
        assert store.alerts.uncleared(after=0, limit=9) == []

        assert raise_packed(store) == [1]

        [another] = store.alerts.uncleared(after=0, limit=9)
        assert another.id != alert.id

    def test_those_that_were_not_heard_of_for_longest_have_alerts(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(its, "STALLED_MAX", 2)
        pack(store, "3", minute=3)
        pack(store, "1", minute=1)
        pack(store, "2", minute=2)
        assert raise_packed(store) == [2, 3]
        store.append([arrival(report("ItemShipped", item="1", minute=7))])
        count(store)
        assert raise_packed(store) == [1]

    def test_items_to_raise_alerts_for_are_looked_for_by_a_range(
        self, store: Store, read_whole: Any
    ) -> None:
        # As many as make it worth while to look where they are.
        pack(store, *map(str, range(600)))
        raise_packed(store, limit=500)

        with asked(store) as questions:
            store.alerts.stalled(PACKED, since=NOON, limit=9)
            store.alerts.uncleared(after=0, limit=9)

        assert len(questions) >= 2
        for each in questions:
            assert read_whole(store, *each) == [], each

    def test_what_was_cleared_long_ago_is_forgotten(self, store: Store) -> None:
        pack(store, "1", "2")
        raise_packed(store)
        [first, second] = store.alerts.uncleared(after=0, limit=9)
        store.alerts.note(cleared=[(first.id, "went on")], now=NOON)
        store.alerts.note(cleared=[(second.id, "went on")], now=NOON + 1)
        assert store.alerts.forget(NOON + 1) == 1
        assert store.alerts.forget(NOON + 1) == 0
        assert store.alerts.forget(NOON + 2) == 1

    # ---- telling ----

    def test_what_is_to_be_told_is_noted_for_each_way_there_is(self, store: Store) -> None:
        pack(store, "1")
        raise_packed(store)
        assert store.alert_messages.news_since("email") is None
        store.alert_messages.set_way(MAIL)
        pack(store, "2")
        raise_packed(store, now=NOON + 9)
        [_, alert] = store.alerts.uncleared(after=0, limit=9)
        store.alert_messages.set_way(HOOK)
        store.alerts.note(cleared=[(alert.id, "shipped")], now=NOON + 10)
        # Cleared once, however many believe to do it.
        store.alerts.note(cleared=[(alert.id, "went on")], now=NOON + 11)

        assert store.alert_messages.news_since("email") == NOON + 9
        assert store.alert_messages.news_since("webhook") == NOON + 10
        message = made(store, now=NOON + 12)
        assert message is not None
        assert (message.count, message.since, message.made) == (2, NOON + 9, NOON + 12)
        assert message.content == "2:raised 2:cleared"
        assert store.alert_messages.news_since("email") is None

    def test_news_have_the_whole_alert(self, store: Store) -> None:
        store.alert_messages.set_way(MAIL)
        pack(store, "1")
        raise_packed(store, now=NOON + 9)
        [alert] = store.alerts.uncleared(after=0, limit=9)
        store.alerts.note(cleared=[(alert.id, "went on")], now=NOON + 10)
        told: list[News] = []

        def write(news: list[News]) -> Written:
            told.extend(news)
            return written(news)

        store.alert_messages.make("email", write, message="m", limit=9, now=NOON)

        said = Alert(
            alert.id, "7", "1", "Alpha", "packed", NOON, HOUR_S, NOON + 9, NOON + 10, "went on"
        )
        assert told == [News(said, "raised", NOON + 9), News(said, "cleared", NOON + 10)]

    def test_one_message_waits_at_a_time_and_is_the_same_at_each_attempt(
        self, store: Store
    ) -> None:
        store.alert_messages.set_way(MAIL)
        pack(store, *"123")
        raise_packed(store)
        first = made(store, limit=2)
        assert first is not None
        way = store.alert_messages.way("email")
        assert way == MAIL
        store.alert_messages.failed(
            first, way, "nobody is there", is_over=False, due=NOON + 9, now=NOON + 1
        )
        assert made(store, now=NOON + 8) is None
        again = made(store, now=NOON + 9)
        assert again is not None
        assert (again.message, again.content) == (first.message, "1:raised 2:raised")
        assert (again.attempts, again.why, again.state) == (1, "nobody is there", "waiting")
        failing = store.alert_messages.way("email")
        assert failing is not None
        assert (failing.failures, failing.failing_since, failing.due) == (1, NOON + 1, NOON + 9)

        store.alert_messages.told(again, "it answered 204", now=NOON + 10)

        assert store.alert_messages.way("email") == MAIL
        second = made(store, now=NOON + 11)
        assert second is not None
        assert second.content == "3:raised"
        store.alert_messages.failed(
            second, failing, "no", is_over=True, due=NOON + 20, now=NOON + 12
        )
        assert [each.state for each in store.alert_messages.messages(limit=9)] == ["dead", "told"]
        assert [each.count for each in store.alert_messages.messages(limit=9)] == [1, 2]

    def test_a_test_goes_before_everything_and_is_tried_once(self, store: Store) -> None:
        test = Written(TEST, "a test")
        with pytest.raises(NotFound, match="alerts are not told by email"):
            store.alert_messages.ask_for_test("email", test, message="t", now=NOON)
        store.alert_messages.set_way(MAIL)
        pack(store, "1")
        raise_packed(store)
        waiting = made(store)
        assert waiting is not None
        store.alert_messages.failed(waiting, MAIL, "no", is_over=False, due=NOON * 2, now=NOON)
        store.alert_messages.ask_for_test("email", test, message="t", now=NOON)
        found = store.alert_messages.next("email", now=NOON)
        assert found is not None
        assert (found.message, found.is_test, found.count) == ("t", True, 0)

        store.alert_messages.failed(found, MAIL, "no", is_over=True, due=0, now=NOON + 1)

        way = store.alert_messages.way("email")
        assert way is not None
        assert (way.failures, way.due) == (1, NOON * 2)
        tried = store.alert_messages.message("t")
        assert (tried.state, tried.attempts, tried.why) == ("dead", 1, "no")
        assert store.alert_messages.next("email", now=NOON) is None

    def test_what_waits_for_too_long_is_given_up_and_that_is_seen(self, store: Store) -> None:
        store.alert_messages.set_way(MAIL)
        pack(store, "1", "2")
        raise_packed(store, now=NOON, limit=1)
        raise_packed(store, now=NOON + 5)
        assert store.alert_messages.give_up("email", NOON + 5, "old", message="x", now=NOON) == 1
        assert store.alert_messages.give_up("email", NOON + 5, "old", message="y", now=NOON) == 0
        [dead] = store.alert_messages.messages(limit=9)
        assert (dead.state, dead.count, dead.since, dead.why) == ("dead", 1, NOON, "old")
        message = made(store)
        assert message is not None
        assert message.content == "2:raised"

    def test_messages_are_listed_and_forgotten(self, store: Store) -> None:
        store.alert_messages.set_way(MAIL)
        for number in range(3):
            name = f"t{number}"
            store.alert_messages.ask_for_test("email", Written(TEST, ""), message=name, now=NOON)
        newest, *_ = store.alert_messages.messages(limit=2)
        assert newest.message == "t2"
        older = store.alert_messages.messages(before=newest.id, limit=9)
        assert [each.message for each in older] == ["t1", "t0"]
        store.alert_messages.told(older[0], "yes", now=NOON + 1)
        store.alert_messages.forget(NOON + 2)
        assert [each.message for each in store.alert_messages.messages(limit=9)] == ["t2", "t0"]
        with pytest.raises(NotFound, match="no message 't1'"):
            store.alert_messages.message("t1")

    def test_ways_are_changed_and_removed_and_that_is_noted(self, store: Store) -> None:
        store.alert_messages.set_way(MAIL)
        store.alert_messages.set_way(HOOK)
        assert store.alert_messages.ways() == [HOOK, MAIL]
        pack(store, "1", "2")
        raise_packed(store, limit=1)
        assert made(store)
        raise_packed(store)
        daily = Way(
            way="email",
            recipients=("day@example.com",),
            digest=Digest("daily", 7 * 60 + 5, "Europe/Berlin"),
        )
        store.alert_messages.set_way(daily)
        assert store.alert_messages.way("email") == daily

        store.alert_messages.remove_way("email", now=NOON + 1)

        assert store.alert_messages.way("email") is None
        assert store.alert_messages.news_since("email") is None
        [given_up] = store.alert_messages.messages(limit=9)
        assert (given_up.state, given_up.why) == ("dead", "the email was removed")
        with pytest.raises(NotFound, match="alerts are not told by email"):
            store.alert_messages.remove_way("email", now=NOON)
        both = {"to": "ops@example.com, night@example.com", "when": "at once"}
        one = {"to": "day@example.com", "when": "daily at 07:05 in Europe/Berlin"}
        assert shown(store)[:4] == [
            ("email", one, None),
            ("email", both, one),
            ("webhook", None, {"URL": "https://ops.example/", "when": "at once"}),
            ("email", None, both),
        ]
        assert "sealed" not in str(store.changes.changes(limit=99))

    def test_counts_say_since_when_signals_wait_for_them(self, store: Store) -> None:
        assert store.rollups.waiting_since() is None
        store.append([arrival(received=NOON), arrival(report(item="2"), received=NOON + 1)])
        assert store.rollups.waiting_since() == NOON
        store.rollups.step(limit=1)
        assert store.rollups.waiting_since() == NOON + 1
        count(store)
        assert store.rollups.waiting_since() is None

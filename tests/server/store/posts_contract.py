"""What is promised of which posts came, on any store."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cloudsignal.protocol.refusals import STATUS, Problem
from cloudsignal.protocol.units import HOUR_US
from cloudsignal.server.insight.reporting import Tally
from cloudsignal.server.store import posts
from cloudsignal.server.store.posts import (
    NOBODY,
    REFUSALS_MAX,
    Count,
    Gathered,
    RefusedPost,
    Stranger,
    Traffic,
)
from cloudsignal.server.store.store import Store
from tests.server.store.search_contract import asked

NOON = 12 * HOUR_US


def came(*counts: tuple[int, int, str, int], past: int = 5) -> Gathered:
    """So many posts through an interface in an hour, by outcome; the last of them ``past`` it began."""
    return Gathered(
        {
            (each[1] * HOUR_US, each[0], each[2]): Count(each[3], each[1] * HOUR_US + past)
            for each in counts
        }
    )


def refused(at: int = 1, **values: Any) -> RefusedPost:
    """A refused post of an interface."""
    given: dict[str, Any] = {"interface": 1, "address": "192.0.2.7", "type": "unknown_type"}
    problems = (Problem("type", "unknown_type", "there is no type"),)
    values = given | {"problems": problems, "body": '{"type":"x"}'} | values
    return RefusedPost(at=at, status=STATUS[values["type"]], **values)


def strangers(*counts: tuple[str, int, int]) -> Gathered:
    """So many posts with an unknown key from an address, the last of them at an instant."""
    return Gathered(
        strangers={
            (at - at % HOUR_US, address, "unknown_key"): Count(many, at)
            for address, many, at in counts
        }
    )


def bodies(store: Store, **chosen: Any) -> list[str]:
    return [each.body for each in store.posts.refused(limit=99, **chosen)]


class PostsContract:
    def test_what_came_is_added_up_whoever_noted_it(self, store: Store, another: Store) -> None:
        store.posts.add(came((1, 12, "accepted", 3), (1, 12, "unknown_type", 1)))
        another.posts.add(came((1, 12, "accepted", 4), past=9))
        store.posts.add(came((1, 13, "accepted", 1), (3, 12, "accepted", 7), past=2))

        found = another.posts.of_interfaces(NOON)

        assert found == {
            1: Traffic(
                {
                    "accepted": Count(8, 13 * HOUR_US + 2),
                    "unknown_type": Count(1, NOON + 5),
                },
                13 * HOUR_US + 2,
            ),
            2: Traffic(),
            3: Traffic({"accepted": Count(7, NOON + 2)}, NOON + 2),
        }
        one = found[1]
        assert (one.posts, one.accepted, one.refusals) == (9, 8, 1)
        assert one.refused == {"unknown_type": Count(1, NOON + 5)}

    def test_the_last_post_is_the_last_whenever_it_was_noted(self, store: Store) -> None:
        store.posts.add(came((1, 12, "accepted", 1), past=9))
        store.posts.add(came((1, 12, "accepted", 1), past=3))

        assert store.posts.of_interfaces(0)[1].last == NOON + 9

    def test_many_nodes_add_up_at_the_same_time(self, store: Store, another: Store) -> None:
        one = came(*((number, 12, "accepted", 1) for number in (1, 2, 3)))
        other = came(*((number, 12, "accepted", 1) for number in (3, 2, 1)))

        with ThreadPoolExecutor(2) as threads:
            for done in [
                threads.submit(each.posts.add, gathered)
                for each, gathered in ((store, one), (another, other)) * 20
            ]:
                done.result()

        assert [each.posts for each in store.posts.of_interfaces(0).values()] == [40, 40, 40]

    def test_what_came_is_counted_since_the_hour_of_an_instant(self, store: Store) -> None:
        store.posts.add(came((1, 12, "accepted", 3), (1, 11, "accepted", 5)))

        since = {when: store.posts.of_interfaces(when)[1] for when in (0, NOON + 7, 2 * NOON)}

        assert [each.posts for each in since.values()] == [8, 3, 0]
        assert {each.last for each in since.values()} == {NOON + 5}

    def test_a_print_partner_is_its_interfaces(self, store: Store) -> None:
        store.posts.add(
            came((1, 12, "accepted", 3), (3, 13, "not_your_item", 2), (3, 12, "accepted", 1))
        )

        found = store.posts.of_partners(0)

        assert found["Alpha"] == Traffic(
            {
                "accepted": Count(4, NOON + 5),
                "not_your_item": Count(2, 13 * HOUR_US + 5),
            },
            13 * HOUR_US + 5,
        )
        assert found["Alpha"].tally == Tally(2, 6)
        assert found["Beta"] == Traffic()
        assert list(found) == ["Alpha", "Beta"]

        alpha, _ = store.access.partners()
        store.access.create_interface(alpha, "d", timezone="UTC", allow=(), test=True, now=1)
        store.posts.add(came((4, 12, "not_your_item", 5), (4, 12, "accepted", 1)))
        assert store.posts.of_partners(0)["Alpha"].tally == Tally(7, 12)
        assert store.posts.of_partners(0, live=True)["Alpha"].tally == Tally(2, 6)

    def test_what_came_through_no_interface_is_apart(self, store: Store) -> None:
        store.posts.add(came((NOBODY, 12, "unknown_key", 3), (1, 12, "invalid_delay", 1)))

        assert store.posts.of_strangers(0) == {"unknown_key": Count(3, NOON + 5)}
        assert NOBODY not in store.posts.of_interfaces(0)
        assert store.posts.of_strangers(2 * NOON) == {}

    # ---- where strangers are ----

    def test_where_strangers_come_from_is_added_up(self, store: Store, another: Store) -> None:
        store.posts.add(strangers(("192.0.2.7", 2, NOON), ("2001:db8::/64", 3, NOON + 1)))
        another.posts.add(strangers(("192.0.2.7", 5, NOON + HOUR_US)))
        store.posts.add(strangers(("192.0.2.9", 99, NOON - 1)))

        assert store.posts.strangers(NOON, limit=9) == [
            Stranger("192.0.2.7", "unknown_key", 7, NOON + HOUR_US),
            Stranger("2001:db8::/64", "unknown_key", 3, NOON + 1),
        ]
        [most] = store.posts.strangers(0, limit=1)
        assert most.address == "192.0.2.9"

    def test_only_so_many_strangers_are_remembered(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(posts, "STRANGERS_MAX", 3)
        for number in range(5):
            store.posts.add(strangers((f"192.0.2.{number}", 1, NOON + number)))

        found = store.posts.strangers(0, limit=9)

        assert [each.address for each in found] == ["192.0.2.2", "192.0.2.3", "192.0.2.4"]

    # ---- refused posts ----

    def test_a_refused_post_is_kept_as_it_was_refused(self, store: Store, another: Store) -> None:
        problems = (
            Problem("items[1].type", "unknown_type", "items[1]: there is no type „ü“"),
            Problem("items[2]", "not_an_object", "items[2]: …"),
        )
        kept = refused(7, interface=2, problems=problems, body="ü\n\"'{}")

        store.posts.add(Gathered(refused=[kept]))

        [found] = another.posts.refused(limit=9)
        assert found.id == 1
        assert found.partner_name == "Beta"
        assert (found.at, found.interface, found.address) == (7, 2, "192.0.2.7")
        assert (found.status, found.type) == (400, "unknown_type")
        assert (found.problems, found.body) == (problems, kept.body)

    def test_refused_posts_are_found_the_newest_first(self, store: Store) -> None:
        given = [(1, "a"), (2, "b"), (3, "c"), (1, "d")]
        kept = [refused(interface=number, body=body) for number, body in given]
        kept += [refused(interface=1, body="e", type="key_expired", problems=())]

        store.posts.add(Gathered(refused=kept))

        assert bodies(store) == ["e", "d", "c", "b", "a"]
        assert bodies(store, partner="Alpha") == ["e", "d", "c", "a"]
        assert bodies(store, interface=1) == ["e", "d", "a"]
        assert bodies(store, type="key_expired", partner="Alpha") == ["e"]
        assert bodies(store, interface=2, partner="Alpha") == bodies(store, partner="Nobody") == []
        two = store.posts.refused(limit=2)
        assert bodies(store, before=two[-1].id) == ["c", "b", "a"]

    def test_refused_posts_are_found_that_count_in_the_score(self, store: Store) -> None:
        alpha, _ = store.access.partners()
        store.access.create_interface(alpha, "d", timezone="UTC", allow=(), test=True, now=1)
        kept = [
            refused(interface=number, type=type, body=f"{type} through {number}")
            for type in ("unknown_type", "key_disabled", "overloaded")
            for number in (1, 4)
        ]
        store.posts.add(Gathered(refused=kept))

        assert len(bodies(store)) == 6
        assert bodies(store, scored=True) == ["unknown_type through 1"]
        assert bodies(store, scored=True, partner="Alpha", type="key_disabled") == []

    def test_many_of_one_kind_leave_the_others_alone(self, store: Store) -> None:
        store.posts.add(
            Gathered(
                refused=[
                    refused(body="alone"),
                    refused(body="other interface", interface=3),
                    refused(body="other type", type="key_expired"),
                ]
            )
        )
        for start in (0, 15, 30):
            kept = [refused(body=f"{start + each}") for each in range(15)]
            store.posts.add(Gathered(refused=kept))

        newest = [str(each) for each in range(44, 44 - REFUSALS_MAX, -1)]
        assert bodies(store) == [*newest, "other type", "other interface"]

    # ---- forgetting ----

    def test_what_is_old_is_forgotten_a_few_at_a_time(self, store: Store) -> None:
        store.posts.add(came((1, 1, "accepted", 1), (1, 2, "accepted", 1), (1, 12, "accepted", 1)))
        store.posts.add(came((NOBODY, 1, "unknown_key", 1), (NOBODY, 12, "unknown_key", 1)))
        store.posts.add(strangers(("192.0.2.1", 1, NOON - 1), ("192.0.2.2", 1, NOON)))
        store.posts.add(
            Gathered(refused=[refused(NOON - 1, body="old"), refused(NOON, body="new")])
        )

        gone = [store.posts.forget(NOON) for _ in range(3)]

        assert gone == [4, 1, 0]
        assert store.posts.of_interfaces(0)[1] == Traffic(
            {"accepted": Count(1, NOON + 5)}, NOON + 5
        )
        assert store.posts.of_strangers(0) == {"unknown_key": Count(1, NOON + 5)}
        assert [each.address for each in store.posts.strangers(0, limit=9)] == ["192.0.2.2"]
        assert bodies(store) == ["new"]

    def test_when_an_interface_was_last_used_is_never_forgotten(self, store: Store) -> None:
        store.posts.add(came((1, 1, "accepted", 1), (1, 2, "accepted", 1), (2, 12, "accepted", 1)))

        while store.posts.forget(99 * HOUR_US):
            pass

        assert store.posts.of_interfaces(NOON)[1] == Traffic({}, 2 * HOUR_US + 5)
        assert store.posts.of_interfaces(NOON)[2].last == NOON + 5

    def test_what_came_long_ago_is_not_looked_at(
        self, store: Store, read_whole: Callable[[Store, str, Any], list[str]]
    ) -> None:
        store.posts.add(came((1, 1, "accepted", 1), (NOBODY, 12, "unknown_key", 1)))
        store.posts.add(strangers(("192.0.2.1", 1, NOON)))

        with asked(store) as questions:
            store.posts.of_interfaces(NOON)
            store.posts.of_partners(NOON)
            store.posts.of_strangers(NOON)
            store.posts.strangers(NOON, limit=9)

        read = [each for question in questions for each in read_whole(store, *question)]
        assert len(questions) >= 4
        assert [each for each in read if "posts" in each or "strangers" in each] == []

    def test_nothing_that_came_changes_nothing(self, store: Store) -> None:
        store.posts.add(Gathered())

        assert store.posts.of_interfaces(0) == {1: Traffic(), 2: Traffic(), 3: Traffic()}
        assert store.posts.refused(limit=9) == []
        assert store.posts.forget(NOON) == 0

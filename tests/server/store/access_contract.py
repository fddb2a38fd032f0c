"""What keeping who may speak promises, on any store. It begins with two partners (`furnish`)."""

from collections.abc import Callable

import pytest

from cloudsignal.server.store.access import Access, Key, Token
from cloudsignal.server.store.changes import Actor
from cloudsignal.server.store.errors import AlreadyThere, NotFound
from cloudsignal.server.store.store import Store

CHANGES: dict[str, Callable[[Access], object]] = {
    "create_partner": lambda access: access.create_partner("New", now=9),
    "create_interface": lambda access: access.create_interface(
        access.partner("Beta"), "new", timezone="UTC", allow=(), test=False, now=9
    ),
    "rotate_key": lambda access: access.rotate_key(1, "new", expires=10, now=9),
    "change_interface": lambda access: access.change_interface(1, timezone="Europe/Berlin"),
    "disable": lambda access: access.set_disabled(1, True),
    "enable": lambda access: access.set_disabled(1, False),
    "revoke": lambda access: access.revoke(1, now=9),
    "create_token": lambda access: access.create_token("ops", "reader", "new", now=9),
}
REFUSED: dict[str, tuple[type[Exception], str, Callable[[Access], object]]] = {
    "a partner's name twice": (
        AlreadyThere,
        "'Alpha' is already there",
        lambda access: access.create_partner("Alpha", now=9),
    ),
    "a partner that is not there": (
        NotFound,
        "no print partner called 'alpha'",
        lambda access: access.partner("alpha"),
    ),
    "a partner's number that is not there": (
        NotFound,
        "no print partner 99",
        lambda access: access.numbered_partner(99),
    ),
    "a key in use for a new interface": (
        AlreadyThere,
        "already in use",
        lambda access: access.create_interface(
            access.partner("Beta"), "a", timezone="UTC", allow=(), test=False, now=9
        ),
    ),
    "a key in use when rotating": (
        AlreadyThere,
        "already in use",
        lambda access: access.rotate_key(1, "b", expires=10, now=9),
    ),
    "an interface that is not there": (
        NotFound,
        "no interface 99",
        lambda access: access.interface(99),
    ),
    "rotating one that is not there": (
        NotFound,
        "no interface 99",
        lambda access: access.rotate_key(99, "new", expires=10, now=9),
    ),
    "changing one that is not there": (
        NotFound,
        "no interface 99",
        lambda access: access.change_interface(99, test=True),
    ),
    "changing nothing of one that is not there": (
        NotFound,
        "no interface 99",
        lambda access: access.change_interface(99),
    ),
    "disabling one that is not there": (
        NotFound,
        "no interface 99",
        lambda access: access.set_disabled(99, True),
    ),
    "revoking one that is not there": (
        NotFound,
        "no interface 99",
        lambda access: access.revoke(99, now=9),
    ),
    "revoking a token that is not there": (
        NotFound,
        "no token called 'ops'",
        lambda access: access.revoke_token("ops", now=9),
    ),
}


class AccessContract:
    def test_partners_are_listed_by_name(self, store: Store) -> None:
        store.access.create_partner("Aachen Print", now=5)

        partners = store.access.partners()

        assert [(each.name, each.created) for each in partners] == [
            ("Aachen Print", 5),
            ("Alpha", 1),
            ("Beta", 2),
        ]
        assert store.access.partner("Beta") == partners[2]
        assert store.access.numbered_partner(partners[2].id) == partners[2]

    def test_partners_are_listed_page_by_page(self, store: Store) -> None:
        store.access.create_partner("Aachen Print", now=5)

        first = store.access.partners(limit=2)
        then = store.access.partners(after=first[-1].name, limit=2)

        assert [[each.name for each in page] for page in (first, then)] == [
            ["Aachen Print", "Alpha"],
            ["Beta"],
        ]

    def test_how_many_interfaces_partners_have_is_counted_less_those_that_are_gone(
        self, store: Store
    ) -> None:
        access = store.access
        access.set_disabled(1, True)
        access.revoke(2, now=9)

        assert access.interface_counts([1, 2, 99]) == {1: 2}
        assert access.interface_counts([2]) == {}

    def test_an_interface_is_what_it_was_made_as(self, store: Store) -> None:
        made = store.access.create_interface(
            store.access.partner("Beta"),
            "new",
            timezone="Europe/Berlin",
            allow=("192.0.2.0/24", "2001:db8::/32"),
            test=True,
            now=7,
        )

        assert (made.partner_name, made.timezone, made.test, made.created) == (
            "Beta",
            "Europe/Berlin",
            True,
            7,
        )
        assert made.allow == ("192.0.2.0/24", "2001:db8::/32")
        assert (made.state, made.disabled, made.revoked) == ("active", False, None)
        assert store.access.interface(made.id) == made
        assert store.access.interfaces()[-1] == made
        assert store.access.find_key("new") == (made, Key("new", made.id, 7, None))

    def test_interfaces_are_listed_page_by_page_the_newest_first(self, store: Store) -> None:
        def numbers(**chosen: int) -> list[int]:
            return [each.id for each in store.access.newest_interfaces(**chosen)]

        assert numbers(limit=2) == [3, 2]
        assert numbers(limit=2, before=2) == [1]
        assert numbers(limit=9, partner=1) == [3, 1]
        assert numbers(limit=9, partner=1, before=3) == [1]

    def test_an_unknown_key_opens_nothing(self, store: Store) -> None:
        assert store.access.find_key("unknown") is None
        assert store.access.find_token("a") is None

    def test_rotation_lets_the_old_key_live_for_the_overlap(self, store: Store) -> None:
        store.access.rotate_key(1, "second", expires=100, now=50)

        keys = {each.digest: each.expires for each in store.access.apikeys()}
        assert keys == {"a": 100, "second": None, "b": None, "c": None}

    def test_the_newest_keys_of_an_interface_come_first(self, store: Store) -> None:
        store.access.rotate_key(1, "second", expires=100, now=50)
        store.access.rotate_key(1, "third", expires=100, now=60)

        assert store.access.newest_keys(1, limit=2) == [
            Key("third", 1, 60, None),
            Key("second", 1, 50, 100),
        ]

    @pytest.mark.parametrize(("overlap", "first"), [(200, 100), (80, 80)])
    def test_rotating_again_never_prolongs_an_older_key(
        self, store: Store, overlap: int, first: int
    ) -> None:
        store.access.rotate_key(1, "second", expires=100, now=50)
        store.access.rotate_key(1, "third", expires=overlap, now=60)

        keys = {each.digest: each.expires for each in store.access.apikeys() if each.interface == 1}
        assert keys == {"a": first, "second": overlap, "third": None}

    def test_an_interface_is_closed_opened_and_closed_for_good(self, store: Store) -> None:
        access = store.access

        assert access.set_disabled(1, True).state == "disabled"
        assert access.interface(1).state == "disabled"
        assert access.set_disabled(1, False).state == "active"
        assert access.revoke(1, now=9).revoked == 9
        assert access.set_disabled(1, False).state == "revoked"
        assert [each.state for each in access.interfaces()] == ["revoked", "active", "active"]

    def test_what_is_changed_of_an_interface_is_noted_and_the_rest_stays(
        self, store: Store, another: Store
    ) -> None:
        access = store.by(Actor("Ada", "192.0.2.7")).access
        access.change_interface(1, timezone="Europe/Berlin", allow=("192.0.2.0/24",))

        changed = access.change_interface(1, test=True)
        assert access.change_interface(1, test=True) == access.change_interface(1) == changed

        assert another.access.interface(1) == changed
        assert (changed.timezone, changed.allow, changed.test) == (
            "Europe/Berlin",
            ("192.0.2.0/24",),
            True,
        )
        assert access.change_interface(1, allow=()).allow == ()
        notes = store.changes.changes(limit=3)
        assert {(each.what, each.subject, each.actor) for each in notes} == {
            ("interface changed", "1 of Alpha", "Ada")
        }
        assert notes[1].before == {
            "state": "active",
            "time zone": "Europe/Berlin",
            "allowed": "192.0.2.0/24",
            "test": False,
        }
        assert notes[1].after == {**notes[1].before, "test": True}

    def test_revoking_again_keeps_when_it_was_revoked_first(self, store: Store) -> None:
        store.access.revoke(1, now=9)

        assert store.access.revoke(1, now=20).revoked == 9

    def test_tokens_are_listed_found_and_revoked(self, store: Store) -> None:
        access = store.access
        ops = access.create_token("ops", "operator", "t1", now=4)
        access.create_token("app", "reader", "t2", now=5)

        assert ops == Token("t1", "ops", "operator", 4, None)
        assert [each.name for each in access.tokens()] == ["app", "ops"]
        assert [each.name for each in access.tokens(limit=1)] == ["app"]
        assert [each.name for each in access.tokens(after="app", limit=1)] == ["ops"]
        assert access.find_token("t1") == ops
        ended = access.revoke_token("ops", now=8)
        assert ended == access.find_token("t1") == Token("t1", "ops", "operator", 4, 8)
        assert access.revoke_token("ops", now=9).revoked == 8

    def test_a_tokens_name_and_digest_are_there_once(self, store: Store) -> None:
        store.access.create_token("ops", "reader", "t1", now=4)

        with pytest.raises(AlreadyThere, match="'ops' is already there"):
            store.access.create_token("ops", "admin", "t2", now=4)
        assert [each.role for each in store.access.tokens()] == ["reader"]

    @pytest.mark.parametrize("change", CHANGES)
    def test_the_revision_grows_with_every_change(
        self, store: Store, another: Store, change: str
    ) -> None:
        before = another.access.revision()

        CHANGES[change](store.access)

        assert another.access.revision() > before

    @pytest.mark.parametrize("mistake", REFUSED)
    def test_a_mistake_is_told_and_changes_nothing(self, store: Store, mistake: str) -> None:
        error, words, change = REFUSED[mistake]
        before = store.access.apikeys(), store.access.interfaces(), store.access.revision()

        with pytest.raises(error, match=words):
            change(store.access)

        assert before[:2] == (store.access.apikeys(), store.access.interfaces())

    def test_what_the_secret_is_known_by_is_kept(self, store: Store, another: Store) -> None:
        assert store.access.secret_check() is None

        assert store.access.agree_on_secret_check("known by") == "known by"

        assert another.access.agree_on_secret_check("something else") == "known by"
        assert another.access.secret_check() == "known by"

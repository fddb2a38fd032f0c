"""What is promised of people who sign in, and of what they change, on any store."""

from collections.abc import Callable
from typing import Any

import pytest

from cloudsignal.server.store.changes import Actor
from cloudsignal.server.store.errors import AlreadyThere, LastAdmin, NotFound
from cloudsignal.server.store.sessions import Session
from cloudsignal.server.store.store import Store
from cloudsignal.server.store.users import User
from tests.server.store import told

ADA = Actor("Ada", "192.0.2.7")


def user(store: Store, name: str = "Ada", role: Any = "admin", **values: Any) -> User:
    """Somebody who is there."""
    return store.by(ADA).users.create(name, role, now=1, **values)


def session(number: int = 1, digest: str = "s", **values: Any) -> Session:
    """Somebody, signed in."""
    given = {"begun": 10, "seen": 10, "ends": 99, "address": "192.0.2.7", "agent": "a browser"}
    return Session(digest, number, **given | values)


def noted(store: Store) -> list[tuple[str, str, str]]:
    """What was changed, by whom, of whom, the newest first."""
    return [(each.what, each.actor, each.subject) for each in store.changes.changes(limit=99)]


LAST_ADMIN: dict[str, Callable[[Store], object]] = {
    "disabled": lambda store: store.users.set_disabled(1, True),
    "a reader": lambda store: store.users.set_role(1, "reader"),
    "removed": lambda store: store.users.remove(1),
}
GONE: dict[str, Callable[[Store], object]] = {
    "shown": lambda store: store.users.user(7),
    "invited": lambda store: store.users.invite(7, "d", ends=9),
    "given a password": lambda store: store.users.set_password(7, "p"),
    "given a second factor": lambda store: store.users.set_totp(7, "t"),
    "changed": lambda store: store.users.set_role(7, "reader"),
    "removed": lambda store: store.users.remove(7),
}


class UsersContract:
    def test_somebody_is_as_they_were_made(self, store: Store, another: Store) -> None:
        assert not store.users.any()
        partner = store.access.partners()[0]
        made = user(store, "Press user", "partner", partner=partner.id)

        assert another.users.users() == [made] == [another.users.find("Press user")]
        assert (made.partner, made.partner_name, made.owner) == (partner.id, partner.name, None)
        assert (made.password, made.totp, made.disabled, made.created) == ("", None, False, 1)
        assert store.users.any()
        assert store.users.find("press user") is None
        with pytest.raises(AlreadyThere, match="a user called 'Press user' is already there"):
            user(store, "Press user")

    def test_nothing_secret_is_shown_of_anybody(self, store: Store) -> None:
        made = user(store)
        store.users.set_password(made.id, "digest-of-it")
        store.users.set_totp(made.id, "sealed-it-is")

        shown = f"{store.users.user(1)!r} {store.changes.changes(limit=9)!r}"

        assert "digest-of-it" not in shown
        assert "sealed-it-is" not in shown

    @pytest.mark.parametrize("verb", GONE)
    def test_nobody_else_is_found(self, store: Store, verb: str) -> None:
        user(store)
        with pytest.raises(NotFound, match="there is no user 7"):
            GONE[verb](store)

    @pytest.mark.parametrize("verb", LAST_ADMIN)
    def test_somebody_is_always_left_who_may_change_users(self, store: Store, verb: str) -> None:
        user(store)
        user(store, "Grace", "operator")
        before = store.users.users()
        with pytest.raises(LastAdmin, match="Ada is the last who may change users"):
            LAST_ADMIN[verb](store)
        assert store.users.users() == before

        user(store, "Alan")
        LAST_ADMIN[verb](store)
        assert store.users.users() != before

    @pytest.mark.parametrize("verb", LAST_ADMIN)
    def test_somebody_is_always_left_who_can_sign_in_to_change_users(
        self, store: Store, verb: str
    ) -> None:
        store.users.set_password(user(store).id, "digest")
        invited = user(store, "Grace")
        with pytest.raises(LastAdmin, match="Ada is the last who may change users"):
            LAST_ADMIN[verb](store)
        store.users.remove(invited.id)

        store.users.set_password(user(store, "Alan").id, "digest")
        before = store.users.users()
        LAST_ADMIN[verb](store)
        assert store.users.users() != before

    # ---- links ----

    def test_the_first_user_comes_by_a_link_that_is_good_once(self, store: Store) -> None:
        assert store.users.invite_first("first link", ends=50)
        assert store.users.invite_first("link", ends=50)
        assert store.users.invitation("first link", now=49) is None
        assert store.users.invitation("link", now=50) is None

        made = store.by(ADA).users.accept("link", "digest", name="Ada", now=49)

        assert (made.name, made.role, made.password) == ("Ada", "admin", "digest")
        assert noted(store)[0] == ("password chosen by a link", "Ada", "Ada")
        with pytest.raises(NotFound, match="used, or is too old"):
            store.users.accept("link", "other", name="Eve", now=49)
        assert not store.users.invite_first("another link", ends=50)

    def test_a_link_for_the_first_user_is_for_nobody_once_there_is_one(self, store: Store) -> None:
        store.users.invite_first("link", ends=50)
        user(store)
        with pytest.raises(AlreadyThere, match="ask them for an invitation"):
            store.users.accept("link", "digest", name="Eve", now=9)

    def test_who_is_invited_chooses_a_password_and_is_signed_out_elsewhere(
        self, store: Store
    ) -> None:
        made = user(store)
        store.sessions.begin(session())
        store.users.invite(made.id, "an earlier link", ends=50)
        store.users.invite(made.id, "link", ends=50)
        assert store.users.invitation("an earlier link", now=4) is None

        accepted = store.users.accept("link", "digest", name="Eve", now=5)

        assert (accepted.id, accepted.name, accepted.password) == (1, "Ada", "digest")
        assert store.sessions.of(1) == []

    # ---- second factors ----

    def test_a_code_counts_once(self, store: Store, another: Store) -> None:
        made = user(store)
        assert store.users.set_totp(made.id, "sealed", step=7).totp == "sealed"

        assert not store.users.use_step(made.id, 7)
        assert store.users.use_step(made.id, 8)
        assert not another.users.use_step(made.id, 8)
        assert store.users.set_totp(made.id, None).totp is None

    # ---- sessions ----

    def test_somebody_is_signed_in_until_they_are_not(self, store: Store, another: Store) -> None:
        made = user(store)
        store.sessions.begin(session(digest="one"))
        store.sessions.begin(session(digest="two", begun=20, seen=20))
        store.sessions.see("two", now=30)

        found = another.sessions.find("two")
        assert found is not None
        assert found == (session(digest="two", begun=20, seen=30), made)
        assert [each.digest for each in store.sessions.of(1)] == ["two", "one"]
        store.sessions.end("two")
        assert store.sessions.find("two") is None

    def test_sessions_that_have_ended_are_forgotten(self, store: Store) -> None:
        user(store)
        store.sessions.begin(session(digest="one", ends=20))
        store.sessions.begin(session(digest="two", begun=20))
        assert [each.digest for each in store.sessions.of(1)] == ["two"]

    def test_somebody_can_be_signed_out_everywhere_else(self, store: Store) -> None:
        user(store)
        user(store, "Grace")
        for digest, whose in (("one", 1), ("two", 1), ("three", 2)):
            store.sessions.begin(session(whose, digest))

        assert store.by(ADA).sessions.end_others(1, "one") == 1
        assert store.sessions.end_others(1, "one") == 0

        assert [each.digest for each in store.sessions.of(1)] == ["one"]
        assert [each.digest for each in store.sessions.of(2)] == ["three"]
        assert noted(store)[0] == ("signed out elsewhere", "Ada", "Ada")

    @pytest.mark.parametrize("how", ["disabled", "removed", "another password"])
    def test_who_may_not_be_there_any_more_is_signed_out(self, store: Store, how: str) -> None:
        user(store)
        user(store, "Grace")
        store.sessions.begin(session(2))
        {
            "disabled": lambda: store.users.set_disabled(2, True),
            "removed": lambda: store.users.remove(2),
            "another password": lambda: store.users.set_password(2, "p"),
        }[how]()
        assert store.sessions.find("s") is None

    def test_who_tries_too_often_is_not_listened_to_for_a_while(
        self, store: Store, another: Store
    ) -> None:
        def attempt(now: int, who: str = "a", forget: int = 0) -> int:
            return store.sessions.attempt(
                who, pause=lambda count: 10 if count >= 3 else 0, forget=forget, now=now
            )

        assert [attempt(now) for now in (1, 2, 3, 4, 12)] == [0, 0, 0, 9, 1]
        assert attempt(4, "b") == 0
        assert attempt(13) == 0
        assert attempt(14) == 9
        another.sessions.take_back("a")
        assert [attempt(now) for now in (15, 16)] == [0, 9]
        store.sessions.forgive("a")
        assert [attempt(now) for now in (17, 18, 19, 20)] == [0, 0, 0, 9]
        assert [attempt(now, forget=20) for now in (21, 22, 23)] == [0, 0, 0]

    # ---- changes ----

    def test_every_change_is_noted_with_what_was_and_is(self, store: Store) -> None:
        user(store)
        made = user(store, "Grace", "reader")
        store.by(ADA).users.set_role(made.id, "operator")
        store.by(ADA).users.set_role(made.id, "operator")
        store.users.remove(made.id)

        removed, changed, created, _ = store.changes.changes(limit=4)

        assert (removed.what, removed.after) == ("user removed", None)
        assert removed.at >= changed.at >= created.at > 0
        assert (created.what, created.before) == ("user created", None)
        assert (changed.actor, changed.address) == ("Ada", "192.0.2.7")
        assert changed.before == created.after
        assert changed.after == removed.before
        assert changed.before is not None
        assert changed.after == changed.before | {"role": "operator"}

    def test_what_nobody_did_the_server_did(self, store: Store) -> None:
        store.access.create_partner("Press", now=1)
        store.by(ADA).access.create_partner("Other press", now=1)
        assert noted(store)[:2] == [
            ("print partner created", "Ada", "Other press"),
            ("print partner created", "the server", "Press"),
        ]

    def test_changes_of_all_kinds_are_noted(self, store: Store) -> None:
        act = store.by(ADA)
        partner = act.access.create_partner("Press", now=1)
        options: Any = {"timezone": "UTC", "allow": ("192.0.2.0/24",), "test": False, "now": 1}
        made = act.access.create_interface(partner, "digest of it", **options)
        act.access.rotate_key(made.id, "another digest", expires=10, now=2)
        act.access.set_disabled(made.id, True)
        act.access.set_disabled(made.id, True)
        act.access.set_disabled(made.id, False)
        act.access.revoke(made.id, now=3)
        act.access.create_token("t", "reader", "a token's digest", now=4)
        act.access.revoke_token("t", now=5)
        act.access.revoke_token("t", now=6)
        act.orders.create_owner("Books", now=7)
        act.orders.add_owner_key("Books", "a key's digest", expires=9, now=8)
        number = told.endpoint(act, "Books").id
        act.endpoints.change(number, newest_only=True)
        act.endpoints.change(number)
        act.endpoints.rotate(number, secret="new secret", apikey="new key", overlap_until=1)
        act.endpoints.set_state(number, "paused")
        act.endpoints.remove(number)

        found = [each for each in store.changes.changes(limit=99) if each.actor == "Ada"]

        assert [each.what for each in reversed(found)] == [
            "print partner created",
            "interface created",
            "key rotated",
            "interface disabled",
            "interface active",
            "interface revoked",
            "token created",
            "token revoked",
            "owner created",
            "owner's key added",
            "endpoint created",
            "endpoint changed",
            "secret rotated",
            "endpoint's key changed",
            "endpoint paused",
            "endpoint removed",
        ]
        secret = ("digest", "new secret", "new key", "url 1", "secret 1", "key 1")
        assert [each for each in secret if each in repr(found)] == []

    def test_changes_come_in_pages(self, store: Store) -> None:
        for name in ("Ada", "Grace", "Alan"):
            user(store, name)
        first, second = store.changes.changes(limit=2)
        assert [first.subject, second.subject] == ["Alan", "Grace"]
        last, _ = store.changes.changes(before=second.id, limit=2)
        assert last.subject == "Ada"

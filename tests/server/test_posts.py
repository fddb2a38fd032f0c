"""Posts are remembered: counted, a few of the refused ones kept, and all of it written beside their way."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.protocol import http, wire
from cloudsignal.protocol.refusals import Problem, Refusal, refuse
from cloudsignal.protocol.units import DAY_US, HOUR_US
from cloudsignal.protocol.wire import Receipt
from cloudsignal.server import posts
from cloudsignal.server.posts import FORGET_S, Posts
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.posts import Count, Gathered, Traffic
from cloudsignal.server.store.store import Store, open_store
from tests.acceptance.conftest import eventually
from tests.server.arrivals import NOON, SECOND, arrival, report
from tests.server.clock import Clock
from tests.server.store.contract import furnish
from tests.server.test_interfaces import caller
from tests.strategies import APIKEY, post_body

HERE = "192.0.2.7"
SENT = wire.decode(post_body(type="x", item=1)).members
DISABLED = refuse("key_disabled", "this key's interface is disabled")
UNKNOWN_TYPE = refuse("unknown_type", "there is no type", at="type")
RECEIPT = Receipt(1, 0, 1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/store.db")) as store:
        furnish(store)
        yield store


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.now = NOON
    return clock


class Told:
    """What people were warned of."""

    def __init__(self) -> None:
        self.warnings: list[dict[str, Any]] = []

    def __call__(self, event: str, **facts: Any) -> None:
        self.warnings.append(facts)


@pytest.fixture
def warned() -> Told:
    return Told()


@pytest.fixture
def remembered(store: Store, clock: Clock, warned: Told) -> Posts:
    return Posts(store, 30, clock, warned, timer=lambda: clock.now / SECOND)


class Away:
    """A store that cannot be written to, until it can."""

    def __init__(self, store: Store) -> None:
        self.posts = self
        self.store = store
        self.error: Exception | None = StoreUnavailable("it is away")

    def add(self, gathered: Gathered) -> None:
        if self.error:
            raise self.error
        self.store.posts.add(gathered)


# ---- counted ----


def test_posts_are_counted_by_interface_hour_and_outcome(
    remembered: Posts, store: Store, clock: Clock
) -> None:
    group = [arrival(), arrival(partner=2), arrival(), arrival()]
    remembered.note_group(group, [RECEIPT, RECEIPT, None, RECEIPT])
    clock.pass_s(3600)
    remembered.note_group(group[:2], [RECEIPT, None])
    remembered.note_refused(UNKNOWN_TYPE, HERE, caller(interface=2), None)

    remembered.write()

    later = NOON + HOUR_US
    assert store.posts.of_interfaces(0) == {
        1: Traffic({"accepted": Count(3, later)}, later),
        2: Traffic({"accepted": Count(1, NOON), "unknown_type": Count(1, later)}, later),
        3: Traffic(),
    }
    assert store.posts.of_interfaces(later)[1].accepted == 1


def test_posts_of_nobody_are_counted_by_where_they_came_from(
    remembered: Posts, store: Store
) -> None:
    for address in ("2001:db8::1", "2001:db8::2", HERE, "", "/a/socket", f"x {APIKEY} y"):
        remembered.note_refused(refuse("unknown_key", "…"), address, None, None)

    remembered.write()

    assert store.posts.of_strangers(0) == {"unknown_key": Count(6, NOON)}
    found = {each.address: each.posts for each in store.posts.strangers(0, limit=9)}
    assert found == {"2001:db8::/64": 2, HERE: 1, "": 1, "/a/socket": 1, "x … y": 1}
    assert store.posts.refused(limit=9) == []


def test_what_is_written_is_not_written_again(remembered: Posts, store: Store) -> None:
    remembered.note_group([arrival()], [RECEIPT])
    for _ in range(3):
        remembered.write()

    assert store.posts.of_interfaces(0)[1].posts == 1


# ---- refused ones ----


def test_a_refused_post_is_kept_with_all_that_was_answered(remembered: Posts, store: Store) -> None:
    problems = [
        Problem("type", "unknown_type", f"there is no type {APIKEY}"),
        Problem("item", "invalid_parameter", "item must be a string"),
    ]
    remembered.note_refused(Refusal(problems), HERE, caller(interface=3), SENT)

    remembered.write()

    [kept] = store.posts.refused(limit=9)
    assert (kept.at, kept.interface, kept.partner_name) == (NOON, 3, "Alpha")
    assert (kept.address, kept.status, kept.type) == (HERE, 400, "unknown_type")
    assert [each.info for each in kept.problems] == ["there is no type …", "item must be a string"]
    assert [each.at for each in kept.problems] == ["type", "item"]
    assert kept.body == '{"type":"x","item":1}'


@pytest.mark.parametrize(
    ("refusal", "sent"),
    [(DISABLED, None), (http.overloaded(), SENT), (http.defect(), SENT)],
    ids=lambda each: getattr(each, "type", ""),
)
def test_of_a_body_that_is_not_to_blame_nothing_is_kept(
    remembered: Posts, store: Store, refusal: Refusal, sent: Any
) -> None:
    remembered.note_refused(refusal, HERE, caller(), sent)

    remembered.write()

    [kept] = store.posts.refused(limit=9)
    assert (kept.type, kept.status, kept.body) == (refusal.type, refusal.status, "")


def test_a_flood_is_counted_and_a_few_of_each_kind_are_kept(
    remembered: Posts, store: Store
) -> None:
    for _ in range(50):
        remembered.note_refused(UNKNOWN_TYPE, HERE, caller(), SENT)
    remembered.note_refused(DISABLED, HERE, caller(), None)
    remembered.note_refused(UNKNOWN_TYPE, HERE, caller(interface=2), SENT)

    remembered.write()

    assert store.posts.of_interfaces(0)[1].posts == 51
    kept = [(each.interface, each.type) for each in store.posts.refused(limit=99)]
    assert kept == [(2, "unknown_type"), (1, "key_disabled"), *[(1, "unknown_type")] * 5]
    remembered.note_refused(UNKNOWN_TYPE, HERE, caller(), SENT)
    remembered.write()
    assert len(store.posts.refused(limit=99)) == 8


# ---- limits ----


def test_everything_that_is_gathered_has_a_limit(
    remembered: Posts, store: Store, warned: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COUNTS_MAX", "STRANGERS_MAX", "REFUSED_MAX"):
        monkeypatch.setattr(posts, name, 2)
    for number in (1, 2, 3, 3, 1):
        remembered.note_group([arrival(partner=number)] * 10, [RECEIPT] * 10)
        remembered.note_refused(DISABLED, HERE, caller(interface=number), None)
        remembered.note_refused(refuse("unknown_key", "…"), f"192.0.2.{number}", None, None)
    gathered = remembered._gathering.gathered
    assert [len(each) for each in (gathered.posts, gathered.refused)] == [2, 2]
    assert len(gathered.strangers) == 2

    remembered.write()

    assert warned.warnings == [{"posts": 5 * 12 - 22}]
    assert store.posts.of_interfaces(0)[1].posts == 22


# ---- when the store is away ----


def test_what_cannot_be_written_is_kept_and_tried_again(
    store: Store, clock: Clock, warned: Told
) -> None:
    away = Away(store)
    remembered = Posts(away, 30, clock, warned)  # type: ignore[arg-type]
    for _ in range(2):
        remembered.note_group([arrival()], [RECEIPT])
        remembered.note_refused(DISABLED, HERE, caller(), None)
        with pytest.raises(StoreUnavailable):
            remembered.write()
    assert store.posts.of_interfaces(0)[1].posts == 0

    away.error = None
    remembered.write()
    assert store.posts.of_interfaces(0)[1].posts == 2
    remembered.write()
    assert store.posts.of_interfaces(0)[1].posts == 4
    assert len(store.posts.refused(limit=9)) == 2


def test_what_no_store_takes_is_not_tried_for_ever(
    store: Store, clock: Clock, warned: Told
) -> None:
    away = Away(store)
    away.error = ValueError("what nobody thought of")
    remembered = Posts(away, 30, clock, warned)  # type: ignore[arg-type]
    remembered.note_group([arrival()], [RECEIPT])
    with pytest.raises(ValueError, match="nobody"):
        remembered.write()

    away.error = None
    remembered.note_group([arrival(report(item="2"))], [RECEIPT])
    remembered.write()

    assert store.posts.of_interfaces(0)[1].posts == 1


# ---- the thread ----


def test_it_writes_again_and_again_and_at_the_end(
    remembered: Posts, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posts, "EVERY_S", 0.001)
    remembered.start()
    for number in range(1, 4):
        remembered.note_group([arrival()], [RECEIPT])
        eventually(lambda number=number: store.posts.of_interfaces(0)[1].posts == number)
    monkeypatch.setattr(posts, "EVERY_S", 60)
    remembered.note_group([arrival()], [RECEIPT])

    remembered.stop()

    assert store.posts.of_interfaces(0)[1].posts == 4
    assert "posts" not in {each.name for each in threading.enumerate()}


def test_a_defect_does_not_end_it(
    store: Store,
    clock: Clock,
    warned: Told,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(posts, "EVERY_S", 0.001)
    away = Away(store)
    away.error = ValueError("what nobody thought of")
    remembered = Posts(away, 30, clock, warned)  # type: ignore[arg-type]
    remembered.note_group([arrival()], [RECEIPT])
    remembered.start()
    eventually(lambda: "what nobody thought of" in caplog.text)
    away.error = None

    remembered.note_group([arrival()], [RECEIPT])

    eventually(lambda: store.posts.of_interfaces(0)[1].posts)
    remembered.stop()


def test_it_keeps_no_server_from_ending(
    clock: Clock, warned: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posts, "END_S", 0.01)
    held = threading.Event()

    class Hung:
        posts = property(lambda self: self)

        def add(self, gathered: Gathered) -> None:
            held.wait(60)

    remembered = Posts(Hung(), 30, clock, warned)  # type: ignore[arg-type]
    remembered.note_group([arrival()], [RECEIPT])
    remembered.start()

    remembered.stop()

    assert remembered._thread.is_alive()
    assert remembered._thread.daemon
    held.set()
    remembered._thread.join(60)


def test_one_that_was_not_begun_ends_as_well(remembered: Posts) -> None:
    remembered.stop()


# ---- forgetting ----


def test_what_is_old_is_forgotten_now_and_then(
    remembered: Posts, store: Store, clock: Clock
) -> None:
    for _ in range(3):
        remembered.note_group([arrival()], [RECEIPT])
        remembered.note_refused(DISABLED, HERE, caller(), None)
        clock.pass_s(3600)
    remembered.write()

    def kept() -> tuple[int, int]:
        return store.posts.of_interfaces(0)[1].posts, len(store.posts.refused(limit=9))

    remembered.forget()
    assert kept() == (6, 3)
    clock.now = NOON + 30 * DAY_US + 2 * HOUR_US - 300 * SECOND
    # A few at a time: each time, as long as there are any.
    remembered.forget()
    assert kept() == (4, 1)
    remembered.forget()
    clock.pass_s(FORGET_S - 1)
    remembered.forget()
    assert kept() == (4, 1)
    clock.pass_s(1)
    remembered.forget()
    assert kept() == (2, 0)

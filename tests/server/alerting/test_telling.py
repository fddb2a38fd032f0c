"""The operator is told at least once, with the same id each time, and what cannot be told is given up where people see it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from cloudsignal.protocol import signatures
from cloudsignal.server.addresses import network
from cloudsignal.server.alerting import telling as its
from cloudsignal.server.alerting.desk import AlertDesk
from cloudsignal.server.alerting.mailing import MailServer
from cloudsignal.server.alerting.telling import (
    GIVE_UP_AFTER_US,
    TOO_OLD,
    Mailer,
    Outcome,
    Poster,
    Teller,
)
from cloudsignal.server.delivery import schedule
from cloudsignal.server.delivery.dialing import Dialer
from cloudsignal.server.delivery.sealing import Sealer
from cloudsignal.server.delivery.targets import Rules
from cloudsignal.server.store.alert_messages import Digest, Message, Way
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store
from cloudsignal.webhooks import OtherWebhook, verify
from tests.mailbox import Mailbox
from tests.server.arrivals import MINUTE, NOON
from tests.server.clock import Clock
from tests.server.delivery.receivers import Receiver, answers
from tests.server.store.alerts_contract import pack, raise_packed

pytestmark = pytest.mark.anyio

SEALER = Sealer("the server's")
LOCAL = Rules((network("127.0.0.0/8"),), http=True)
HOUR = 60 * MINUTE


@pytest.fixture
def desk(store: Store) -> AlertDesk:
    return AlertDesk(store, SEALER, LOCAL, mails=True)


@asynccontextmanager
async def telling(
    store: Store, clock: Clock, mail: MailServer | None = None, rules: Rules = LOCAL
) -> AsyncIterator[Teller]:
    """Tells with what really posts and mails."""
    async with Dialer(rules) as dialer:
        send: Any = {"webhook": Poster(dialer, SEALER, clock), "email": Mailer(mail)}
        yield Teller(store, send, clock=clock, chance=lambda: 0.0)


class Sent:
    """What was tried to be told, and what becomes of it."""

    def __init__(self) -> None:
        self.tried: list[Message] = []
        self.outcome = Outcome(True, "taken")

    async def __call__(self, way: Way, message: Message) -> Outcome:
        self.tried.append(message)
        return self.outcome

    @property
    def texts(self) -> list[list[str]]:
        """The items of each message that was tried."""
        return [items(each.content) for each in self.tried]


def items(content: str) -> list[str]:
    body = json.loads(content)
    each = body["data"].get("alerts", [body])
    return [f"{one['data']['item']} {one['type'].removeprefix('alert.')}" for one in each]


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def teller(store: Store, clock: Clock, sent: Sent) -> Teller:
    return Teller(store, {"webhook": sent, "email": sent}, clock=clock, chance=lambda: 0.0)


def hook(store: Store, digest: Digest | None = None) -> None:
    AlertDesk(store, SEALER, LOCAL, mails=True).set_webhook(
        url="http://127.0.0.1:9/", digest=digest
    )


def alert(store: Store, clock: Clock, *names: str) -> None:
    """Alerts are raised now for items of these names."""
    pack(store, *names)
    raise_packed(store, now=clock())


# ---- over the wire ----


async def test_a_webhook_is_signed_as_the_standard_has_it(
    store: Store, clock: Clock, desk: AlertDesk
) -> None:
    async with Receiver(answers(204)) as receiver, telling(store, clock) as teller:
        secret = desk.set_webhook(url=receiver.url(user="me:word@"))
        assert secret is not None
        alert(store, clock, "1")
        assert await teller.step("webhook")
        [request] = receiver.requests
    verified = verify(request.headers, request.body, secret=secret, now_s=NOON / 1e6)
    assert isinstance(verified.webhook, OtherWebhook)
    assert verified.webhook.type == "alert.raised"
    assert request.headers["authorization"].startswith("Basic ")
    assert request.headers["content-type"] == "application/json"
    [message] = store.alert_messages.messages(limit=9)
    assert verified.id == message.message
    assert (message.state, message.attempts) == ("told", 1)
    assert message.why.startswith("it answered 204 within ")
    way = store.alert_messages.way("webhook")
    assert way is not None
    assert secret not in str(way)
    assert "word" not in str(way)
    assert way.shown == receiver.url()


async def test_a_webhook_goes_where_webhooks_may_go_only(
    store: Store, clock: Clock, desk: AlertDesk
) -> None:
    async with Receiver(answers(204)) as receiver:
        desk.set_webhook(url=receiver.url())
        alert(store, clock, "1")
        async with telling(store, clock, rules=Rules(http=True)) as teller:
            assert not await teller.step("webhook")
        assert receiver.requests == []
    [message] = store.alert_messages.messages(limit=9)
    assert "the address of 127.0.0.1 is loopback" in message.why


async def test_it_is_the_same_at_each_attempt(store: Store, clock: Clock, desk: AlertDesk) -> None:
    async with Receiver(answers(503, "retry-after: 7200")) as receiver:
        async with telling(store, clock) as teller:
            secret = desk.set_webhook(url=receiver.url())
            alert(store, clock, "1")
            assert not await teller.step("webhook")
            way = store.alert_messages.way("webhook")
            assert way is not None
            assert (way.failures, way.failing_since, way.due) == (1, NOON, NOON + 2 * HOUR)
            clock.now = way.due - 1
            assert not await teller.step("webhook")
            clock.now = way.due
            assert not await teller.step("webhook")
        first, again = receiver.requests
    assert first.body == again.body
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.headers["webhook-timestamp"] != again.headers["webhook-timestamp"]
    for request, now in ((first, NOON), (again, clock())):
        verify(request.headers, request.body, secret=secret, now_s=now / 1e6)


async def test_a_mail_is_handed_in(store: Store, clock: Clock, desk: AlertDesk) -> None:
    with Mailbox() as box:
        mail = MailServer(host="localhost", port=box.port, tls="none", sender="cs@example.com")
        async with telling(store, clock, mail) as teller:
            desk.set_email(recipients=["ops@example.com"])
            alert(store, clock, "1", "2")
            assert await teller.step("email")
            assert not await teller.step("email")
            desk.test("email", now=clock())
            assert await teller.step("email")
    mail_of_alerts, test = box.received
    assert mail_of_alerts.mail["subject"] == "[cloudsignal] Items: 2 stalled"
    assert test.mail["subject"] == "[cloudsignal] Test of alerts"
    newest, *_ = store.alert_messages.messages(limit=9)
    assert (newest.state, newest.why) == ("told", "it was taken")


async def test_where_no_mail_server_is_set_that_is_said(
    store: Store, clock: Clock, desk: AlertDesk
) -> None:
    async with telling(store, clock) as teller:
        desk.set_email(recipients=["ops@example.com"])
        name = desk.test("email", now=clock())
        assert not await teller.step("email")
    tried = store.alert_messages.message(name)
    assert tried.state == "dead"
    assert tried.why == "there is no mail server: set smtp_host, and start the server again"


async def test_what_was_sealed_with_another_secret_is_said(
    store: Store, clock: Clock, sent: Sent
) -> None:
    other = AlertDesk(store, Sealer("another"), LOCAL, mails=True)
    other.set_webhook(url="http://127.0.0.1:9/")
    alert(store, clock, "1")
    async with telling(store, clock) as teller:
        assert not await teller.step("webhook")
    [message] = store.alert_messages.messages(limit=9)
    assert "sealed with another secret" in message.why


# ---- when, and how much ----


async def test_what_comes_while_it_fails_is_told_together(
    store: Store, clock: Clock, teller: Teller, sent: Sent
) -> None:
    hook(store)
    sent.outcome = Outcome(False, "it answered 500")
    alert(store, clock, "1")
    assert not await teller.step("webhook")
    alert(store, clock, "2", "3")
    for each in store.alerts.uncleared(after=0, limit=1):
        store.alerts.note(cleared=[(each.id, "shipped")], now=clock())
    sent.outcome = Outcome(True, "it answered 204")
    assert not await teller.step("webhook")
    clock.pass_s(schedule.FIRST_WAITS_S[0])
    assert await teller.step("webhook")
    assert await teller.step("webhook")
    assert not await teller.step("webhook")
    assert sent.texts == [["1 raised"], ["1 raised"], ["2 raised", "3 raised", "1 cleared"]]
    way = store.alert_messages.way("webhook")
    assert way is not None
    assert (way.failures, way.due) == (0, 0)


async def test_a_digest_waits_for_its_time(
    store: Store, clock: Clock, teller: Teller, sent: Sent
) -> None:
    hook(store, Digest("hourly"))
    clock.now = NOON + 10 * MINUTE
    alert(store, clock, "1")
    clock.now = NOON + 40 * MINUTE
    alert(store, clock, "2")
    clock.now = NOON + 60 * MINUTE - 1
    assert not await teller.step("webhook")
    clock.now = NOON + 60 * MINUTE
    assert await teller.step("webhook")
    assert sent.texts == [["1 raised", "2 raised"]]
    alert(store, clock, "3")
    assert not await teller.step("webhook")
    # Whoever wants to hear of it at once hears of it at once.
    hook(store, Digest("at once"))
    assert await teller.step("webhook")
    assert sent.texts[1:] == [["3 raised"]]


async def test_very_many_are_told_in_several_messages(
    store: Store, clock: Clock, teller: Teller, sent: Sent
) -> None:
    hook(store)
    pack(store, *map(str, range(250)))
    raise_packed(store, now=clock(), limit=999)
    while await teller.step("webhook"):
        pass
    assert [len(each) for each in sent.texts] == [100, 100, 50]
    assert len({each for text in sent.texts for each in text}) == 250


async def test_a_test_is_tried_once_even_while_all_else_fails(
    store: Store, clock: Clock, teller: Teller, sent: Sent, desk: AlertDesk
) -> None:
    hook(store)
    sent.outcome = Outcome(False, "it answered 500")
    alert(store, clock, "1")
    await teller.step("webhook")
    name = desk.test("webhook", now=clock())
    await teller.step("webhook")
    await teller.step("webhook")
    assert [each.is_test for each in sent.tried] == [False, True]
    tried = store.alert_messages.message(name)
    assert (tried.state, tried.why) == ("dead", "it answered 500")


async def test_a_test_that_arrives_ends_the_wait(
    store: Store, clock: Clock, teller: Teller, sent: Sent, desk: AlertDesk
) -> None:
    hook(store)
    sent.outcome = Outcome(False, "it answered 500")
    alert(store, clock, "1")
    await teller.step("webhook")
    sent.outcome = Outcome(True, "it answered 204")
    desk.test("webhook", now=clock())
    assert await teller.step("webhook")
    assert await teller.step("webhook")
    assert [each.is_test for each in sent.tried] == [False, True, False]


async def test_what_failed_by_a_way_that_was_changed_meanwhile_puts_nothing_off(
    store: Store, clock: Clock, desk: AlertDesk
) -> None:
    hook(store)
    alert(store, clock, "1")

    async def mend(way: Way, message: Message) -> Outcome:
        desk.set_webhook(url="http://127.0.0.1:99/")
        return Outcome(False, "it answered 500", retry_after_s=3600.0)

    teller = Teller(store, {"webhook": mend}, clock=clock, chance=lambda: 0.0)
    assert not await teller.step("webhook")
    way = store.alert_messages.way("webhook")
    assert way is not None
    assert (way.failures, way.due) == (0, 0)
    [message] = store.alert_messages.messages(limit=9)
    assert (message.state, message.attempts) == ("waiting", 1)


async def test_a_defect_is_told_of_its_message_and_ends_nothing(
    store: Store, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    hook(store)
    alert(store, clock, "1")

    async def fail(way: Way, message: Message) -> Outcome:
        raise AssertionError("this is wrong")

    teller = Teller(store, {"webhook": fail}, clock=clock, chance=lambda: 0.0)
    assert not await teller.step("webhook")
    [message] = store.alert_messages.messages(limit=9)
    assert (message.state, message.why) == (
        "waiting",
        "this is a defect of cloudsignal: its log says more",
    )
    assert "defect: an alert could not be told" in caplog.text


# ---- giving up ----


async def test_what_cannot_be_told_for_a_week_is_given_up_and_that_is_seen(
    store: Store, clock: Clock, teller: Teller, sent: Sent
) -> None:
    hook(store)
    sent.outcome = Outcome(False, "it answered 500")
    alert(store, clock, "1")
    await teller.step("webhook")
    alert(store, clock, "2")
    while (way := store.alert_messages.way("webhook")) and states(store)[-1] == "waiting":
        assert clock.now < way.due <= clock.now + int(schedule.STEADY_WAIT_S * 1e6)
        clock.now = way.due
        await teller.step("webhook")

    # As often as a delivery to an owner, and for as long; what was new at nearly the same time goes with it.
    assert 90 < len(sent.tried) < schedule.ATTEMPTS_MAX + 5
    assert clock.now - NOON > GIVE_UP_AFTER_US
    assert {each.message for each in sent.tried} == {sent.tried[0].message}
    newer, first = store.alert_messages.messages(limit=9)
    assert (first.attempts, first.why) == (len(sent.tried), "it answered 500")
    assert (newer.state, newer.count, newer.attempts, newer.why) == ("dead", 1, 0, TOO_OLD)

    # What is new now is tried when the way is due, and not before.
    alert(store, clock, "3")
    await teller.step("webhook")
    assert states(store) == ["dead", "dead"]
    way = store.alert_messages.way("webhook")
    assert way is not None
    clock.now = way.due
    await teller.step("webhook")
    assert states(store) == ["waiting", "dead", "dead"]
    assert sent.texts[-1] == ["3 raised"]


def states(store: Store) -> list[str]:
    """How the messages stand, the newest first."""
    return [each.state for each in store.alert_messages.messages(limit=9)]


async def test_what_waited_because_no_server_ran_is_told_however_old_it_is(
    store: Store, clock: Clock, teller: Teller, sent: Sent
) -> None:
    hook(store)
    alert(store, clock, "1")
    clock.now += 2 * GIVE_UP_AFTER_US
    assert await teller.step("webhook")
    assert sent.texts == [["1 raised"]]


# ---- running ----


async def test_it_tells_by_each_way_on_its_own_and_while_it_is_its_to_do(
    store: Store, clock: Clock, desk: AlertDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(its, "EVERY_S", 0.01)
    hook(store)
    desk.set_email(recipients=["ops@example.com"])
    told: list[str] = []
    is_mine = [False]

    async def hang(way: Way, message: Message) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    async def tell(way: Way, message: Message) -> Outcome:
        told.append(message.type)
        return Outcome(True, "")

    teller = Teller(store, {"webhook": hang, "email": tell}, clock=clock, chance=lambda: 0.0)
    looked: list[bool] = []

    def mine() -> bool:
        looked.append(is_mine[0])
        return is_mine[0]

    running = asyncio.create_task(teller.run(mine))
    away = store.alert_messages.way
    faults = [StoreUnavailable("away")] * 2

    def way(name: Any) -> Way | None:
        if faults:
            raise faults.pop()
        return away(name)

    alert(store, clock, "1")
    await until(lambda: len(looked) > 4)
    assert told == []
    monkeypatch.setattr(store.alert_messages, "way", way)
    is_mine[0] = True
    await until(lambda: told == ["alert.raised"])
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - threads do it
            await asyncio.sleep(0.005)


def test_a_secret_is_one_that_receivers_can_read(desk: AlertDesk) -> None:
    secret = desk.set_webhook(url="http://127.0.0.1:9/")
    assert secret is not None
    assert len(signatures.read(secret)) == 32

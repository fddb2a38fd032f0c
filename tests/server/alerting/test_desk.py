"""What people want of alerts is checked, and what is secret is sealed and shown once."""

from typing import Any

import pytest

from cloudsignal.server.alerting.desk import RECIPIENTS_MAX, AlertDesk, digest_of
from cloudsignal.server.alerting.telling import SECRET, URL, sealed_as
from cloudsignal.server.bodies import Unfit
from cloudsignal.server.delivery.sealing import Sealer
from cloudsignal.server.delivery.targets import Rules
from cloudsignal.server.insight.stalling import Rule
from cloudsignal.server.store.alert_messages import Digest
from cloudsignal.server.store.alerts import RuleAt
from cloudsignal.server.store.changes import Actor
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.store import Store

SEALER = Sealer("the server's")
HOOK = "https://zquser:zqword@ops.example/in?token=open-sesame"


@pytest.fixture
def desk(store: Store) -> AlertDesk:
    return AlertDesk(store, SEALER, Rules(), mails=True)


def wrong(unfit: pytest.ExceptionInfo[Unfit]) -> list[str]:
    return [str(each) for each in unfit.value.wrong]


@pytest.mark.parametrize(
    ("state", "hours", "said"),
    [
        (
            "shipped",
            {"period_h": 1},
            "state: must be one of registered, producing, produced, packed",
        ),
        ("packed", {"period_h": 0}, "period: must be a number of hours from more than 0 to 10000"),
        ("packed", {"period_h": 0.0001}, "period: must be a number of hours"),
        ("packed", {"period_h": -1}, "period: must be a number of hours"),
        ("packed", {"period_h": 10_001}, "period: must be a number of hours"),
        ("packed", {"period_h": float("nan")}, "period: must be a number of hours"),
        ("packed", {"period_h": float("inf")}, "period: must be a number of hours"),
        ("packed", {"period_h": 1, "grace_h": -0.1}, "grace: must be a number of hours from 0 to"),
    ],
)
def test_a_rule_is_a_number_of_hours_for_a_state(
    desk: AlertDesk, store: Store, state: str, hours: Any, said: str
) -> None:
    with pytest.raises(Unfit) as caught:
        desk.set_rule(None, state, **hours)
    assert wrong(caught)[0].startswith(said)
    assert store.alerts.rules() == []


def test_rules_are_set_and_dropped(desk: AlertDesk, store: Store) -> None:
    desk.set_rule(None, "packed", period_h=1.5, grace_h=0.25)
    desk.set_rule("Alpha", "packed", period_h=None)
    assert store.alerts.rules() == [
        RuleAt(None, "packed", Rule(5400, 900)),
        RuleAt("Alpha", "packed", Rule(None)),
    ]
    with pytest.raises(NotFound):
        desk.set_rule("Gamma", "packed", period_h=1)
    desk.drop_rule(None, "packed")
    assert [each.partner_name for each in store.alerts.rules()] == ["Alpha"]


def test_a_webhook_is_sealed_and_its_secret_is_new_once(desk: AlertDesk, store: Store) -> None:
    with pytest.raises(Unfit, match="url: is missing"):
        desk.set_webhook(digest=Digest("hourly"))
    secret = desk.set_webhook(url=HOOK)
    way = store.alert_messages.way("webhook")
    assert secret is not None
    assert way is not None
    assert way.shown == "https://ops.example/in?…"
    assert SEALER.open(way.url, of=sealed_as(URL)) == HOOK
    assert SEALER.open(way.secret, of=sealed_as(SECRET)) == secret
    assert desk.set_webhook(digest=Digest("hourly")) is None
    again = store.alert_messages.way("webhook")
    assert again is not None
    assert (again.url, again.secret, again.digest) == (way.url, way.secret, Digest("hourly"))
    other = desk.set_webhook(new_secret=True)
    assert other not in (None, secret)
    for each in ("zqword", "open-sesame", secret, other):
        assert str(each) not in str(store.changes.changes(limit=99))


@pytest.mark.parametrize("url", ["http://ops.example/", "https://127.0.0.1/", "ftp://x", "x", " "])
def test_a_webhook_goes_to_public_addresses_encrypted(desk: AlertDesk, url: str) -> None:
    with pytest.raises(Unfit) as caught:
        desk.set_webhook(url=url)
    assert wrong(caught)[0].startswith("url: ")


@pytest.mark.parametrize(
    "address",
    [
        "ops",
        "ops@",
        "@example.com",
        "a b@example.com",
        "ops@example.com\r\nBcc: eve@example.com",
        "Ops <ops@example.com>",
        "ops@example.com,eve@example.com",
        "öps@example.com",
        "ops@example.com>",
    ],
)
def test_recipients_are_addresses_of_mailboxes(desk: AlertDesk, address: str) -> None:
    with pytest.raises(Unfit, match="is no address of a mailbox"):
        desk.set_email(recipients=["ops@example.com", address])


def test_mails_go_to_everybody_once_and_to_somebody(desk: AlertDesk, store: Store) -> None:
    with pytest.raises(Unfit, match="to: is missing"):
        desk.set_email(recipients=[" ", ""])
    with pytest.raises(Unfit, match=f"at most {RECIPIENTS_MAX}"):
        desk.set_email(recipients=[f"a{n}@example.com" for n in range(RECIPIENTS_MAX + 1)])
    desk.set_email(recipients=[" a@example.com ", "b@example.com", "a@example.com"])
    desk.set_email(digest=Digest("daily", 450, "Europe/Berlin"))
    way = store.alert_messages.way("email")
    assert way is not None
    assert way.recipients == ("a@example.com", "b@example.com")
    assert way.digest == Digest("daily", 450, "Europe/Berlin")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("weekly",), "when: must be one of at once, hourly, daily"),
        (("daily",), "at: must be a time of the day such as 07:30"),
        (("daily", "24:00"), "at: must be a time of the day"),
        (("daily", "7:30"), "at: must be a time of the day"),
        (("daily", "07:30", "Berlin"), "timezone: must be a name of the IANA database"),
        (("daily", "07:30", "../etc/passwd"), "timezone: must be a name"),
    ],
)
def test_a_digest_has_a_time(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(Unfit) as caught:
        digest_of(*words)
    assert wrong(caught)[0].startswith(said)


def test_a_digest_is_written_as_people_do() -> None:
    assert digest_of("at once", "x", "y") == Digest("at once")
    assert digest_of("hourly") == Digest("hourly")
    assert digest_of("daily", " 07:30 ") == Digest("daily", 450, "UTC")


def test_it_is_noted_who_does_it(desk: AlertDesk, store: Store) -> None:
    by = desk.by(Actor("Ada", "192.0.2.7"))
    by.set_rule(None, "packed", period_h=1)
    by.set_email(recipients=["ops@example.com"])
    by.remove("email", now=9)
    changes = store.changes.changes(limit=3)
    assert {each.actor for each in changes} == {"Ada"}
    assert [each.what for each in changes] == [
        "alerts told no more",
        "alerts told otherwise",
        "alert rule changed",
    ]

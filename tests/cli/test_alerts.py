"""cloudsignal alert."""

import io
import re
from typing import Any

import pytest

from cloudsignal.protocol import signatures
from cloudsignal.server.store.store import Store
from tests.cli.conftest import Run
from tests.server.arrivals import NOON, arrival, report
from tests.server.store.alerts_contract import count, raise_packed

HOOK = "https://zquser:zqword@ops.example/in?token=open-sesame"


@pytest.fixture
def stalled(store: Store) -> Store:
    """A store with two items that are stalled, and one that was."""
    partner = store.access.create_partner("Press & Söhne", now=1)
    store.access.create_interface(partner, "digest", timezone="UTC", allow=(), test=False, now=2)
    store.append([arrival(*(report("ItemPacked", item=each) for each in ("a/b", "c[red]", "d")))])
    count(store)
    raise_packed(store)
    *_, last = store.alerts.uncleared(after=0, limit=9)
    store.alerts.note(cleared=[(last.id, "shipped")], now=NOON)
    return store


def test_stalled_items_are_listed(run: Run, stalled: Store) -> None:
    listed = run("alert", "list").out
    assert re.search(r"7 +a/b +Press & Söhne +packed +2016-01-20", listed)
    assert "\x1b" not in listed
    found = run("alert", "list", "--json").json
    assert [each["item"] for each in found] == ["a/b", "c[red]"]
    assert found[0] == {
        "alert": 1,
        "order": "7",
        "item": "a/b",
        "partner": "Press & Söhne",
        "state": "packed",
        "since": "2016-01-20T12:00:00+00:00",
        "limit_hours": 1.0,
        "raised": "2016-01-20T12:09:00+00:00",
        "cleared": None,
        "why": "",
    }
    [over] = run("alert", "list", "--cleared", "--json").json
    assert (over["item"], over["why"]) == ("d", "shipped")
    assert run("alert", "list", "--partner", "Nobody", "--json").json == []
    assert len(run("alert", "list", "--limit", "1", "--json").json) == 1


def test_rules_are_set_and_listed(run: Run, stalled: Store) -> None:
    assert run("alert", "rules").out == "Rules: none\n"
    run("alert", "set", "packed", "--period", "24", "--grace", "2.5")
    run("alert", "set", "produced", "--partner", "Press & Söhne", "--never")
    listed = run("alert", "set", "packed", "--partner", "Press & Söhne", "--period", "8").out
    assert re.search(r"every one +packed +24 h +2\.5 h", listed)
    assert re.search(r"Press & Söhne +produced +any time", listed)
    assert run("alert", "unset", "packed", "--json").json == [
        {
            "partner": "Press & Söhne",
            "state": "produced",
            "period_hours": None,
            "grace_hours": 0.0,
        },
        {
            "partner": "Press & Söhne",
            "state": "packed",
            "period_hours": 8.0,
            "grace_hours": 0.0,
        },
    ]
    newest = stalled.changes.changes(limit=1)[0]
    assert (newest.what, newest.subject) == ("alert rule changed", "every print partner")
    assert newest.actor.endswith(", by command")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("set", "packed"), "say either --period or --never"),
        (("set", "packed", "--period", "1", "--never"), "say either --period or --never"),
        (("set", "shipped", "--period", "1"), "state: must be one of registered, producing,"),
        (("set", "packed", "--period", "0"), "period: must be a number of hours from more than 0"),
        (("set", "packed", "--period", "1", "--partner", "X"), "no print partner called 'X'"),
        (("webhook",), "url: is missing"),
        (("webhook", "--url", "http://ops.example/"), "url: the URL of an endpoint begins with"),
        (("webhook", "--off"), "alerts are not told by webhook"),
        (("email", "--to", "ops"), "to: 'ops' is no address of a mailbox"),
        (("email", "--to", "a@b", "--when", "daily"), "at: must be a time of the day"),
        (("email", "--off"), "alerts are not told by email"),
        (("test", "email"), "alerts are not told by email"),
    ],
)
def test_what_cannot_be_is_said(run: Run, words: tuple[str, ...], why: str) -> None:
    assert why in run("alert", *words).sentence


def test_a_webhook_shows_its_secret_once(run: Run, store: Store) -> None:
    said = run("alert", "webhook", "--url", HOOK, "--when", "hourly").out
    [secret] = re.findall(r"  (whsec_\S+)\n", said)
    assert signatures.read(secret)
    assert said.endswith("cloudsignal alert test webhook\n")
    listed = run("alert", "webhook", "--when", "at-once", "--json")
    assert listed.json == [
        {
            "way": "webhook",
            "to": ["https://ops.example/in?…"],
            "when": "at once",
            "failures": 0,
            "failing_since": None,
            "due": None,
        }
    ]
    other = run("alert", "webhook", "--new-secret", "--json").json["secret"]
    assert other != secret
    everything = listed.out + run("alert", "ways").out + str(store.changes.changes(limit=99))
    for hidden in (secret, other, "zqword", "open-sesame"):
        assert hidden not in everything
    assert run("alert", "webhook", "--off", "--json").json == []


def test_a_url_can_be_read_from_the_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{HOOK}\n"))
    assert signatures.read(run("alert", "webhook", "--url", "-", "--json").json["secret"])


def test_mails_go_to_recipients_at_a_time(run: Run) -> None:
    words = ("--when", "daily", "--at", "07:30", "--timezone", "Europe/Berlin")
    listed = run("alert", "email", "--to", "a@example.com", "--to", "b@example.com", *words).out
    assert re.search(r"email +a@example\.com, b@example\.com +daily at 07:30 in Europe/Be", listed)
    [way] = run("alert", "email", "--to", "c@example.com", "--json").json
    assert (way["to"], way["when"]) == (["c@example.com"], "daily at 07:30 in Europe/Berlin")


def test_a_test_that_nobody_sends_is_said(run: Run) -> None:
    run("alert", "email", "--to", "a@example.com")
    said = run("alert", "test", "email", "--wait", "0").failed(4)
    assert said.startswith("the test was not sent within 0 s: is `cloudsignal serve` running?")
    [waiting] = run("alert", "messages", "--json").json
    assert (waiting["type"], waiting["state"], waiting["way"]) == ("alert.test", "waiting", "email")
    assert "alert.test" in run("alert", "messages").out


def test_what_became_of_a_test_is_said(
    run: Run, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("alert", "email", "--to", "a@example.com")
    asked = type(store.alert_messages).ask_for_test

    def told(said: str, is_taken: bool) -> Any:
        def ask(messages: Any, name: Any, written: Any, *, message: str, now: int) -> None:
            asked(messages, name, written, message=message, now=now)
            found, way = messages.message(message), messages.way(name)
            if is_taken:
                messages.told(found, said, now=now)
            else:
                messages.failed(found, way, said, is_over=True, due=0, now=now)

        return ask

    monkeypatch.setattr(type(store.alert_messages), "ask_for_test", told("it was taken", True))
    assert run("alert", "test", "email").out == "The test was delivered: it was taken.\n"
    assert run("alert", "test", "email", "--json").json["state"] == "told"
    monkeypatch.setattr(type(store.alert_messages), "ask_for_test", told("it said no", False))
    assert run("alert", "test", "email").sentence == "the test was not delivered: it said no"

"""Alerts by a real server: raised once, told at least once by real receivers, whatever is killed, and seen by whom they may."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloudsignal.webhooks import OtherWebhook, verify
from tests.acceptance.conftest import MakeServer, Server, eventually, make_server, signal
from tests.acceptance.test_panel import Visitor, invite, link_of
from tests.mailbox import Mailbox
from tests.owner import ALLOWED
from tests.receiving import Receiving
from tests.server.delivery.receivers import OK, Request

__all__ = ["make_server"]

MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"&"


@pytest.fixture
def receiving() -> Iterator[Receiving]:
    with Receiving() as receiving:
        yield receiving


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of a new store, empty for one in the server's folder."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


def pack(server: Server, key: str, *items: str, order: str = "7") -> None:
    """Items that are packed, and that was long ago."""
    reports = [signal("ItemPacked", order=order, item=each) for each in items]
    answer = server.post({"apikey": key, "items": reports})
    assert answer.status == 200, answer


def alerts(server: Server, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.cli_json("alert", "list", *words)
    return found


def look_until(server: Server, is_so: Callable[[], bool]) -> None:
    """Have a rule, and have the server look, until something is so: nobody has to wait for a minute."""

    def looked() -> bool:
        # A rule that is set is followed at once, also if it is the same as before.
        server.cli("alert", "set", "packed", "--period", "24", "--grace", "2")
        return is_so()

    eventually(looked, "alerts are not as they have to be")


def news(requests: list[Request]) -> list[tuple[str, str]]:
    """What webhooks tell, one after the other, without repeats of the same message."""
    first: dict[str, Any] = {}
    for each in requests:
        first.setdefault(each.headers["webhook-id"], json.loads(each.body))
    told = [one for body in first.values() for one in body["data"].get("alerts", [body])]
    return [(each["data"]["item"], each["type"]) for each in told]


def test_what_is_raised_is_told_though_everything_is_killed_in_between(
    make_server: MakeServer, receiving: Receiving, database: str
) -> None:
    answers_now = threading.Event()

    async def talk(request: Request, writer: asyncio.StreamWriter) -> None:
        """Says nothing for as long as it is not to answer."""
        while not answers_now.is_set():  # noqa: ASYNC110 - another thread decides
            await asyncio.sleep(0.02)
        writer.write(OK)
        await writer.drain()

    receiver = receiving.receiver(talk)
    server = make_server(
        "--webhook-http",
        "--webhook-networks",
        "127.0.0.0/8",
        *("--public-url", "https://signals.example.com"),
        environment=ALLOWED,
        database=database,
    ).start()
    key = server.interface()
    secret = server.cli_json("alert", "webhook", "--url", receiver.url())["secret"]
    pack(server, key, "1", "2", MARKUP)
    look_until(server, lambda: len(alerts(server)) == 3)

    # It is being told, and nobody knows what becomes of it.
    eventually(lambda: receiver.requests, "nothing is told")
    raised = alerts(server)
    assert [each["item"] for each in raised] == ["1", "2", MARKUP]
    server.kill()
    answers_now.set()
    server.start()

    first, again = eventually(lambda: len(receiver.requests) > 1 and receiver.requests[:2], "once")
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.body == again.body
    found = verify(again.headers, again.body, secret=secret)
    assert isinstance(found.webhook, OtherWebhook)
    assert found.webhook.type == "alert.digest"
    assert found.webhook.members["data"]["url"] == "https://signals.example.com/panel/alerts"
    assert alerts(server) == raised

    # One is shipped, another canceled: both are cleared by themselves, and that is told.
    over = [
        signal("ItemShipped", order="7", item="1"),
        signal("ItemCanceled", order="7", item="2"),
    ]
    assert server.post({"apikey": key, "items": over}).status == 200
    look_until(server, lambda: len(alerts(server, "--cleared")) == 2)
    eventually(lambda: len(news(receiver.requests)) == 5, "that they are cleared is not told")
    whys = {each["item"]: each["why"] for each in alerts(server, "--cleared")}
    assert whys == {"1": "shipped", "2": "canceled"}
    assert [each["item"] for each in alerts(server)] == [MARKUP]
    told = news(receiver.requests)
    assert told[:3] == [(each, "alert.raised") for each in ("1", "2", MARKUP)]
    assert sorted(told[3:]) == [("1", "alert.cleared"), ("2", "alert.cleared")]
    states = {each["state"] for each in server.cli_json("alert", "messages")}
    assert states == {"told"}


def test_news_that_wait_for_their_hour_outlive_a_kill_and_are_mailed(
    make_server: MakeServer, receiving: Receiving
) -> None:
    with Mailbox() as box:
        server = make_server(
            *("--smtp-host", "localhost", "--smtp-port", str(box.port), "--smtp-tls", "none"),
            *("--smtp-sender", "cloudsignal@example.com"),
        ).start()
        key = server.interface("Press & Söhne")
        later = "00:00" if server.lines("listening")[0]["timestamp"][11:] >= "12:" else "23:59"
        daily = ("--when", "daily", "--at", later)
        server.cli("alert", "email", "--to", "ops@example.com", *daily)
        pack(server, key, "1", MARKUP)
        look_until(server, lambda: len(alerts(server)) == 2)
        server.kill()
        server.start()
        assert box.received == []

        assert server.cli_json("alert", "test", "email")["state"] == "told"
        [test] = box.received
        assert test.mail["subject"] == "[cloudsignal] Test of alerts"

        server.cli("alert", "email", "--when", "at-once")
        eventually(lambda: len(box.received) == 2, "nothing is mailed")
        mail = box.received[1]
        assert mail.mail["subject"] == "[cloudsignal] Items: 2 stalled"
        assert f"- item {MARKUP} of order 7, Press & Söhne:" in mail.text
        assert mail.mail.get_content_type() == "text/plain"
        assert mail.recipients == ["ops@example.com"]


@pytest.fixture
def told(make_server: MakeServer) -> Server:
    """A server with stalled items at two print partners, a dead letter, and somebody who may do everything."""
    server = make_server().start()
    mine, theirs = server.interface("Mine"), server.interface("Theirs")
    server.cli("owner", "create", "Books", "--unregistered")
    pack(server, mine, *(f"mine {each}" for each in range(8)), order=f"mine {MARKUP}")
    pack(server, theirs, "theirs", order="theirs")
    both = [signal(each, order="odd", item="odd") for each in ("ItemShipped", "ItemCanceled")]
    assert server.post({"apikey": theirs, "items": both}).status == 200
    due = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d %H:%MZ}"
    (server.folder / "forgotten.csv").write_text(
        f"order;owner;item;partner;due\nforgotten;Books;nobody said;Mine;{due}\n"
    )
    server.cli("order", "register", "forgotten.csv")
    look_until(server, lambda: len(alerts(server)) == 9)
    return server


def page_of(visitor: Visitor, path: str) -> str:
    answer = visitor.get(f"/panel{path}")
    assert answer.status == 200, (path, answer.status)
    return answer.body.decode()


def test_each_role_sees_what_it_may(told: Server) -> None:
    people: dict[str, Visitor] = {}
    ada = people["admin"] = Visitor(told)
    assert ada.accept(link_of(told), "Ada").status == 303
    for role, *whose in (
        *(("reader",), ("operator",)),
        *(("partner", "--of", "Mine"), ("owner", "--of", "Books")),
    ):
        people[role] = Visitor(told)
        link = invite(told, f"the {role}", "--role", role, *whose)
        assert people[role].accept(link).status == 303

    lists = ("", "/stalled", "/delayed", "/odd", "/cleared")
    for role in ("admin", "operator", "reader"):
        pages = {path: page_of(people[role], f"/attention{path}") for path in lists}
        assert "Stalled: 9" in pages[""]
        assert "theirs" in pages["/stalled"]
        assert ">odd</a>" in pages["/odd"]
        assert "dead letters</li>" in pages[""]
        assert "&lt;script&gt;" in pages["/stalled"]
        assert "<script>alert" not in "".join(pages.values())
    # The link to an item keeps whatever its id is.
    assert "/panel/item?order=mine%20%3Cscript%3E" in page_of(
        people["reader"], "/attention/stalled"
    )

    csv = people["partner"].get("/panel/attention/stalled?as=csv").body.decode("utf-8-sig")
    assert csv.startswith('Item,Order,Print partner,State,"Last heard of, UTC"')
    assert len(csv.splitlines()) == 1 + 8
    assert "theirs" not in csv
    # Also what nobody reported is overdue.
    for role in ("reader", "partner"):
        page = page_of(people[role], "/attention")
        assert "Overdue: 1" in page
        assert ">nobody said</a>" in page
        assert "no signal yet" in page

    for path in lists:
        mine = page_of(people["partner"], f"/attention{path}")
        assert "theirs" not in mine.lower()
        assert ">odd</a>" not in mine
        assert "dead letters" not in mine
    assert "Stalled: 8" in page_of(people["partner"], "/attention")
    assert page_of(people["partner"], "/attention/stalled").count("/panel/item?") == 8

    for path in lists:
        assert people["owner"].get(f"/panel/attention{path}").status == 403
    assert "Attention" not in page_of(people["owner"], "/")
    for role in ("partner", "owner"):
        assert people[role].get("/panel/alerts").status == 403
        assert people[role].get("/panel/alerts/messages").status == 403

    before = told.cli_json("alert", "rules")
    for role in ("reader", "partner", "owner"):
        for path in (
            *("rules", "rules/remove", "webhook", "webhook/secret", "email"),
            *("ways/webhook/remove", "ways/email/test"),
        ):
            fields = {"state": "packed", "period": "1", "to": "eve@example.com"}
            assert people[role].post(f"/panel/alerts/{path}", fields).status == 403, (role, path)
    assert told.cli_json("alert", "rules") == before
    assert told.cli_json("alert", "ways") == []
    shown = page_of(people["reader"], "/alerts")
    assert "<form" not in shown.partition("<main")[2]
    assert "26\xa0h" not in shown
    assert "24\xa0h" in shown

    # ---- what is asked for wrongly ----
    for path in (
        *("/attention/nothing", "/attention/stalled?after=x", "/attention/stalled?after=1.2.3"),
        *("/attention/cleared?before=x", "/alerts/messages/alert_0"),
        f"/attention/stalled?after={'9' * 19}.1",
    ):
        assert ada.get(f"/panel{path}").status == 404, path
    for before in (0, 1 << 63):
        assert ada.get(f"/panel/alerts/messages?before={before}").status == 400
    csv = ada.get("/panel/alerts/messages?as=csv").body.decode("utf-8-sig")
    assert csv.splitlines()[0].startswith('"Made, UTC",By,What')
    assert "There is nothing here." in page_of(ada, f"/attention/stalled?after={'9' * 18}.1")
    for path, fields, said in (
        ("rules", {"state": "packed", "period": "x"}, "Must be a number of hours."),
        ("rules", {"state": "packed", "period": "-1"}, "Must be a number of hours from"),
        ("rules", {"state": "gone", "period": "1"}, "Must be one of registered,"),
        ("rules", {"state": "packed", "period": "1", "partner": "X"}, "There is no print partner"),
        ("webhook", {"url": "http://x/", "when": "at once"}, "The URL of an endpoint begins"),
        ("webhook", {"when": "at once"}, "Is missing"),
        ("email", {"to": MARKUP, "when": "hourly"}, "is no address of a mailbox"),
        ("email", {"to": "a@b", "when": "daily", "at": "25:00"}, "Must be a time"),
        ("email", {"to": "a@b", "when": "never"}, "Must be one of at once, hourly, daily."),
    ):
        answer = ada.post(f"/panel/alerts/{path}", fields)
        assert answer.status == 400, path
        assert said in answer.body.decode(), said
        assert b"<script>alert" not in answer.body
    for path in ("ways/pigeon/test", "ways/pigeon/remove", "ways/email/test"):
        assert ada.post(f"/panel/alerts/{path}").status == 404, path
    assert "alert rule changed" in page_of(ada, "/changes")

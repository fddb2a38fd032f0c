"""What is told of alerts: for programs, and for people; whatever order ids hold."""

import json
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.server.alerting import composing
from cloudsignal.server.alerting.composing import (
    LISTED_MAX,
    NO_LINKS,
    Links,
    mail,
    read_mail,
    webhook,
)
from cloudsignal.server.alerting.mailing import mail_of
from cloudsignal.server.bookkeeper import links_of
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.alert_messages import News
from cloudsignal.server.store.alerts import Alert
from tests.mailbox import text_of
from tests.server.arrivals import MINUTE, NOON

NASTY = "7\r\nBcc: eve@example.com\r\n\r\n<script>alert(1)</script>\u202e"
HEADERS = {
    *("auto-submitted", "content-transfer-encoding", "content-type", "date", "from"),
    *("message-id", "mime-version", "subject", "to"),
}
LINKS = links_of(Settings(public_url="https://signals.example.com"))
RECIPIENTS = ["ops@example.com", "night@example.com"]


def alert(id: int = 17, order: str = "7", *, cleared: bool = False, **values: Any) -> Alert:
    given: dict[str, Any] = {
        "partner_name": "Press & Söhne",
        "state": "packed",
        "since": NOON,
        "limit_s": 26 * 3600,
        "raised": NOON + MINUTE,
        "cleared": NOON + 5 * MINUTE if cleared else None,
        "why": "shipped" if cleared else "",
    }
    return Alert(id=id, order=order, item="1", **given | values)


def raised(*alerts: Alert) -> list[News]:
    return [News(each, "raised", NOON + MINUTE) for each in alerts]


def sent(news: list[News], links: Links = NO_LINKS) -> EmailMessage:
    """A mail as whoever gets it reads it."""
    written = mail_of(
        read_mail(mail(news, NOON, links).content),
        "cloudsignal@example.com",
        RECIPIENTS,
        message="alert_1",
        made=NOON,
    )
    found = message_from_bytes(written.as_bytes(), policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


# ---- webhooks ----


def test_a_webhook_tells_of_one_alert() -> None:
    written = webhook(raised(alert()), NOON)
    assert written.type == "alert.raised"
    assert json.loads(written.content) == {
        "type": "alert.raised",
        "timestamp": "2016-01-20T12:01:00+00:00",
        "data": {
            "alert": 17,
            "order": "7",
            "item": "1",
            "partner": "Press & Söhne",
            "state": "packed",
            "since": "2016-01-20T12:00:00+00:00",
            "limit_hours": 26.0,
            "raised": "2016-01-20T12:01:00+00:00",
            "cleared": None,
            "why": "",
        },
    }


def test_that_it_is_over_says_why() -> None:
    over = alert(cleared=True)
    written = webhook([News(over, "cleared", NOON + 5 * MINUTE)], NOON)
    body = json.loads(written.content)
    assert (written.type, body["type"]) == ("alert.cleared", "alert.cleared")
    assert body["timestamp"] == body["data"]["cleared"] == "2016-01-20T12:05:00+00:00"
    assert body["data"]["why"] == "shipped"


def test_several_are_told_in_one_digest_each_as_it_is_told_alone() -> None:
    over = alert(18, cleared=True)
    news = [*raised(alert(), over), News(over, "cleared", NOON + 5 * MINUTE)]
    written = webhook(news, NOON + 6 * MINUTE)
    body = json.loads(written.content)
    assert (written.type, body["type"]) == ("alert.digest", "alert.digest")
    assert body["timestamp"] == "2016-01-20T12:06:00+00:00"
    alone = [json.loads(webhook([each], NOON).content) for each in news]
    assert body["data"] == {"alerts": alone}
    # What was raised is told as it was then, even if it is over meanwhile.
    assert [each["data"]["cleared"] for each in alone] == [None, None, "2016-01-20T12:05:00+00:00"]


def test_a_webhook_leads_to_the_page_of_the_item_and_a_digest_to_that_of_alerts_too() -> None:
    nasty = alert(order=NASTY)
    data = json.loads(webhook(raised(nasty), NOON, LINKS).content)["data"]
    assert data["url"].startswith(
        "https://signals.example.com/panel/item?order=7%0D%0ABcc%3A%20eve%40example.com"
    )
    assert data["url"].endswith("%E2%80%AE&item=1")
    digest = json.loads(webhook(raised(nasty, alert(18)), NOON, LINKS).content)["data"]
    assert digest["url"] == "https://signals.example.com/panel/alerts"
    assert [each["data"]["url"] for each in digest["alerts"]] == [
        data["url"],
        "https://signals.example.com/panel/item?order=7&item=1",
    ]


@pytest.mark.parametrize(
    "settings", [Settings(), Settings(public_url="https://signals.example.com", panel=False)]
)
def test_where_no_page_is_known_nothing_leads_there(settings: Settings) -> None:
    assert links_of(settings) == NO_LINKS
    assert "url" not in webhook(raised(alert(), alert(18)), NOON, links_of(settings)).content


# ---- mails ----


def test_a_mail_says_what_is_stalled_and_what_is_not_any_more() -> None:
    over = alert(18, order="8", cleared=True)
    found = sent([*raised(alert()), News(over, "cleared", NOON + 5 * MINUTE)])
    assert found["subject"] == "[cloudsignal] Items: 1 stalled, 1 no longer stalled"
    assert found["from"] == "cloudsignal@example.com"
    assert found["to"] == "ops@example.com, night@example.com"
    assert found["message-id"] == "<alert_1@example.com>"
    assert found["date"] == "Wed, 20 Jan 2016 12:00:00 +0000"
    assert found["auto-submitted"] == "auto-generated"
    assert found.get_content_type() == "text/plain"
    assert text_of(found) == (
        "Stalled: 1\n\n"
        "- item 1 of order 7, Press & Söhne:\n"
        "  packed since 2016-01-20 12:00, longer than 26 h of working time\n\n"
        "No longer stalled: 1\n\n"
        "- item 1 of order 8, Press & Söhne:\n"
        "  shipped (it was packed since 2016-01-20 12:00)\n\n"
        "Times are in UTC. The rules, and who is told, are on the page Alerts of the panel.\n"
    )


def test_a_mail_leads_to_the_pages_of_its_items_and_of_alerts() -> None:
    over = News(alert(18, order="a/b", cleared=True), "cleared", NOON)
    lines = text_of(sent([*raised(alert()), over], LINKS)).splitlines()
    assert [each.strip() for each in lines if "http" in each] == [
        "https://signals.example.com/panel/item?order=7&item=1",
        "https://signals.example.com/panel/item?order=a%2Fb&item=1",
        "https://signals.example.com/panel/alerts",
    ]
    assert lines[-1] == "https://signals.example.com/panel/alerts"
    assert len(text_of(sent(raised(alert(order=NASTY)), LINKS)).splitlines()) == 6 + 2


def test_a_mail_about_one_item_names_it_in_its_subject() -> None:
    assert sent(raised(alert()))["subject"] == "[cloudsignal] Stalled: item 1 of order 7"
    over = News(alert(cleared=True), "cleared", NOON)
    assert sent([over])["subject"] == "[cloudsignal] No longer stalled: item 1 of order 7"


def test_a_mail_lists_some_and_counts_all() -> None:
    text = text_of(sent(raised(*[alert(n, order=f"o{n}") for n in range(LISTED_MAX + 7)])))
    assert text.count("- item 1 of order") == LISTED_MAX
    assert f"Stalled: {LISTED_MAX + 7}\n" in text
    assert "- and 7 more: the panel lists all.\n" in text


def test_what_others_wrote_adds_no_header_and_no_line() -> None:
    found = sent(raised(alert(order=NASTY)))
    assert {each.lower() for each in found} == HEADERS
    text = text_of(found)
    assert "order 7??Bcc: eve@example.com????<script>alert(1)</script>?, Press" in text
    assert len(text.splitlines()) == 6


@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_is_mailed_and_read_again(order: str, partner: str) -> None:
    order, partner = (each.encode(errors="replace").decode() for each in (order, partner))
    news = raised(alert(order=order, partner_name=partner))
    found = sent(news)
    assert composing.plain(order) in text_of(found)
    assert found["to"] == "ops@example.com, night@example.com"
    assert set(found.keys()) & {"Bcc", "Cc"} == set()
    assert json.loads(webhook(news, NOON).content)["data"]["order"] == order


@pytest.mark.parametrize(
    "item",
    [
        "=?utf-8?q?a=0d=0aReply-To:_eve@example.com=0d=0a=0d=0aClick?=",
        "=?utf-8?b?DQpCY2M6IGV2ZUBleGFtcGxlLmNvbQ==?=",
        "=?unicode_escape?q?=5cud800?=",
    ],
)
def test_what_looks_like_an_encoded_word_stays_words(item: str) -> None:
    found = sent(raised(alert(order=item)))
    assert {each.lower() for each in found} == HEADERS
    assert item.replace("=?", "= ?") in found["subject"]
    assert f"order {item}, Press" in text_of(found)


def test_a_test_says_that_it_is_one() -> None:
    posted = json.loads(composing.test_of("webhook", NOON).content)
    assert posted["type"] == "alert.test"
    assert "This is a test." in posted["data"]["message"]
    mailed = read_mail(composing.test_of("email", NOON).content)
    assert mailed.subject == "[cloudsignal] Test of alerts"
    assert "This is a test." in mailed.text

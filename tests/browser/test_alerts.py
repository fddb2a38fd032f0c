"""Alerts and what needs a hand, in a browser: rules, tests by each way, what others wrote, phones, and help for reading."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from cloudsignal import webhooks
from tests.acceptance.conftest import MakeServer, Server, eventually
from tests.acceptance.test_alerts import alerts, look_until, pack
from tests.browser.conftest import MARKUP, PHONE, Person, serious, sign_in
from tests.mailbox import Mailbox
from tests.owner import FLAGS, Owner, receiving

PAGES = (
    *("/panel/attention", "/panel/attention/stalled", "/panel/attention/odd"),
    *("/panel/attention/cleared", "/panel/alerts", "/panel/alerts/messages"),
)


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with Mailbox() as box:
        yield box


@pytest.fixture
def receiver() -> Iterator[Owner]:
    with receiving() as owner:
        yield owner


@pytest.fixture
def server(make_server: MakeServer, box: Mailbox) -> Server:
    mail = ("--smtp-host", "localhost", "--smtp-port", str(box.port), "--smtp-tls", "none")
    return make_server(*FLAGS, *mail, "--smtp-sender", "cloudsignal@example.com").start()


def stall(server: Server, *more: str) -> None:
    """Items that are stalled, with markup in their ids."""
    pack(server, server.interface(f"Press {MARKUP}"), MARKUP, *more, order=MARKUP)


def test_a_rule_is_set_and_both_ways_are_tried(ada: Person, receiver: Owner, box: Mailbox) -> None:
    page = ada.page
    stall(ada.server)
    page.goto("/panel/")
    page.get_by_role("link", name="Alerts").first.click()
    assert "There are no rules yet" in page.inner_text("main")
    ada.fill(partner="", period="24", grace="2.5")
    page.locator("#rule [name=state]").select_option("packed")
    ada.press("Set the rule")
    assert re.search(r"every one\s+packed\s+24\sh\s+2\.5\sh", page.inner_text("#rule table"))

    page.locator("#webhook summary").click()
    page.locator("#webhook [name=url]").fill(receiver.url)
    ada.press("Send webhooks, and show the secret")
    secret = page.get_by_label("The secret").input_value()
    page.get_by_role("link", name="Back to the alerts").click()
    assert secret not in page.content()
    ada.press("Send a test by webhook")
    assert "It was delivered: it answered 200 within" in page.inner_text("main")
    page.get_by_role("link", name="Back to the alerts").click()
    page.locator("#email summary").click()
    page.locator("#email [name=to]").fill("ops@example.com, night@example.com")
    ada.press("Send mails")
    ada.press("Send a test by e-mail")
    assert "It was delivered: it was taken" in page.inner_text("main")
    assert ada.title == "Test by email"

    tests = [each for each in receiver.received if each.json["type"] == "alert.test"]
    verified = webhooks.verify(tests[0].headers, tests[0].body, secret=secret)
    assert isinstance(verified.webhook, webhooks.OtherWebhook)
    assert box.received[-1].recipients == ["ops@example.com", "night@example.com"]

    # What fails says why, and the page is whole.
    receiver.status = 500
    page.get_by_role("link", name="Back to the alerts").click()
    ada.press("Send a test by webhook")
    assert "It was not delivered: it answered 500." in page.inner_text("main")
    page.goto("/panel/alerts")
    assert "it answered 500" in page.inner_text("#messages table")
    page.locator("#rule summary").click()
    ada.fill(partner="Nobody", period="1")
    ada.press("Set the rule")
    assert "There is no print partner called 'Nobody'." in page.inner_text("#rule .problem")
    assert page.locator("#rule [name=partner]").last.input_value() == "Nobody"

    # Whoever looks sees the item, and no more than its name.
    eventually(lambda: alerts(ada.server), "nothing is raised")
    page.goto("/panel/attention")
    assert "Stalled: 1" in page.inner_text("#stalled h2")
    link = page.locator("#stalled tbody a").first
    assert link.inner_text() == MARKUP
    asked: Any = link.evaluate("link => Object.fromEntries(new URL(link.href).searchParams)")
    assert asked == {"order": MARKUP, "item": MARKUP}
    assert page.locator("main script, main img").count() == 0

    page.goto("/panel/alerts")
    page.once("dialog", lambda dialog: dialog.accept())
    ada.press("Send no more mails")
    assert "No mails are sent about alerts." in page.inner_text("#email")
    page.get_by_role("button", name="Remove the rule for packed at every one").click()
    page.wait_for_load_state()
    assert "There are no rules yet" in page.inner_text("main")
    eventually(lambda: not alerts(ada.server), "it is not cleared")
    page.goto("/panel/attention/cleared")
    assert "rule changed" in page.inner_text("tbody")
    page.goto("/panel/changes")
    assert "alerts told no more" in page.inner_text("tbody")


def busy(ada: Person, box: Mailbox) -> str:
    """Something is on every page: the path of a message."""
    server = ada.server
    stall(server, *(f"{n} with a name that is so long that it has to be broken" for n in range(9)))
    server.cli("alert", "email", "--to", "ops@example.com")
    server.cli("alert", "set", "produced", "--partner", f"Press {MARKUP}", "--never")
    look_until(server, lambda: len(alerts(server)) == 10)
    eventually(lambda: box.received, "nothing is mailed")
    assert MARKUP in box.received[0].text
    [message, *_] = server.cli_json("alert", "messages")
    return f"/panel/alerts/messages/{message['message']}"


def test_every_page_is_readable_by_everybody_and_fits_a_phone(
    ada: Person, browser: Browser, box: Mailbox
) -> None:
    pages = (*PAGES, busy(ada, box))
    for theme in ("light", "dark"):
        ada.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        for path in pages:
            ada.page.goto(path)
            assert serious(ada) == [], (theme, path)
            assert ada.page.locator("main script, main img").count() == 0, path
    phone = Person(browser, ada.server, PHONE)
    sign_in(phone, "Ada")
    for path in pages:
        phone.page.goto(path)
        wide = phone.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, path
    phone.context.close()
    assert phone.wrong == []

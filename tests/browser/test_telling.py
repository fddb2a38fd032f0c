"""What tells order owners, looked after on the panel's pages: with a receiver that fails, and is mended."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from cloudsignal.server import clock
from cloudsignal.webhooks import Forged, verify
from tests.acceptance.conftest import MakeServer, Server, eventually, signal
from tests.browser.conftest import (
    MARKUP,
    OTHER,
    PHONE,
    Person,
    invite,
    serious,
)
from tests.owner import FLAGS, Owner, Received, receiving
from tests.server.store import told

WEBHOOK = '{"type":"ItemProduce","apikey":"","order":"7","datetime":"2016-01-20T13:00:00+00:00"}'


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    """One that may post to receivers on this machine, with an owner of everything."""
    server = make_server(*FLAGS).start()
    with server.store() as store:
        store.orders.create_owner("Books & Co", unregistered=True, now=clock.now())
    return server


@pytest.fixture
def receiver() -> Iterator[Owner]:
    with receiving() as owner:
        yield owner


def add_endpoint(person: Person, url: str, owner: str = "Books & Co") -> tuple[str, str]:
    """Add an endpoint on its page: its key and its secret."""
    person.page.goto("/panel/endpoints")
    person.page.get_by_role("link", name="Add an endpoint").click()
    person.fill(owner=owner, url=url)
    person.press("Add it, and show its key and its secret")
    made = person.page.get_by_label
    return made("Key", exact=True).input_value(), made("Secret", exact=True).input_value()


def give_up(server: Server, *orders: str) -> None:
    """Have deliveries to endpoint 1 given up."""
    with server.store() as store:
        for position, order in enumerate(orders, 1):
            noted = told.noted(
                1,
                f"msg_dead_{position}",
                state="dead",
                order=order,
                position=position,
                why="it answered 500",
                webhook=WEBHOOK,
            )
            store.delivery_log.tell(noted, now=clock.now())


def post(person: Person, name: str) -> None:
    """Press a button that has something posted, and wait until the page says what became of it."""
    with person.page.expect_navigation():
        person.page.get_by_role("button", name=name, exact=True).click()
    again = person.page.get_by_role("link", name="Look again")
    while again.count():
        with person.page.expect_navigation():
            again.click()


def sent_test(person: Person, receiver: Owner) -> Received:
    """What is posted to endpoint 1 as a test."""
    person.page.goto("/panel/endpoints/1")
    post(person, "Send a test")
    return receiver.received[-1]


def is_signed(received: Received, secret: str, key: str) -> bool:
    try:
        return bool(verify(received.headers, received.body, secret=secret, apikey=key).webhook)
    except Forged:
        return False


def main(person: Person) -> str:
    return person.page.inner_text("main")


def fail(receiver: Owner, answer: bytes = b"the disk is full") -> None:
    """Have a receiver fail, and what it does not take tried again in an hour only."""
    receiver.status, receiver.answer, receiver.headers = 500, answer, {"Retry-After": "3600"}


def report(server: Server, order: str) -> None:
    """Report something about an order, and wait until its owner was told, or was to be."""
    body = {"apikey": server.interface()} | signal("ItemPacked", order=order, item="1")
    assert server.post(body).status == 200
    with server.store() as store:
        eventually(lambda: store.delivery_log.attempts(order=order, limit=1))


def test_what_failed_is_seen_and_arrives_once_it_is_mended(ada: Person, receiver: Owner) -> None:
    key, secret = add_endpoint(ada, receiver.url)
    fail(receiver)
    report(ada.server, "an order")
    ada.page.get_by_role("link", name="Deliveries", exact=True).click()
    ada.fill(order="an order")
    ada.page.get_by_label("Failed only").check()
    ada.press("Show")
    assert "it answered 500" in ada.page.inner_text("tbody")
    ada.page.locator("tbody a").first.click()
    said = main(ada)
    for words in ('"order": "an order"', '"apikey": "…"', "the disk is full", "retry-after: 3600"):
        assert words in said
    assert key not in said

    receiver.status, receiver.answer = 200, b"thank you"
    post(ada, "Redeliver")

    assert ada.title.startswith("Attempt ")
    assert "thank you" in main(ada)
    assert ada.page.locator(".facts .good").inner_text() == "delivered"
    first, last = receiver.receives(2)
    assert first.body == last.body
    found = verify(last.headers, last.body, secret=secret, apikey=key)
    assert found.id == first.headers["webhook-id"]
    assert found.webhook.order == "an order"


def test_an_endpoint_is_tested_paused_changed_and_ended(ada: Person, receiver: Owner) -> None:
    ada.context.grant_permissions(["clipboard-read", "clipboard-write"])
    key, secret = add_endpoint(ada, receiver.url)
    ada.press("Copy the secret")
    assert ada.page.evaluate("navigator.clipboard.readText()") == secret
    ada.page.get_by_role("link", name="To the endpoint").click()
    post(ada, "Send a test")
    assert ada.title.startswith("Attempt ")
    assert "thank you" in main(ada)

    ada.page.goto("/panel/endpoints/1")
    ada.press("Pause")
    assert "paused" in ada.page.inner_text(".facts")
    assert ada.page.get_by_role("button", name="Send a test").count() == 0
    ada.press("Resume")
    assert "active" in ada.page.inner_text(".facts")

    ada.page.get_by_role("link", name="Change", exact=True).click()
    ada.page.get_by_label("ItemShipped").check()
    ada.press("Change it")
    assert "ItemShipped" in ada.page.inner_text(".facts")
    ada.page.get_by_role("link", name="Change", exact=True).click()
    ada.fill(overlap_hours="48")
    ada.press("Replace the secret, and show the new one")
    new = ada.page.get_by_label("Secret", exact=True).input_value()
    assert new != secret
    # What is posted just now may be signed with the old one only, which is good still.
    eventually(lambda: is_signed(sent_test(ada, receiver), new, key))
    assert is_signed(receiver.received[-1], secret, key)

    ada.page.goto("/panel/endpoints/1/change")
    ada.page.once("dialog", lambda dialog: dialog.dismiss())
    ada.press("Remove for good")
    assert ada.title.startswith("Change endpoint 1")
    ada.page.once("dialog", lambda dialog: dialog.accept())
    ada.press("Remove for good")
    assert "There is none." in main(ada)


def test_what_is_wrong_is_said_where_it_is(ada: Person) -> None:
    ada.page.goto("/panel/endpoints/new")
    ada.fill(owner="Books & Co", url="ftp://owner.example/")
    ada.press("Add it, and show its key and its secret")

    field = ada.page.get_by_label("URL", exact=True)
    assert field.evaluate("field => field === document.activeElement")
    described = field.get_attribute("aria-describedby")
    sentence = ada.page.locator(f"#{described}").inner_text()
    assert sentence == "The URL of an endpoint begins with https://."
    assert ada.page.get_by_label("Owner", exact=True).input_value() == "Books & Co"


def test_dead_letters_are_redelivered_or_forgotten_after_a_question(
    ada: Person, receiver: Owner
) -> None:
    add_endpoint(ada, receiver.url)
    give_up(ada.server, "a", "b", "c", "d")
    ada.page.goto("/panel/dead-letters")
    ada.press("Redeliver what is ticked")
    assert "Tick what is meant, or take all." in main(ada)
    ada.page.get_by_label("ItemProduce of order b").check()
    ada.press("Redeliver what is ticked")
    assert "1 delivery is told once more." in main(ada)
    assert receiver.receives(1)[0].headers["webhook-id"] == "msg_dead_2"

    ada.page.get_by_label("ItemProduce of order c").check()
    ada.page.once("dialog", lambda dialog: dialog.dismiss())
    ada.press("Discard what is ticked")
    assert ada.page.locator("tbody tr").count() == 3
    ada.page.once("dialog", lambda dialog: dialog.accept())
    ada.press("Discard what is ticked")
    assert "1 delivery is forgotten." in main(ada)
    assert ada.page.locator("tbody tr").count() == 2

    ada.page.goto("/panel/endpoints/1")
    ada.page.get_by_label("Given up since, UTC").fill("2016-01-20T13:00")
    ada.press("Recover: redeliver it all")
    assert "2 deliveries are told once more." in main(ada)
    receiver.receives(3)


def test_an_owner_mends_their_receiver_at_night_without_a_script(
    ada: Person, browser: Browser, receiver: Owner
) -> None:
    add_endpoint(ada, receiver.url)
    fail(receiver)
    report(ada.server, "an order")
    other = Person(browser, ada.server, PHONE, java_script_enabled=False)
    other.page.goto(invite(ada, "Grace", "owner", "Books & Co"))
    other.fill(password=OTHER, again=OTHER)
    other.press("Choose it")
    other.page.get_by_role("link", name="Endpoints").first.click()
    other.page.locator("tbody a").first.click()
    assert other.page.get_by_role("link", name="Change", exact=True).count() == 0
    receiver.status = 204
    other.page.locator("section tbody a").first.click()
    post(other, "Redeliver")
    assert other.page.locator(".facts .good").inner_text() == "delivered"

    for path in ("/panel/endpoints/new", "/panel/endpoints/1/change"):
        answer = other.page.goto(path)
        assert answer is not None
        assert answer.status == 403
    other.context.close()
    assert other.wrong == []
    ada.page.goto("/panel/changes")
    assert "Grace" in ada.page.inner_text("tbody tr:first-child")
    assert "told once more" in ada.page.inner_text("tbody tr:first-child")


PAGES = (
    "/panel/endpoints",
    "/panel/endpoints/new",
    "/panel/endpoints/1",
    "/panel/endpoints/1/change",
    "/panel/endpoints/1/waiting",
    "/panel/endpoints/1/deliveries/msg_dead_1",
    "/panel/deliveries",
    "/panel/deliveries/1",
    "/panel/dead-letters",
)


@pytest.fixture
def hostile(ada: Person, receiver: Owner) -> Person:
    """Somebody who looks at orders, answers and a URL that are meant to be more than words."""
    add_endpoint(ada, receiver.url + "/<b>&quot;")
    fail(receiver, MARKUP.encode())
    receiver.headers["X-Of"] = MARKUP
    report(ada.server, MARKUP)
    give_up(ada.server, MARKUP)
    return ada


def test_what_others_wrote_is_never_more_than_words(hostile: Person) -> None:
    for path in PAGES:
        hostile.page.goto(path)
        assert hostile.page.locator("main script, main img, main b").count() == 0, path
    for path in ("/panel/deliveries/1", "/panel/deliveries", "/panel/dead-letters", PAGES[5]):
        hostile.page.goto(path)
        assert MARKUP in main(hostile), path
    hostile.page.goto("/panel/deliveries/1")
    headers, body = (hostile.page.locator("pre").nth(each).inner_text() for each in (2, 3))
    assert f"x-of: {MARKUP}" in headers
    assert body == MARKUP
    hostile.page.goto(f"/panel/deliveries?order={MARKUP}")
    assert hostile.page.get_by_label("Order").input_value() == MARKUP


def test_every_page_can_be_read_and_used_by_everybody_also_on_a_phone(hostile: Person) -> None:
    give_up(hostile.server, "a-number-without-end-" * 6)
    for theme in ("light", "dark"):
        hostile.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        for path in PAGES:
            hostile.page.goto(path)
            assert serious(hostile) == [], path
        hostile.page.goto("/panel/endpoints/new")
        hostile.fill(owner="nobody", url="ftp://x")
        hostile.press("Add it, and show its key and its secret")
        assert serious(hostile) == []
        add_endpoint(hostile, "https://owner.example/")
        assert serious(hostile) == []
    hostile.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    wide = "document.documentElement.scrollWidth - window.innerWidth"
    assert hostile.page.evaluate(wide) <= 0
    for path in PAGES:
        hostile.page.goto(path)
        assert hostile.page.evaluate(wide) <= 0, path

"""The live picture of production, in a browser."""

import re

import pytest
from playwright.sync_api import Browser, Route, expect

from cloudsignal import Client, ItemPacked, ItemRegistered, ItemShipped
from tests.browser.conftest import OTHER, PHONE, Person, invite, serious, sign_in

WHEN = "2026-01-05T08:00:00Z"


def post(person: Person, partner: str, *signals: ItemRegistered | ItemPacked | ItemShipped) -> None:
    """Signals of a print partner, through an interface of its own."""
    key = person.server.interface(partner)
    with Client(base_url=person.server.address, apikey=key) as client:
        client.send(*signals)


def registered(order: str, item: str = "1") -> ItemRegistered:
    return ItemRegistered(order=order, item=item, datetime=WHEN)


def test_signals_are_seen_as_they_come_without_loading_the_page_again(
    ada: Person, other: Person
) -> None:
    page = ada.page
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator(".tiles li").first).to_contain_text("0 in production")
    page.evaluate("window.isTheSame = true")

    post(ada, "Alpha", registered("7"), registered("8"))
    expect(page.locator(".tiles li").first).to_contain_text("2 in production")
    expect(page.locator(".legend")).to_contain_text("ItemRegistered 2")
    post(ada, "Beta", ItemPacked(order="9", item="1", datetime=WHEN))
    expect(page.locator(".tiles li").first).to_contain_text("3 in production")
    expect(page.locator(".bars tr", has_text="packed")).to_contain_text("1")
    assert "1 ItemPacked" in page.locator(".stack title").all_text_contents()[-1]
    assert page.evaluate("window.isTheSame")

    page.reload()
    # Whoever goes through what there is with the keyboard is not taken to another page by each key.
    page.get_by_label("Print partner").select_option("Beta")
    ada.press("Show")
    page.wait_for_url("**partner=Beta*")
    expect(page.locator("h1")).to_have_text("Beta")
    expect(page.locator(".tiles li").first).to_contain_text("1 in production")
    page.get_by_label("Signals of the").select_option("30d")
    ada.press("Show")
    page.wait_for_url("**span=30d*")
    expect(page.locator(".legend")).to_contain_text("signals per day")
    assert serious(ada) == []

    # A print partner's own people see what is theirs.
    other.page.goto(invite(ada, "Grace", "partner", "Alpha"))
    other.fill(password=OTHER, again=OTHER)
    other.press("Choose it")
    assert other.title == "Alpha"
    expect(other.page.locator(".tiles li").first).to_contain_text("2 in production")
    assert other.page.get_by_label("Print partner").count() == 0
    for path in ("/panel/?partner=Beta", "/panel/live?partner=Beta", "/panel/?span=2h"):
        answer = other.page.request.get(path)
        assert answer.status == 404, path
    # Who is kept out sees nothing more, either.
    ada.page.goto("/panel/users/2")
    ada.press("Keep out")
    expect(other.page.locator("#live")).to_contain_text("load the page again", timeout=30_000)
    other.wrong.clear()  # The browser was told to sign in, where it expected events.


def test_the_numbers_of_the_chart_are_words_too_and_stay_open_while_they_change(
    ada: Person,
) -> None:
    page = ada.page
    post(ada, "Alpha", registered("7"), registered("8"))
    chart = page.get_by_role("img", name="Signals by type")
    expect(chart).to_have_attribute(
        "aria-label",
        re.compile(
            r"last hour: 2 in all: 2 ItemRegistered\. The most, [12], \w+ \d+ \w+ \d\d:\d\d\."
        ),
    )
    summary = page.get_by_text("The numbers as a table")
    summary.focus()
    page.keyboard.press("Enter")
    table = page.locator("details table")
    expect(table).to_be_visible()
    expect(table.locator("thead")).to_have_text("FromItemRegisteredIn all")
    page.keyboard.press("Tab")
    in_focus = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(in_focus) == "Signals by type, last hour"

    post(ada, "Beta", ItemPacked(order="9", item="1", datetime=WHEN))

    expect(table.locator("thead")).to_have_text("FromItemRegisteredItemPackedIn all")
    expect(table).to_be_visible()
    assert page.evaluate(in_focus) == "Signals by type, last hour"
    expect(chart).to_have_attribute("aria-label", re.compile("2 ItemRegistered, 1 ItemPacked"))
    told = [int(text) for text in table.locator("tbody td:last-child").all_text_contents()]
    assert sum(told) == 3
    # A link keeps the focus as well.
    page.evaluate("window.tile = document.querySelector('.tiles li')")
    post(ada, "Beta", registered("10"))
    expect(page.locator(".tiles li").first).to_contain_text("4 in production")
    assert page.evaluate("window.tile.isConnected")
    assert serious(ada) == []


def test_what_is_live_comes_back_once_it_is_answered_again(ada: Person) -> None:
    page, refused = ada.page, []

    def refuse_once(route: Route) -> None:
        if refused:
            route.continue_()
        else:
            refused.append(route.request.url)
            route.fulfill(status=502, body="the server restarts")

    page.route("**/panel/live?*", refuse_once)
    page.clock.install()
    page.reload()
    expect(page.locator("#live")).to_contain_text("Not live: trying again in half a minute")
    assert len(refused) == 1

    page.clock.fast_forward(30_000)

    expect(page.locator("#live")).to_have_text("Live")
    post(ada, "Alpha", registered("7"))
    expect(page.locator(".tiles li").first).to_contain_text("1 in production")
    ada.wrong.clear()  # The browser says what it was answered.


def test_an_owner_is_told_where_to_go(ada: Person, other: Person) -> None:
    ada.server.cli("owner", "create", "Books")
    other.page.goto(invite(ada, "Grace", "owner", "Books"))
    other.fill(password=OTHER, again=OTHER)
    other.press("Choose it")
    assert other.title == "Hello, Grace"
    assert other.page.request.get("/panel/live").status == 403


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_can_be_read_by_everybody_and_on_a_phone(
    ada: Person, browser: Browser, theme: str
) -> None:
    post(ada, "Alpha", registered("7"), registered("8"))
    phone = Person(browser, ada.server, PHONE)
    sign_in(phone, "Ada")
    phone.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    expect(phone.page.locator(".tiles li").first).to_contain_text("2 in production")
    wide = phone.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
    assert serious(phone) == []
    phone.context.close()
    assert phone.wrong == []

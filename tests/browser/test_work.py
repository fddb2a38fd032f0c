"""Work on the panel in a browser: search, items and their steps, saved filters, and what markup does there."""

import csv
import re
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from cloudsignal.server import clock
from cloudsignal.server.store.orders import Registration
from tests.acceptance.conftest import Server, signal
from tests.acceptance.test_delivery import post
from tests.browser.conftest import MARKUP, PHONE, Person, serious, sign_in

LONG = "\N{GRINNING FACE}" * 64 + "x" * 64
ODD = "a/b?c=d&e=%41#.."


@pytest.fixture
def filled(ada: Person) -> Server:
    """The server, with an order that was shipped, and one whose every text is markup."""
    server = ada.server
    with server.store() as store:
        store.orders.create_owner("Books", now=clock.now())
        known = {"reference": "web-1", "tracking_urls": {"GLS": "https://gls.example/{tracking}"}}
        items = {"100-1": "cover", "100-2": "body"}
        odd = Registration(MARKUP, "Books", reference=MARKUP, items={MARKUP: MARKUP})
        store.orders.register([Registration("100", "Books", items=items, **known), odd], now=10**15)
    steps = ("ItemRegistered", "ItemProduce", "ItemProduced", "ItemPacked", "ItemShipped")
    days = enumerate(steps, start=10)
    of_100 = [
        signal(step, order="100", item="100-1", datetime=f"2016-01-{day}T08:00:00Z")
        for day, step in days
    ]
    parcel = {"tracking": MARKUP, "shipping_option": MARKUP}
    of_markup = [
        signal("ItemDelay", order=MARKUP, item=MARKUP, cause=MARKUP, delay="2"),
        signal("ItemShipped", order=MARKUP, item=MARKUP, **parcel),
        signal("ItemCanceled", order=MARKUP, item="2", cause=MARKUP, message=MARKUP, more=MARKUP),
        signal("ItemProduce", order=ODD, item=LONG),
    ]
    post(server, server.interface(MARKUP), *of_100, *of_markup)
    return server


@pytest.mark.usefixtures("filled")
def test_a_key_leads_to_the_search_and_the_search_to_an_item(ada: Person) -> None:
    page = ada.page
    page.goto("/panel/")
    page.keyboard.press("/")
    page.keyboard.type("1a2b")
    page.keyboard.press("Enter")
    page.wait_for_url("**/item?**")
    assert ada.title == "Item 100-1"

    # Where somebody is typing, it is a character like any other.
    page.goto("/panel/items?state=shipped")
    page.locator("[name=order]").press("/")
    assert page.locator("[name=order]").input_value() == "/"

    page.keyboard.press("Control+a")
    page.get_by_label("Search").fill("10")
    page.get_by_label("Search").press("Enter")
    page.wait_for_url("**/search?**")
    assert ada.title == "Found for “10”"
    page.get_by_role("link", name="100-2", exact=True).first.click()
    page.wait_for_url("**/item?**")
    assert "registered, but no signal has come" in page.inner_text("main")
    page.get_by_role("link", name="100", exact=True).click()
    page.wait_for_url("**/order?**")
    assert ada.title == "Order 100"


@pytest.mark.usefixtures("filled")
def test_the_picture_has_every_step_where_it_belongs(ada: Person) -> None:
    ada.page.goto("/panel/item?order=100&item=100-1")
    picture = ada.page.get_by_role("img", name="How long each step took")
    box = picture.bounding_box()
    assert box is not None

    bars = ada.page.locator("svg.steps rect").all()
    titles = [bar.locator("title").inner_html() for bar in bars]
    assert [title.partition(",")[0] for title in titles] == [
        "registered to shipped: 4 d",
        "registered to producing: 1 d",
        "producing to produced: 1 d",
        "produced to packed: 1 d",
        "packed to shipped: 1 d",
    ]
    boxes = [bar.bounding_box() for bar in bars]
    whole, *steps = [(each["x"], each["x"] + each["width"]) for each in boxes if each]
    assert whole == pytest.approx((box["x"], box["x"] + box["width"]), abs=2)
    for (_, end), (begin, _) in pairwise(steps):
        assert begin == pytest.approx(end, abs=2)
    colours = {bar.evaluate("bar => getComputedStyle(bar).fill") for bar in bars}
    assert len(colours) == 4
    ada.page.emulate_media(color_scheme="dark")
    assert not colours & {bar.evaluate("bar => getComputedStyle(bar).fill") for bar in bars}
    # The same in words.
    ada.page.get_by_text("The same as a table").click()
    rows = ada.page.locator("section:has(svg) tbody tr").all_inner_texts()
    assert len(rows) == 5 + 5


@pytest.mark.usefixtures("filled")
def test_whatever_a_print_partner_writes_is_never_more_than_words(ada: Person) -> None:
    ada.page.goto("/panel/items")
    ada.page.locator("td:first-child a").get_by_text(MARKUP, exact=True).click()
    ada.page.wait_for_url("**/item?**")
    for raw in ada.page.get_by_text("As it was sent, less its key").all():
        raw.click()
    assert ada.title == f"Item {MARKUP}"
    # State, order, reference, cause, parcel with its option, print partner, and signals with raw bodies.
    assert ada.page.inner_text("main").count(MARKUP) >= 8
    for path in ("/panel/items?delayed=no", "/panel/orders?owner=Books", "/panel/search?q=<script"):
        ada.page.goto(path)
        assert MARKUP in ada.page.inner_text("main"), path
        assert ada.page.locator("main script, main img").count() == 0
        ada.page.get_by_role("link", name=MARKUP, exact=True).last.click()
        ada.page.wait_for_url(re.compile(r"/(order|item)\?"))
        assert MARKUP in ada.page.inner_text("h1"), path


@pytest.mark.usefixtures("filled")
def test_an_item_is_reached_whatever_it_is_called_and_its_csv_with_it(
    ada: Person, tmp_path: Path
) -> None:
    ada.page.goto("/panel/items")
    ada.page.get_by_role("link", name=LONG, exact=True).click()
    ada.page.wait_for_url("**/item?**")
    assert ada.title == f"Item {LONG}"
    ada.page.get_by_role("link", name=ODD, exact=True).click()
    ada.page.wait_for_url("**/order?**")
    assert ada.title == f"Order {ODD}"
    with ada.page.expect_download() as download:
        ada.page.get_by_role("link", name="As CSV").click()
    assert download.value.suggested_filename == "order.csv"
    download.value.save_as(tmp_path / "order.csv")
    with (tmp_path / "order.csv").open(encoding="utf-8-sig", newline="") as file:
        _, [item, *_] = csv.reader(file)
    assert item == LONG


@pytest.mark.usefixtures("filled")
def test_a_filter_is_saved_used_and_removed(ada: Person) -> None:
    page = ada.page
    page.goto("/panel/items")
    page.get_by_text("Filter", exact=True).first.click()
    page.locator("[name=state]").select_option("canceled")
    ada.press("Filter")
    assert page.locator("main tbody tr").count() == 1
    page.get_by_text("Save this filter").click()
    page.locator(".saved [name=name]").fill(MARKUP)
    ada.press("Save")

    page.goto("/panel/items")
    assert page.locator("main tbody tr").count() == 4
    page.get_by_role("link", name=MARKUP, exact=True).first.click()
    page.wait_for_url("**/items?state=canceled")
    assert page.locator("main tbody tr").count() == 1
    assert page.locator(".saved [aria-current]").inner_text() == MARKUP
    with page.expect_navigation():
        page.get_by_role("button", name=f"Remove the filter {MARKUP}").click()
    assert page.locator("main tbody tr").count() == 1
    assert page.locator(".saved li").count() == 0


PAGES = (
    "/panel/items",
    "/panel/items?state=shipped",
    "/panel/items?state=lost",
    "/panel/orders?owner=Books",
    "/panel/order?order=100",
    "/panel/item?order=100&item=100-1",
    "/panel/item?order=100&item=100-2",
    "/panel/search?q=10",
    "/panel/search?q=",
    "/panel/changes",
)


def open_all(person: Person) -> None:
    """Open what can be opened on a page, so that it is looked at too."""
    person.page.evaluate(
        "document.querySelectorAll('details').forEach(each => { each.open = true; })"
    )


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_can_be_read_and_used_by_everybody(ada: Person, theme: str) -> None:
    ada.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    ada.page.goto("/panel/items?state=shipped")
    open_all(ada)
    ada.page.locator(".saved [name=name]").fill("shipped ones")
    ada.press("Save")
    for path in PAGES:
        ada.page.goto(path)
        open_all(ada)
        assert serious(ada) == [], path


@pytest.mark.usefixtures("filled")
def test_every_page_fits_a_phone(ada: Person, browser: Browser) -> None:
    phone = Person(browser, ada.server, PHONE)
    sign_in(phone, "Ada")
    ada.page.goto("/panel/items?order=" + "a%2Fb%3Fc%3Dd%26e%3D%2541%23..")
    its = ada.page.locator("main tbody a").first.get_attribute("href") or ""
    ada.page.goto("/panel/orders?owner=Books")
    odd = ada.page.locator("main tbody a").first.get_attribute("href") or ""
    for path in (*PAGES, its, odd):
        phone.page.goto(path)
        open_all(phone)
        wide = phone.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, path
        # What is cut off on one side cannot be read.
        for each in phone.page.locator("svg.steps text").all():
            box = each.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= PHONE[0], each.inner_html()
    phone.context.close()
    assert phone.wrong == []

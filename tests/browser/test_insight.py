"""The pages of insight in a browser: everybody can read them, also by keyboard and on a phone."""

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.conftest import Server
from tests.acceptance.test_insight_pages import WEEK, World, told
from tests.browser.conftest import MARKUP, PHONE, Person, serious, sign_in

PATHS = (
    "/panel/insight",
    "/panel/insight?days=90",
    "/panel/insight/1",
    "/panel/insight/2",
    "/panel/insight/3",
    "/panel/insight/1/offending/slow",
    "/panel/insight/1/offending/missing",
    "/panel/insight/2/open/producing",
    "/panel/at-risk",
    "/panel/at-risk?overdue=true",
    "/panel/calendars",
    "/panel/calendars/1",
    "/panel/calendars/3",
    "/panel/refusals?partner=Alpha&scored=true",
)
CUT = """[...document.querySelectorAll(".scroll")]
    .filter(each => each.scrollWidth > each.clientWidth).map(each => each.ariaLabel)"""
"""Which tables are wider than where they stand."""
TABS_MAX = 80
"""How often somebody may have to press Tab on a page of these."""


@pytest.fixture
def world(server: Server) -> World:
    return told(server)


@pytest.fixture
def ada(world: World, person: Person) -> Person:
    """The first user, signed in, on a server where something has happened."""
    assert world.server is person.server
    sign_in(person, "Ada")
    return person


def go_by_keyboard(person: Person, text: str) -> None:
    """Go to a link with the Tab key, see that it is shown where one is, and follow it."""
    for _ in range(TABS_MAX):
        person.page.keyboard.press("Tab")
        focused = person.page.locator("main :focus-visible")
        if focused.count() and focused.inner_text() == text:
            assert focused.evaluate("each => getComputedStyle(each).outlineStyle") != "none"
            with person.page.expect_navigation():
                person.page.keyboard.press("Enter")
            return
    pytest.fail(f"nobody comes to {text} by keyboard")


def test_everybody_can_read_it(ada: Person, browser: Browser) -> None:
    fields = {"timezone": "Europe/Berlin", **WEEK, "holidays": "2031-12-25"}
    ada.page.goto("/panel/calendars/3")
    ada.fill(**fields)
    ada.press("Set the hours")
    expect(ada.page.get_by_role("button", name="Remove the calendar")).to_be_visible()
    for theme in ("light", "dark"):
        ada.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        for path in PATHS:
            ada.page.goto(path)
            assert serious(ada) == [], (path, theme)
            assert ada.page.locator("main script, main img").count() == 0
    # Where the menu is beside them, too, tables of a few print partners are seen whole.
    ada.page.set_viewport_size({"width": 1120, "height": 900})
    for path in PATHS:
        ada.page.goto(path)
        assert ada.page.evaluate(CUT) == [], path
    phone = Person(browser, ada.server, PHONE)
    sign_in(phone, "Ada")
    for path in PATHS:
        phone.page.goto(path)
        wide = phone.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, path
        if not path.startswith("/panel/insight/"):
            expect(phone.page.locator("nav [aria-current]")).to_be_in_viewport(ratio=1)
    phone.context.close()
    assert phone.wrong == []


def test_a_keyboard_is_enough_to_get_to_what_offends(ada: Person) -> None:
    page = ada.page
    page.goto("/panel/insight")
    assert page.locator("[aria-current=true]").inner_text() == "30 days"
    go_by_keyboard(ada, "7 days")
    assert page.url.endswith("/panel/insight?days=7")
    assert page.locator("[aria-current=true]").inner_text() == "7 days"
    go_by_keyboard(ada, "Alpha")
    assert page.url.endswith("/panel/insight/1?days=7")
    go_by_keyboard(ada, "were never registered")
    assert ada.title == "Alpha: what offends"
    assert page.locator("main tbody tr").count() == 1
    go_by_keyboard(ada, "Back to Alpha")
    go_by_keyboard(ada, "1 producing")
    assert ada.title == "Alpha: producing"
    page.goto("/panel/at-risk")
    assert page.locator("main tbody tr").count() == 4
    go_by_keyboard(ada, "Overdue")
    go_by_keyboard(ada, "a5")
    assert ada.title == "Item a5"


def test_a_calendar_is_set_and_removed(ada: Person) -> None:
    page = ada.page
    page.goto("/panel/calendars")
    page.get_by_role("link", name="Beta").click()
    page.wait_for_url("**/calendars/2")
    ada.fill(timezone="Berlin", mon="8-12", holidays=MARKUP)
    ada.press("Set the hours")
    alert = page.get_by_role("alert").inner_text()
    assert "things are wrong" in alert
    assert "Berlin" in alert
    assert page.locator("[name=mon]").input_value() == "8-12"
    assert page.locator("[name=holidays]").input_value() == MARKUP

    ada.fill(timezone="Europe/Berlin", mon="08:00-12:00, 13:00-17:00", holidays="2031-12-25")
    ada.press("Set the hours")
    expect(page.get_by_role("alert")).to_have_count(0)
    text = page.get_by_label("Calendar, as JSON")
    assert '"13:00-17:00"' in text.input_value()
    text.fill('{"timezone": "Europe/Rome", "hours": {"fri": ["09:00-10:00"]}}')
    ada.press("Set the text")
    expect(page.locator("[name=timezone]")).to_have_value("Europe/Rome")
    assert page.locator("[name=fri]").input_value() == "09:00-10:00"
    assert page.locator("[name=mon]").input_value() == ""

    page.on("dialog", lambda dialog: dialog.accept())
    ada.press("Remove the calendar")
    expect(page.locator("main")).to_contain_text("Beta has no calendar")

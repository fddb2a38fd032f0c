"""Refused posts on the panel: seen without asking, by everybody whom they concern."""

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.conftest import eventually, signal
from tests.browser.conftest import MARKUP, OTHER, PHONE, Person, invite, serious, sign_in

PATHS = ("/panel/refusals", "/panel/refusals?partner=Press&reason=unknown_type")
PATHS += ("/panel/refusals/reasons", "/panel/refusals?before=1")


@pytest.fixture
def refused(ada: Person) -> Person:
    """Ada, on whose server posts were refused."""
    server = ada.server
    key, number = server.numbered_interface("Press")
    of_markup = server.interface(MARKUP)
    sent = [
        signal(MARKUP, item=MARKUP, cause=MARKUP) | {"apikey": key, MARKUP: MARKUP},
        signal(datetime="tomorrow", order=7) | {"apikey": of_markup},
        {
            "apikey": key,
            "items": [signal(), signal("ItemShipped", tracking="") | {"x": "y " * 900}],
        },
        {"apikey": "nobody's", "x": MARKUP},
    ]
    for body in sent:
        assert server.post(body).status in (400, 401)
    with server.store() as store:
        eventually(lambda: store.posts.of_interfaces(0)[number].posts == 2)
    return ada


def test_a_refused_post_is_seen_with_what_to_do_about_it(refused: Person) -> None:
    refused.page.get_by_role("link", name="Refused posts").first.click()
    assert refused.title == "Refused posts"
    said = refused.page.inner_text("main")
    assert "Use one of the types that the sentence names" in said
    assert "order must be a string, not a number: put it in quotes" in said
    assert "With no known key" in said

    refused.page.locator("[name=partner]").select_option("Press")
    refused.press("Show")
    assert refused.page.locator("article").count() == 2
    refused.page.get_by_role("table").get_by_role("link", name="missing_parameter").click()
    [post] = refused.page.locator("article").all()
    assert "items[1]: ItemShipped needs tracking" in post.inner_text()
    assert "yyyy" not in post.inner_text()
    post.get_by_text("What was sent").click()
    assert '"tracking":""' in post.locator("pre").inner_text()
    assert '"item"' in post.locator("pre").inner_text()

    post.get_by_role("link", name="missing_parameter").click()
    assert refused.title == "Why posts are refused"
    assert refused.page.url.endswith("/panel/refusals/reasons#missing_parameter")


def test_what_was_sent_is_never_more_than_words(refused: Person) -> None:
    refused.page.goto("/panel/refusals")
    refused.page.eval_on_selector_all("details", "all => all.forEach(each => each.open = true)")
    shown = refused.page.inner_text("main")
    assert shown.count("<script>alert(1)</script>") > 4
    assert refused.page.locator("main script, main img").count() == 0
    refused.page.locator("[name=partner]").select_option(MARKUP)
    refused.press("Show")
    assert refused.page.locator("article").count() == 1
    assert refused.page.locator("[name=partner]").input_value() == MARKUP


def test_a_print_partner_sees_its_own(refused: Person, other: Person) -> None:
    other.page.goto(invite(refused, "Pat", "partner", "Press"))
    other.fill(password=OTHER, again=OTHER)
    other.press("Choose it")
    other.page.get_by_role("link", name="Refused posts").first.click()
    expect(other.page.locator("article")).to_have_count(2)
    assert other.page.locator("[name=partner]").count() == 0
    assert "With no known key" not in other.page.inner_text("main")
    answer = other.page.goto("/panel/refusals?interface=2")
    assert answer is not None
    assert answer.status == 404


def test_everybody_can_read_it(refused: Person, browser: Browser) -> None:
    for theme in ("light", "dark"):
        refused.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        for path in PATHS:
            refused.page.goto(path)
            assert serious(refused) == [], path
    phone = Person(browser, refused.server, PHONE)
    sign_in(phone, "Ada")
    for path in PATHS:
        phone.page.goto(path)
        wide = phone.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, path
    phone.context.close()
    assert phone.wrong == []

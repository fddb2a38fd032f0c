"""Who comes in by the panel: from the link that the first start prints to codes and changes."""

import time

import pyotp
import pytest
from playwright.sync_api import Browser

from tests.acceptance.test_panel import link_of
from tests.browser.conftest import MARKUP, OTHER, PASSWORD, PHONE, Person, invite, serious, sign_in


def test_the_first_start_prints_a_link_that_is_good_once(ada: Person, other: Person) -> None:
    other.page.goto(link_of(ada.server))
    assert other.title == "This link is not good any more"
    ada.page.goto("about:blank")  # What is live would go on asking at the old address.
    ada.server.restart()
    assert "Set it up" not in ada.server.stdout

    other.page.goto(ada.server.address)

    assert other.title == "Sign in"


def test_somebody_signs_in_and_out_and_comes_to_where_they_wanted(
    ada: Person, other: Person
) -> None:
    other.page.goto("/panel/changes")
    assert other.title == "Sign in"
    other.fill(name="Ada", password="not this one", code="")
    other.press("Sign in")
    assert "The name, the password or the code is wrong." in other.page.inner_text("main")
    other.fill(password=PASSWORD)
    other.press("Sign in")
    assert other.title == "Changes"

    other.press("Sign out")
    other.page.go_back()
    other.page.reload()

    assert other.title == "Sign in"


def test_who_is_invited_chooses_a_password_and_sees_what_they_may(
    ada: Person, other: Person
) -> None:
    link = invite(ada, "Grace", "operator")
    other.page.goto(link)
    assert other.page.locator("[name=name]:visible").count() == 0
    other.fill(password="short", again="short")
    other.page.locator("form.fields").evaluate("form => form.noValidate = true")
    other.press("Choose it")
    assert "A password has 12 to 256 characters." in other.page.inner_text("main")
    other.fill(password=OTHER, again=OTHER)
    other.press("Choose it")

    assert other.title == "Production"
    assert other.page.get_by_role("link", name="Users").count() == 0
    answer = other.page.goto("/panel/users")
    assert answer is not None
    assert answer.status == 403
    assert "This is for the role admin: yours is operator." in other.page.inner_text("main")


def test_who_is_kept_out_is_out_at_once(ada: Person, other: Person) -> None:
    other.page.goto(invite(ada, "Grace"))
    other.fill(password=OTHER, again=OTHER)
    other.press("Choose it")
    ada.page.goto("/panel/users")
    ada.page.get_by_role("link", name="Grace").click()
    ada.press("Keep out")

    other.page.reload()

    assert other.title == "Sign in"
    sign_in(other, "Grace", OTHER)
    assert other.title == "Sign in"


def test_a_second_factor_is_asked_for_and_no_code_counts_twice(ada: Person, other: Person) -> None:
    ada.page.goto("/panel/account")
    ada.press("Add a second factor")
    secret = ada.page.locator("main code").inner_text()
    assert ada.page.locator(".code svg").bounding_box()
    code = pyotp.TOTP(secret).now()
    ada.fill(code=code, password=PASSWORD)
    ada.press("Add it")
    assert ada.title == "Your account"

    for wrong in ("", "000000", code):
        sign_in(other, "Ada", code=wrong)
        assert other.title == "Sign in"
    # A code of the next step is good already: clocks differ.
    sign_in(other, "Ada", code=pyotp.TOTP(secret).at(int(time.time()) + 30))
    assert other.title == "Production"


def test_what_people_are_called_is_never_more_than_words(ada: Person, other: Person) -> None:
    other.page.goto(invite(ada, MARKUP))
    assert MARKUP in other.page.inner_text("main")
    other.fill(password=OTHER, again=OTHER)
    other.press("Choose it")
    assert MARKUP in other.page.inner_text("header")
    for path in ("/panel/users", "/panel/users/2", "/panel/changes"):
        ada.page.goto(path)
        assert MARKUP in ada.page.inner_text("main"), path
        assert ada.page.locator("main script, main img").count() == 0


def test_an_admin_ends_access_for_good_after_a_question(ada: Person) -> None:
    invite(ada, "Grace")
    ada.page.goto("/panel/users/2")
    ada.page.once("dialog", lambda dialog: dialog.dismiss())
    ada.press("Remove for good")
    assert ada.title == "Grace"
    ada.page.once("dialog", lambda dialog: dialog.accept())
    ada.press("Remove for good")
    assert ada.title == "Users"
    assert "Grace" not in ada.page.inner_text("table")
    ada.page.goto("/panel/changes")
    assert "user removed" in ada.page.inner_text("tbody tr:first-child")


PAGES = ("/panel/", "/panel/account", "/panel/users", "/panel/users/1", "/panel/changes")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_can_be_read_and_used_by_everybody(ada: Person, theme: str) -> None:
    invite(ada, "Grace")
    ada.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    for path in (*PAGES, "/panel/nowhere"):
        ada.page.goto(path)
        assert serious(ada) == [], path
    ada.page.goto("/panel/")
    ada.press("Sign out")
    assert serious(ada) == []


def test_every_page_fits_a_phone(ada: Person, browser: Browser) -> None:
    invite(ada, "A name that is so long that it has to be broken " * 4)
    phone = Person(browser, ada.server, PHONE)
    sign_in(phone, "Ada")
    for path in (*PAGES, "/panel/users/2"):
        phone.page.goto(path)
        wide = phone.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, path
    phone.context.close()
    assert phone.wrong == []

"""Keys given out in the panel: from the link that the first start prints to a signal in the store."""

import subprocess

import pytest
from playwright.sync_api import Browser

from tests.acceptance.conftest import DEADLINE_S, eventually, signal
from tests.browser.conftest import (
    MARKUP,
    OTHER,
    PHONE,
    Person,
    invite,
    serious,
    sign_in,
)

ADD = "Add, and show its key"
ROTATE = "Make a new key, and show it"


def add_partner(person: Person, name: str) -> None:
    person.page.goto("/panel/")
    person.page.locator("nav").get_by_role("link", name="Print partners").click()
    person.fill(name=name)
    person.press("Add")


def copied(person: Person, button: str) -> str:
    """What a button of this name copies."""
    person.page.get_by_role("button", name=button, exact=True).click()
    person.page.get_by_role("button", name="Copied").last.wait_for()
    return str(person.page.evaluate("navigator.clipboard.readText()"))


def refused(person: Person, key: str) -> int:
    return person.server.post({"apikey": key} | signal()).status


def test_from_the_set_up_link_to_a_first_signal_and_a_key_that_is_replaced(ada: Person) -> None:
    ada.context.grant_permissions(["clipboard-read", "clipboard-write"])
    add_partner(ada, "Press & Sons")
    assert ada.title == "Press & Sons"
    ada.fill(timezone="Europe/Berlin")
    assert ada.page.locator("#zones option[value='Europe/Berlin']").count() == 1
    ada.press(ADD)

    assert ada.title == "The key of interface 1"
    old = ada.page.get_by_label("The key").input_value()
    assert copied(ada, "Copy") == old
    line = copied(ada, "Copy for curl")
    done = subprocess.run(
        ["bash", "-ec", line], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    assert '"accepted":1' in done.stdout
    [sent] = ada.server.get("/api/v1/signals?after=0").json["signals"]
    assert (sent["order"], sent["partner"]) == ("first-signal-1", "Press & Sons")
    for language in ("Python", "PHP", "Node"):
        assert copied(ada, f"Copy for {language}").splitlines()[-1] == "END"

    ada.page.get_by_role("link", name="To the interface").click()
    assert old not in ada.page.content()
    ada.fill(hours="2")
    ada.press(ROTATE)
    new = ada.page.get_by_label("The key").input_value()
    assert (refused(ada, old), refused(ada, new)) == (200, 200)

    ada.page.goto("/panel/interfaces/1")
    assert ada.page.locator("tbody tr").count() == 2
    ada.page.once("dialog", lambda dialog: dialog.dismiss())
    ada.press("Revoke for good")
    assert refused(ada, new) == 200
    ada.page.once("dialog", lambda dialog: dialog.accept())
    ada.press("Revoke for good")
    ada.page.get_by_text("its keys get 403 for ever").wait_for()
    eventually(lambda: {refused(ada, old), refused(ada, new)} == {403})


def test_owners_and_tokens_are_given_keys(ada: Person) -> None:
    ada.page.goto("/panel/owners")
    ada.fill(name="Books & Co")
    ada.page.get_by_label("Gets what nobody registered").check()
    ada.press("Add")
    assert ada.title == "Books & Co"
    ada.press("Make a key, and show it")
    assert len(ada.page.get_by_label("The key").input_value()) == 32
    ada.page.goto("/panel/tokens")
    ada.fill(name="reports")
    ada.page.locator("[name=role]").select_option("operator")
    ada.press("Make it, and show it")
    token = ada.page.get_by_label("The token").input_value()
    assert ada.server.get("/api/v1/interfaces", token).status == 200
    ada.page.goto("/panel/tokens")
    ada.page.once("dialog", lambda dialog: dialog.accept())
    ada.press("Revoke reports")
    eventually(lambda: ada.server.get("/api/v1/interfaces", token).status == 401)


def test_what_is_written_in_any_field_is_never_more_than_words(ada: Person, other: Person) -> None:
    for path, button in (("/panel/owners", "Add"), ("/panel/partners", "Add")):
        ada.page.goto(path)
        ada.fill(name=MARKUP)
        ada.press(button)
        assert ada.title == MARKUP
    ada.page.goto("/panel/tokens")
    ada.fill(name=MARKUP)
    ada.press("Make it, and show it")
    assert ada.title == f"The token {MARKUP}"
    ada.page.goto("/panel/partners/1")
    ada.press(ADD)
    assert MARKUP in ada.page.inner_text("main")
    ada.page.goto("/panel/owners/1")
    ada.press("Make a key, and show it")
    assert MARKUP in ada.page.inner_text("main")

    for path in ("/panel/partners/1", "/panel/interfaces/1"):
        for field in ("timezone", "allow"):
            ada.page.goto(path)
            ada.page.locator("main [maxlength]").evaluate_all(
                "fields => fields.forEach(field => field.removeAttribute('maxlength'))"
            )
            ada.fill(**{field: MARKUP})
            ada.press(ADD if "partners" in path else "Change")
            assert ada.page.locator("[role=alert]").count() == 1
            assert ada.page.locator(f"[name={field}]").input_value() == MARKUP
            assert ada.page.locator("main script, main img").count() == 0
    seen = ("partners", "partners/1", "interfaces", "interfaces/1", "owners", "owners/1", "tokens")
    for path in (*seen, "changes"):
        ada.page.goto(f"/panel/{path}")
        assert MARKUP in ada.page.inner_text("main"), path
        assert ada.page.locator("main script, main img").count() == 0
    ada.page.goto("/panel/tokens")
    asked: list[str] = []
    ada.page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    ada.page.get_by_role("button", name="Revoke").click()
    assert asked == [f"End the token {MARKUP} for good?"]

    other.page.goto(invite(ada, "Grace", "partner", MARKUP))
    other.fill(password=OTHER, again=OTHER)
    other.press("Choose it")
    other.page.locator("nav").get_by_role("link", name="Interfaces").click()
    other.page.get_by_role("link", name="1", exact=True).click()
    assert MARKUP in other.title
    assert other.page.locator("main form").count() == 0


PAGES = (
    "/panel/partners",
    "/panel/partners/1",
    "/panel/interfaces",
    "/panel/interfaces/1",
    "/panel/owners",
    "/panel/owners/1",
    "/panel/tokens",
    "/panel/settings",
)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_can_be_read_and_used_by_everybody_on_a_desk_and_on_a_phone(
    ada: Person, browser: Browser, theme: str
) -> None:
    long = "A name that is so long that it has to be broken " * 4
    add_partner(ada, f"{long}partner")
    ada.press(ADD)
    for path, button in (("owners", "Add"), ("tokens", "Make it, and show it")):
        ada.page.goto(f"/panel/{path}")
        ada.fill(name=f"{long}{path}")
        ada.press(button)
    phone = Person(browser, ada.server, PHONE)
    sign_in(phone, "Ada")
    for person in (ada, phone):
        person.page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
        for path in PAGES:
            person.page.goto(path)
            check(person)
        for path, button in (
            ("interfaces/1", ROTATE),
            ("owners/1", "Make a key, and show it"),
            ("partners", "Add"),
            ("partners/1", ADD),
        ):
            person.page.goto(f"/panel/{path}")
            if button == "Add":
                person.fill(name=f"{long}partner")  # Which is taken.
            person.press(button)
            check(person)
    phone.context.close()
    assert phone.wrong == []


def check(person: Person) -> None:
    """Make sure that a page shuts nobody out, and fits."""
    assert serious(person) == [], person.page.url
    wide = person.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, person.page.url

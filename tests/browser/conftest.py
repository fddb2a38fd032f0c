"""A real browser, and the server whose panel it shows."""

import os
import shutil
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, Request, sync_playwright

from tests.acceptance.conftest import MakeServer, Server, make_server
from tests.acceptance.test_panel import link_of

__all__ = ["make_server"]

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
ARGUMENTS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
DESKTOP, PHONE = (1280, 900), (390, 844)
PASSWORD = "four words nobody says"
OTHER = "another four words here"
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)>'\""


# Of the package, not of the session: while it is open, its loop counts as running in this thread, and
# no other test could run one of its own.
@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Chromium, from the PATH or from where CLOUDSIGNAL_TEST_CHROMIUM says."""
    path = os.environ.get("CLOUDSIGNAL_TEST_CHROMIUM") or shutil.which("chromium")
    if not path:
        pytest.fail(
            "the panel is tested in Chromium, which is not here: install it (on Debian,"
            " apt-get install chromium), or set CLOUDSIGNAL_TEST_CHROMIUM to its path"
        )
    with playwright.chromium.launch(executable_path=path, args=ARGUMENTS) as browser:
        yield browser


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    return make_server().start()


class Person:
    """Somebody at a browser of their own; what goes wrong on their pages is remembered."""

    def __init__(
        self,
        browser: Browser,
        server: Server,
        size: tuple[int, int] = DESKTOP,
        *,
        java_script_enabled: bool = True,
    ) -> None:
        self.server = server
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            base_url=server.address,
            java_script_enabled=java_script_enabled,
        )
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.wrong: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        # That a form was refused is a status of its page, and no error of it.
        if message.type in ("error", "warning") and "status of 4" not in message.text:
            self.wrong.append(message.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.server.address, "data:")):
            self.wrong.append(f"asks another host: {request.url}")

    def fill(self, **fields: str) -> None:
        """Fill the form in whose fields have these names."""
        for name, value in fields.items():
            self.page.locator(f"main [name={name}]:visible").first.fill(value)

    def press(self, name: str) -> None:
        """Press a button of this name, and wait for the page that follows."""
        self.page.get_by_role("button", name=name, exact=True).click()
        self.page.wait_for_load_state()

    @property
    def title(self) -> str:
        """The heading of the page."""
        return self.page.locator("h1").inner_text()


@pytest.fixture
def person(browser: Browser, server: Server) -> Iterator[Person]:
    someone = Person(browser, server)
    yield someone
    someone.context.close()
    assert someone.wrong == []


def set_up(person: Person, name: str = "Ada") -> None:
    """Be the first user."""
    person.page.goto(link_of(person.server))
    person.fill(name=name, password=PASSWORD, again=PASSWORD)
    person.press("Begin")


def sign_in(person: Person, name: str, password: str = PASSWORD, code: str = "") -> None:
    person.page.goto("/panel/login")
    person.fill(name=name, password=password, code=code)
    person.press("Sign in")


def invite(person: Person, name: str, role: str = "reader", whose: str = "") -> str:
    """The link for somebody who is added."""
    person.page.goto("/panel/users")
    person.fill(name=name, whose=whose)
    person.page.locator("[name=role]").select_option(role)
    person.press("Add, and show a link for them")
    return person.page.get_by_label("The link").input_value()


@pytest.fixture
def ada(person: Person) -> Person:
    """The first user, signed in."""
    set_up(person)
    assert person.title == "Production"
    return person


@pytest.fixture
def other(browser: Browser, server: Server) -> Iterator[Person]:
    """Somebody at another browser."""
    someone = Person(browser, server)
    yield someone
    someone.context.close()
    assert someone.wrong == []


def serious(person: Person) -> list[str]:
    """What keeps some people from using a page."""
    found = Axe().run(person.page).response["violations"]
    return [
        f"{each['id']}: {each['help']}: {[node['html'] for node in each['nodes']]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]

"""Takes the pictures of the panel in docs/images/: a server with a simulated fleet, seen in Chromium.

Run by `make pictures`. What is on them is simulated, so they differ from one time to the next.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

IMAGES = Path(__file__).with_name("images")
COMMAND = str(Path(sys.executable).with_name("cloudsignal"))
PORT = 8765
ADDRESS = f"http://127.0.0.1:{PORT}"
PASSWORD = "a password for pictures"
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
PAGES = {"overview": "/panel/", "items": "/panel/items", "interface": "/panel/interfaces/1"}
"""The pictures, and the pages that are on them."""
COUNTED_S = 5
"""How long the bookkeeper may take until everything is counted."""


def main() -> None:
    """Take every picture anew."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving(folder) as link, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport=DESKTOP, base_url=ADDRESS)
            set_up(page, link)
            fill(folder)
            for picture, path in (PAGES | {"item": an_item(page)}).items():
                take(page, picture, path)
            browser.close()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A server on a store in a folder; the link to set its panel up."""
    command = [COMMAND, "serve", "--port", str(PORT), "--database", url(folder)]
    with (folder / "output").open("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
        try:
            yield link_in(folder / "output")
        finally:
            process.terminate()
            process.wait()


def url(folder: Path) -> str:
    """The store in a folder."""
    return f"sqlite:///{folder}/pictures.db"


def link_in(output: Path) -> str:
    """The link that a server prints when it listens."""
    for _ in range(300):
        if found := re.search(r"Set it up: (\S+)\n", output.read_text()):
            return found[1]
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start: {output.read_text()}")


def set_up(page: Page, link: str) -> None:
    """Be the first user."""
    page.goto(link)
    for name, text in (("name", "Ada"), ("password", PASSWORD), ("again", PASSWORD)):
        page.locator(f"main [name={name}]").fill(text)
    page.get_by_role("button", name="Begin").click()
    page.wait_for_url("**/panel/")


def fill(folder: Path) -> None:
    """Have a fleet of print partners work since yesterday."""
    fleet = ["simulate", "--base-url", ADDRESS, "--database", url(folder), "--live"]
    plan = ["--start", "yesterday", "--items", "4000", "--items-per-day", "2400", "--seed", "4"]
    subprocess.run([COMMAND, *fleet, *plan, "--partners", "4"], check=True, cwd=folder)
    time.sleep(COUNTED_S)


def an_item(page: Page) -> str:
    """The page of an item that was shipped."""
    page.goto("/panel/items?state=shipped")
    return page.locator('tbody a[href*="/item?"]').first.get_attribute("href") or ""


def take(page: Page, picture: str, path: str) -> None:
    """A page on a desk and on a phone."""
    for name, size in ((picture, DESKTOP), (f"{picture}-phone", PHONE)):
        page.set_viewport_size(size)
        page.goto(path)
        page.wait_for_timeout(1000)
        page.screenshot(path=IMAGES / f"{name}.png", full_page=size is DESKTOP)


if __name__ == "__main__":
    main()

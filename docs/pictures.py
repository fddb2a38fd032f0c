"""Takes the pictures of the panel in docs/images/: a server with a simulated fleet, seen in Chromium.

Run by `make pictures`; it takes six minutes. What is on them is simulated, with days and times of now.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
from playwright.sync_api import Page, ViewportSize, sync_playwright

from cloudsignal.cli.simulate_orders import OWNER

IMAGES = Path(__file__).with_name("images")
COMMAND = str(Path(sys.executable).with_name("cloudsignal"))
PORT = 8765
ADDRESS = f"http://127.0.0.1:{PORT}"
DATABASE = "sqlite:///cloudsignal.db"
ENVIRONMENT = os.environ | {
    "CLOUDSIGNAL_DATABASE": DATABASE,
    "CLOUDSIGNAL_WEBHOOK_HTTP": "true",
    "CLOUDSIGNAL_WEBHOOK_NETWORKS": "127.0.0.0/8",
}
"""Every command finds the store in the folder in which it runs, and may tell owners on this machine."""
PASSWORD = "a password for pictures"
DESKTOP: ViewportSize = {"width": 1280, "height": 680}
PHONE: ViewportSize = {"width": 390, "height": 700}
PAGES = {
    "overview": "/panel/",
    "attention": "/panel/attention",
    "interface": "/panel/interfaces/1",
    "insight": "/panel/insight",
    "partner": "/panel/insight/3",
    "at-risk": "/panel/at-risk",
    "deliveries": "/panel/deliveries",
    "alerts": "/panel/alerts",
}
"""The pictures, and the pages that are on them."""
TALL = {"overview": 1260, "item": 1140, "partner": 1590}
"""How high those pictures are that show more than fits on a desk."""
FLEET = "--live --keep --partners 8 --duration 5m --seed 2"
COUNTED_S = 70
"""How long the bookkeeper may take until everything is counted, and every alert raised."""
RECEIVERS = {8766: [], 8767: ["--answer", "500"]}
"""Where the owner is told of cancellations: on which port, and how that answers."""
HOURS = {"registered": 24, "producing": 20, "produced": 16, "packed": 16}
"""For how many hours of work items may be in a state."""
WRONG = (
    {"type": "ItemShiped", "order": "123456780000", "item": "123456780001"},
    {
        "type": "ItemPacked",
        "order": "123456780000",
        "item": "123456780001",
        "datetime": "yesterday",
    },
    {"type": "ItemShipped", "order": "123456780000", "datetime": "2016-01-20 13:00:00 GMT"},
)
"""What a print partner sends that is refused."""


def main() -> None:
    """Take every picture anew."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        for port, answer in RECEIVERS.items():
            running.enter_context(started(folder, "listen", "--port", str(port), *answer))
        output = running.enter_context(started(folder, "serve", "--port", str(PORT)))
        browser = running.enter_context(sync_playwright()).chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport=DESKTOP, base_url=ADDRESS)
        set_up(page, link_in(output))
        fill(folder)
        for picture, path in (PAGES | {"item": an_item(page)}).items():
            take(page, picture, path)
        browser.close()


@contextmanager
def started(folder: Path, *words: str) -> Iterator[Path]:
    """A command that goes on meanwhile; the file that it writes to."""
    path = folder / f"output of {' '.join(words[:3])}"
    with path.open("w") as output:
        process = subprocess.Popen(
            [COMMAND, *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=ENVIRONMENT,
        )
        try:
            yield path
        finally:
            process.terminate()
            process.wait()


def run(folder: Path, *words: str) -> str:
    """Run a command to its end; what it prints."""
    done = subprocess.run(
        [COMMAND, *words], check=True, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE
    )
    return done.stdout.decode()


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
    """Have rules, an owner who is told, a fleet of print partners, and one that sends what is wrong."""
    for state, hours in HOURS.items():
        run(folder, "alert", "set", state, "--period", str(hours))
    run(folder, "owner", "create", OWNER)
    for port in RECEIVERS:
        told = ("--url", f"http://127.0.0.1:{port}/webhooks", "--type", "ItemCanceled")
        run(folder, "endpoint", "create", "--owner", OWNER, *told)
    run(folder, "simulate", "--base-url", ADDRESS, "--database", DATABASE, *FLEET.split())
    partner = ("--partner", "Druckhaus Nord", "--json")
    key = json.loads(run(folder, "interface", "create", *partner))["apikey"]
    for wrong in WRONG * 3:
        httpx2.post(f"{ADDRESS}/cloudsignal/2.0/status/", json={"apikey": key, **wrong})
    time.sleep(COUNTED_S)


def an_item(page: Page) -> str:
    """The page of an item that was delayed and goes on."""
    page.goto("/panel/items?state=packed&delayed=yes")
    return page.locator('tbody a[href*="/item?"]').first.get_attribute("href") or ""


def take(page: Page, picture: str, path: str) -> None:
    """A page on a desk and on a phone."""
    desktop: ViewportSize = {**DESKTOP, "height": TALL.get(picture, DESKTOP["height"])}
    for name, size in ((picture, desktop), (f"{picture}-phone", PHONE)):
        page.set_viewport_size(size)
        page.goto(path)
        page.wait_for_timeout(1000)
        page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()

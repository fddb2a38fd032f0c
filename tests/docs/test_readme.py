"""The path of five minutes: the fleet of the README shows what there is to see."""

import re
import shlex
from typing import get_args

from cloudsignal.cli.simulate_orders import OWNER
from cloudsignal.protocol.items import FINAL, State
from cloudsignal.server import clock
from cloudsignal.server.store.reading import ItemQuery
from tests.acceptance.conftest import Server, run
from tests.docs.pages import DOCS, ROOT, text

README = text(ROOT / "README.md")
FLEET = re.compile(r"^ *(?:\.venv/bin/)?cloudsignal (simulate .* --live .*)$", re.MULTILINE)


def test_the_fleet_is_that_of_the_page_about_simulations() -> None:
    assert FLEET.findall(README) == FLEET.findall(text(DOCS / "simulator.md")) != []


def test_the_fleet_shows_what_there_is_to_see(server: Server) -> None:
    [command] = FLEET.findall(README)
    assert "--duration 5m" in command
    words = shlex.split(command.replace("--duration 5m", "--duration 15s"))
    fewer = ("--items-per-day", "60", "--seed", "1", "--base-url", server.address)
    done = run(*words, *fewer, cwd=server.folder, env=server.environment)
    assert "Zero differences." in done.stdout

    with server.store() as store:
        items = store.reading.items(ItemQuery(test=False, limit=1000))
        orders = {each.order: each for each in store.orders.orders(OWNER, limit=1000)}
        calendars = store.calendars.calendars()
    assert {each.folded.state for each in items} >= {*get_args(State)} - {"unknown"}
    assert any(each.folded.is_delayed for each in items)
    assert not any("future_datetime" in each.folded.findings for each in items)
    assert {each.order for each in items} <= orders.keys()
    due = [orders[each.order].due or 0 for each in items if each.folded.state not in FINAL]
    assert min(due) < clock.now() < max(due)
    assert calendars.keys() == {each.partner_name for each in items}

"""Pages of the panel: how soon each is there when much is stored."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial

from benchmarks import workload
from benchmarks.asking import ask_on, measurement
from benchmarks.furnishing import count, furnish, watch
from benchmarks.looking import COOKIE, sign_in
from benchmarks.report import Fact
from benchmarks.rows import Measurement, Row
from benchmarks.servers import Server
from benchmarks.stores import Store
from cloudsignal.server.panel.places import PREFIX
from cloudsignal.server.store.store import open_store

SIGNALS, SIGNALS_QUICK = 10_000_000, 200_000
SHOWN = 3
"""Of how many pages it is told how long the first load took: those where it took longest."""
FIRST_MS_MAX = 200
PAGES = {
    "overview": "/",
    "overview, 30 days": "/?span=30d",
    "overview of a print partner": "/?partner=Benchmark&span=24h",
    "search": "/search?q={order}",
    "search, one character": "/search?q=1",
    "items": "/items",
    "items that are packed": "/items?state=packed",
    "items of a print partner": "/items?partner=Benchmark",
    "items of it that are producing": "/items?partner=Benchmark&state=producing",
    "items of it that are shipped": "/items?partner=Benchmark&state=shipped",
    "items of a small one": "/items?partner=Small",
    "items of it that are registered": "/items?partner=Small&state=registered",
    "delayed items of it": "/items?partner=Small&delayed=yes",
    "delayed items": "/items?delayed=yes",
    "test items": "/items?test=yes",
    "test items that are packed": "/items?test=yes&state=packed",
    "an item": "/item?order={order}&item={order}-1",
    "orders": "/orders",
    "orders of an owner": "/orders?owner=Owner",
    "an order": "/order?order={order}",
    "attention": "/attention",
    "stalled items": "/attention/stalled",
    "delayed past their announcement": "/attention/delayed",
    "shipped and canceled": "/attention/odd",
    "stalled no more": "/attention/cleared",
    "at risk": "/at-risk",
    "at risk, of a print partner": "/at-risk?partner=Benchmark",
    "overdue": "/at-risk?overdue=true",
    "overdue, of a small print partner": "/at-risk?overdue=true&partner=Small",
    "insight": "/insight",
    "insight of a print partner": "/insight/{partner}",
    "late signals of it": "/insight/{partner}/offending/slow",
    "open items of it": "/insight/{partner}/open/producing",
    "calendars": "/calendars",
    "a calendar": "/calendars/{partner}",
    "alerts": "/alerts",
    "messages of alerts": "/alerts/messages",
    "refused posts": "/refusals",
    "reasons of refused posts": "/refusals/reasons",
    "print partners": "/partners",
    "a print partner": "/partners/{partner}",
    "interfaces": "/interfaces",
    "an interface": "/interfaces/1",
    "owners": "/owners",
    "an owner": "/owners/1",
    "endpoints": "/endpoints",
    "an endpoint": "/endpoints/1",
    "how an endpoint is changed": "/endpoints/1/change",
    "a new endpoint": "/endpoints/new",
    "what waits for an endpoint": "/endpoints/1/waiting",
    "deliveries": "/deliveries",
    "deliveries that failed": "/deliveries?failed=true",
    "a delivery": "/deliveries/1",
    "deliveries of a webhook": "/endpoints/1/deliveries/message-1",
    "dead letters": "/dead-letters",
    "tokens": "/tokens",
    "users": "/users",
    "a user": "/users/1",
    "changes": "/changes",
    "settings": "/settings",
    "one's own account": "/account",
}
"""What is looked at below the panel's path: every page, and of lists the filters that matter."""


def prepare(store: Store) -> None:
    """Let a store that is full have everything that pages show, counted and watched."""
    sign_in(store.place)
    furnish(store)
    count(store.place)
    watch(store.place)


def page_rows(store: Store, server: Server, seconds: int) -> list[Row]:
    """One who loads a page again and again."""
    return [
        Row("r", f"{title}, {store.signals:,} signals", None, partial(load, server, path, seconds))
        for title, path in paths(store).items()
    ]


def paths(store: Store) -> dict[str, str]:
    """Where the pages are, of a store."""
    with closing(open_store(store.place.url)) as opened:
        partner = opened.access.partner("Benchmark").id
    order = workload.order_id(store.first_item)
    return {
        title: f"{PREFIX}{path.format(order=order, partner=partner)}"
        for title, path in PAGES.items()
    }


def first_load(server: Server, path: str) -> float:
    """How soon a page is there that nobody has looked at before, in milliseconds."""
    took_s, _ = ask_on(server, COOKIE, lambda: (path, is_there), 0)
    return took_s[0] * 1000


def load(server: Server, path: str, seconds: float) -> Measurement:
    """How soon a page is there, and how often it was not."""
    took_s, wrong = ask_on(server, COOKIE, lambda: (path, is_there), seconds)
    return measurement(took_s, server.peak_rss_mb(), errors=wrong)


def is_there(status: int, _: bytes) -> bool:
    return status == 200


def first_loads(store: Store, server: Server) -> Iterator[Fact]:
    """How long the very first load of a page took after the start, of those where that was longest."""
    load(server, f"{PREFIX}/login", 0)  # Or the first one would wait until the panel is imported.
    found = [(first_load(server, path), title) for title, path in paths(store).items()]
    for took_ms, title in sorted(found, reverse=True)[:SHOWN]:
        name = f"first load of a page{store.home.where}: {title}, {store.signals:,} signals"
        yield Fact(name, took_ms, "ms", FIRST_MS_MAX)

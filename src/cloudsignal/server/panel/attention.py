"""What needs a hand: items that are stalled, overdue or odd, refused posts, dead letters."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

from litestar import Response, get
from msgspec import Struct

from cloudsignal.server.clock import now
from cloudsignal.server.panel import overview, pages, refusals
from cloudsignal.server.panel.access import READER_OR_PARTNER
from cloudsignal.server.panel.pages import Asked, page
from cloudsignal.server.panel.roles import Scope
from cloudsignal.server.store import open_items
from cloudsignal.server.store.attention import KINDS, Kind, Place, Total
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.open_items import OpenItem
from cloudsignal.server.store.store import Store

FIRST: Final = 5
"""How many of each list are on the page that has them all."""
PAGE: Final = 50
BEHIND_US: Final = 60 * 1_000_000
"""How long signals may wait to be counted before that is said."""
_PLACE: Final = re.compile(r"(-?[0-9]{1,18})\.([0-9]{1,18})")


class About(Struct, frozen=True):
    """A list of items: what it is called, and what is in it."""

    title: str
    about: str


LISTS: Final[dict[Kind, About]] = {
    "stalled": About("Stalled", "Not heard of for longer than the rules of alerts allow."),
    "delayed": About("Past their announcement", "Open, and the delay that was announced is over."),
    "odd": About("Shipped and canceled", "Both was reported: somebody has to say which is true."),
}


class Overdue(Struct, frozen=True):
    """How many open items should have been shipped, and those that were due last; also such as nobody reported."""

    total: Total
    items: list[OpenItem]


class Line(Struct, frozen=True):
    """One thing that is counted: what it is called, how many there are, and the page that shows them."""

    name: str
    total: Total
    path: str


class Tally(Struct, frozen=True):
    """What is counted elsewhere, line by line."""

    name: str
    title: str
    about: str
    lines: list[Line]

    @property
    def total(self) -> Total:
        """How many there are in all."""
        counts = [each.total for each in self.lines]
        return Total(sum(each.number for each in counts), any(each.is_more for each in counts))


def refused_posts(store: Store, scope: Scope) -> Tally:
    """Posts that were refused in the last day, by print partner and reason."""
    names = [scope.partner] if scope.partner else [each.name for each in store.access.partners()]
    found = refusals.reasons(store, names)
    if not scope.is_narrow:
        found += refusals.reasons_of_strangers(store)
    return Tally(
        "refused",
        "Refused posts",
        "What was sent in the last day and not taken: who sent it has to mend something, or it is lost.",
        [_refused(each) for each in found if each.day],
    )


def _refused(reason: refusals.Reason) -> Line:
    choice = refusals.Choice(reason.partner, reason=reason.type)
    name = f"{reason.partner or 'Nobody known'}: {reason.type}"
    return Line(name, Total(reason.day), f"/refusals?{choice.query()}")


def dead_letters(store: Store, scope: Scope) -> Tally | None:
    """Deliveries that were given up, by endpoint."""
    if scope.is_narrow:
        return None
    lines = [
        Line(
            f"{each.owner_name}: {each.shown}",
            each.total,
            f"/dead-letters?endpoint={each.endpoint}",
        )
        for each in store.attention.dead_letters()
    ]
    return Tally(
        "dead", "Dead letters", "Webhooks that no owner took, given up after a week.", lines
    )


TALLIES: Final[tuple[Callable[[Store, Scope], Tally | None], ...]] = (refused_posts, dead_letters)
"""What is counted beside items; None for those who do not see it."""


@get("/attention", guards=[READER_OR_PARTNER])
async def show_attention(request: Asked) -> Response[Any]:
    """What needs a hand: of each list how many there are, and the first."""
    store, scope = request.app.state.store, pages.scope(request)
    parts = store.attention.parts
    found = await asyncio.to_thread(parts, partner=scope.partner, now=now(), first=FIRST)
    overdue = await asyncio.to_thread(_overdue, store, scope, now())
    told = await asyncio.to_thread(_tallies, store, scope)
    behind = await asyncio.to_thread(_counts_are_old, store)
    return page(
        request,
        "attention.html",
        lists=LISTS,
        parts=found,
        overdue=overdue,
        tallies=told,
        counts_are_old=behind,
    )


@get("/attention/cleared", guards=[READER_OR_PARTNER])
async def list_cleared(request: Asked, before: str | None = None) -> Response[Any]:
    """Items that are stalled no more, the last one first, and why."""
    store, scope = request.app.state.store, pages.scope(request)
    cleared = store.attention.cleared
    found = await asyncio.to_thread(
        cleared, partner=scope.partner, before=_place(before), limit=PAGE
    )
    next = f"{found[-1].cleared}.{found[-1].id}" if len(found) == PAGE else None
    return page(request, "cleared.html", alerts=found, next=next)


@get("/attention/{kind:str}", guards=[READER_OR_PARTNER])
async def list_cases(request: Asked, kind: str, after: str | None = None) -> Response[Any]:
    """One of the lists, page by page."""
    store, scope = request.app.state.store, pages.scope(request)
    chosen = _kind(kind)
    cases = store.attention.cases
    found = await asyncio.to_thread(
        cases, chosen, partner=scope.partner, now=now(), after=_place(after), limit=PAGE
    )
    next = "{}.{}".format(*found[-1].place) if len(found) == PAGE else None
    about = LISTS[chosen]
    return page(request, "cases.html", kind=chosen, about=about, cases=found, next=next)


def _overdue(store: Store, scope: Scope, now: int) -> Overdue:
    read = store.open_items.due_before
    items = read(open_items.Place(now), partner=scope.partner, limit=FIRST)
    total = overview.overdue(store, scope.partner, now=now)
    return Overdue(Total(total), [each for each in items if each.folded.final is None])


def _kind(name: str) -> Kind:
    """The list of that name. Raises NotFound."""
    for each in KINDS:
        if each == name:
            return each
    raise NotFound(f"there is no list {name!r}")


def _place(text: str | None) -> Place | None:
    """Where a page begins. Raises NotFound."""
    if text is None:
        return None
    match = _PLACE.fullmatch(text)
    if match is None:
        raise NotFound(f"there is no place {text!r}")
    return int(match[1]), int(match[2])


def _tallies(store: Store, scope: Scope) -> list[Tally]:
    found = (each(store, scope) for each in TALLIES)
    return [each for each in found if each is not None]


def _counts_are_old(store: Store) -> bool:
    since = store.rollups.waiting_since()
    return since is not None and since < now() - BEHIND_US


ROUTES: Final = [show_attention, list_cleared, list_cases]

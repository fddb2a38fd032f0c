"""What needs a hand: items that are stalled, overdue or odd, refused posts, dead letters."""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final

from litestar import Response, get
from msgspec import Struct

from cloudsignal.protocol.units import HOUR_S
from cloudsignal.server.clock import now
from cloudsignal.server.panel import overview, pages, refusals
from cloudsignal.server.panel.access import READER_OR_PARTNER
from cloudsignal.server.panel.lists import Column, Listing, listed, table
from cloudsignal.server.panel.pages import Asked, page
from cloudsignal.server.panel.places import item_path, order_path
from cloudsignal.server.panel.roles import Scope
from cloudsignal.server.store import open_items
from cloudsignal.server.store.alerts import Alert
from cloudsignal.server.store.attention import KINDS, Case, Kind, Place, Total
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.open_items import OpenItem
from cloudsignal.server.store.store import Store

FIRST: Final = 5
"""How many of each list are on the page that has them all."""
_PLACE: Final = re.compile(r"(-?[0-9]{1,18})\.([0-9]{1,18})")


ITEM: Final[tuple[Column[Any], ...]] = (
    Column("Item", lambda each: each.item, to=lambda each: item_path(each.order, each.item)),
    Column("Order", lambda each: each.order, to=lambda each: order_path(each.order)),
    Column("Print partner", lambda each: each.partner_name),
    Column("State", lambda each: each.state, "state"),
)
"""What is told of the item of a case or of an alert."""
SINCE: Final = Column[Case]("Last heard of, UTC", lambda each: each.since, "instant")


def _cases(kind: Kind, title: str, *more: Column[Case]) -> Listing[Case]:
    return Listing[Case](
        path=f"/attention/{kind}",
        title=title,
        columns=(*ITEM, SINCE, *more),
        turn="after",
        place=lambda each: "{}.{}".format(*each.place),
    )


DUE: Final = Column[Case]("Due, UTC", lambda each: each.due, "instant")
LISTS: Final[dict[Kind, Listing[Case]]] = {
    "stalled": _cases(
        "stalled",
        "Stalled",
        Column("May take, hours", lambda each: f"{(each.limit_s or 0) / HOUR_S:g}"),
        Column("Alert since, UTC", lambda each: each.raised, "instant"),
    ),
    "delayed": _cases(
        "delayed",
        "Past their announcement",
        DUE,
        Column("Announced until, UTC", lambda each: each.announced, "instant"),
    ),
    "odd": _cases("odd", "Shipped and canceled", DUE),
}
ABOUT: Final[dict[Kind, str]] = {
    "stalled": "Not heard of for longer than the rules of alerts allow.",
    "delayed": "Open, and the delay that was announced is over.",
    "odd": "Both was reported: somebody has to say which is true.",
}
CLEARED: Final = Listing[Alert](
    path="/attention/cleared",
    title="Stalled no more",
    columns=(
        *ITEM,
        Column("Since, UTC", lambda each: each.since, "instant"),
        Column("Raised, UTC", lambda each: each.raised, "instant"),
        Column("Cleared, UTC", lambda each: each.cleared, "instant"),
        Column("Why", lambda each: each.why),
    ),
    turn="before",
    place=lambda each: f"{each.cleared}.{each.id}",
)


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
    behind = await asyncio.to_thread(store.rollups.is_behind, now())
    return page(
        request,
        "attention.html",
        lists={kind: table(listing, found[kind].cases, scope) for kind, listing in LISTS.items()},
        totals={kind: part.total for kind, part in found.items()},
        about=ABOUT,
        overdue=overdue,
        tallies=told,
        counts_are_old=behind,
    )


@get("/attention/cleared", guards=[READER_OR_PARTNER])
async def list_cleared(request: Asked, before: str | None = None) -> Response[Any]:
    """Items that are stalled no more, the last one first, and why."""
    store: Store = request.app.state.store
    partner = pages.scope(request).partner

    def cleared(*, before: str | None = None, limit: int) -> list[Alert]:
        return store.attention.cleared(partner=partner, before=_place(before), limit=limit)

    return await listed(request, CLEARED, cleared, "cleared.html", at=before)


@get("/attention/{kind:str}", guards=[READER_OR_PARTNER])
async def list_cases(request: Asked, kind: str, after: str | None = None) -> Response[Any]:
    """One of the lists, page by page."""
    store: Store = request.app.state.store
    partner = pages.scope(request).partner
    chosen, instant = _kind(kind), now()

    def cases(*, after: str | None = None, limit: int) -> list[Case]:
        return store.attention.cases(
            chosen, partner=partner, now=instant, after=_place(after), limit=limit
        )

    told = {"about": ABOUT[chosen]}
    return await listed(request, LISTS[chosen], cases, "cases.html", at=after, **told)


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


ROUTES: Final = [show_attention, list_cleared, list_cases]

"""When open items will be shipped: those at risk of missing their due date, and all that wait in a state."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any, Final

from litestar import Response, get
from litestar.params import QueryParameter
from msgspec import Struct

from cloudsignal.server.figures import OPEN_STATES
from cloudsignal.server.insight.outlook import INTERVAL, SAFE_CHANCE, Outlook
from cloudsignal.server.panel.access import READER_OR_PARTNER
from cloudsignal.server.panel.insight import (
    counted_page,
    partner_seen,
    reckoner,
)
from cloudsignal.server.panel.lists import Column, Listing, Part, exported, wants_csv
from cloudsignal.server.panel.pages import (
    NUMBER_MAX,
    Asked,
    chosen_partner,
    partner_names,
    scope,
)
from cloudsignal.server.store import open_items
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.open_items import OpenItem
from cloudsignal.server.store.store import Store

PAGE: Final = 50
LOOKED_AT: Final = 500
"""How many open items a page looks at to find ``PAGE`` that are meant."""

Place = Annotated[int, QueryParameter(ge=0, le=NUMBER_MAX)]
# Its limits count for all of it: those of a part of a union would not.
Moment = Annotated[int | None, QueryParameter(ge=0, le=NUMBER_MAX)]
Id = Annotated[str, QueryParameter(max_length=128)]
Read = Callable[..., list[OpenItem]]
"""Reads open items beyond a place: at most ``limit``."""


class Expected(Struct, frozen=True):
    """An open item and its outlook."""

    item: OpenItem
    outlook: Outlook

    @property
    def is_at_risk(self) -> bool:
        """Whether it will probably miss its due date; or nothing at all is known of whether it will be kept."""
        is_unknown = self.item.is_unheard and not self.outlook.precedents
        return self.outlook.is_at_risk or is_unknown

    @property
    def state(self) -> str:
        """How it stands, in words."""
        if self.item.is_unheard:
            return "no signal yet"
        return self.item.folded.state + (", delayed" if self.item.folded.is_delayed else "")


class Found(Struct, frozen=True):
    """Items with their outlook at an instant: those that are meant of so many that were ``looked_at``.

    ``last`` is the last of those, and ``is_more`` whether there are others after it.
    """

    now: int
    expected: Sequence[Expected]
    looked_at: int
    last: OpenItem | None
    is_more: bool

    @property
    def next_due(self) -> dict[str, str]:
        """What of a URL leads on from the last of them, in a list by when they are due."""
        place = _due_place(self.last) if self.last else open_items.Place(0)
        return {name: str(value) for name, value in place._asdict().items()}

    @property
    def horizon(self) -> int:
        """When nine of ten of the items are over, due or not: where pictures of them may end."""
        ends = sorted(_end(each.outlook) or self.now for each in self.expected)
        return ends[len(ends) * 9 // 10] if ends else self.now


EXPECTED: Final = Listing[Expected](
    path="/at-risk",
    title="Open items",
    columns=(
        Column("Item", lambda each: each.item.item),
        Column("Order", lambda each: each.item.order),
        Column("Print partner", lambda each: each.item.partner_name),
        Column("State", lambda each: each.state),
        Column("Last heard of, UTC", lambda each: each.item.since, "instant"),
        Column("Due, UTC", lambda each: each.item.due, "instant"),
        Column("Chance", lambda each: _share(each.outlook.chance)),
        Column("Expected, UTC", lambda each: each.outlook.expected, "instant"),
        Column("Earliest, UTC", lambda each: each.outlook.earliest, "instant"),
        Column("Latest, UTC", lambda each: each.outlook.latest, "instant"),
        Column("Earlier ones", lambda each: each.outlook.precedents),
    ),
    turn="place",
)
"""As a file: the pages have pictures."""


def _share(chance: float | None) -> str:
    return "" if chance is None else f"{chance:.2f}"


def _due_place(item: OpenItem) -> open_items.Place:
    return item.place(item.due or 0)


def _end(outlook: Outlook) -> int | None:
    known = (outlook.latest, outlook.expected, outlook.due)
    return max((each for each in known if each is not None), default=None)


@get("/at-risk", guards=[READER_OR_PARTNER])
async def list_at_risk(
    request: Asked,
    partner: str = "",
    overdue: bool = False,
    at: Moment = None,
    number: Place = 0,
    order: Id = "",
    item: Id = "",
) -> Response[Any]:
    """Items that will probably miss their due date, the next first; or those that have, the last first.

    Of all print partners, or of the one that is chosen.
    """
    store: Store = request.app.state.store
    since = reckoner(request).now() if at is None else at
    place = open_items.Place(since, number, order, item)
    listed = store.open_items.due_before if overdue else store.open_items.due_from
    chosen = await chosen_partner(request, partner)
    read = partial(listed, partner=chosen)
    find = partial(_find, request, read, lambda each: each.is_at_risk)
    return await _listed(
        request,
        "at_risk.html",
        find,
        place,
        _due_place,
        overdue=overdue,
        given={"partner": partner},
        partners=await partner_names(request),
    )


@get("/insight/{number:int}/open/{where:str}", guards=[READER_OR_PARTNER])
async def list_waiting(
    request: Asked, number: int, where: str, at: Place = 0, item: Place = 0
) -> Response[Any]:
    """A print partner's items in a state, those first of which nothing was heard for the longest time."""
    partner = await partner_seen(request, number)
    if where not in OPEN_STATES:
        raise NotFound(f"nothing waits in a state {where!r}")
    store: Store = request.app.state.store
    place = open_items.Place(at, item)
    read = partial(store.open_items.waiting, where, partner=partner.name)
    find = partial(_find, request, read, lambda each: True)
    told = {"partner": partner, "where": where}
    return await _listed(
        request, "waiting_items.html", find, place, lambda last: last.place(last.since), **told
    )


def _find(
    request: Asked,
    read: Read,
    is_meant: Callable[[Expected], bool],
    place: open_items.Place,
    most: int,
) -> Found:
    """The next of those that are meant beyond a place, at most so many, among those that are read."""
    # Of two print partners, what all take tells each how long the other does.
    outlook = partial(reckoner(request).outlook, own_only=scope(request).is_narrow)
    items = read(place, limit=LOOKED_AT)
    expected: list[Expected] = []
    looked_at = 0
    while looked_at < len(items) and len(expected) < most:
        item = items[looked_at]
        looked_at += 1
        each = Expected(item, outlook(item))
        if item.folded.final is None and is_meant(each):
            expected.append(each)
    return Found(
        now=reckoner(request).now(),
        expected=expected,
        looked_at=looked_at,
        last=items[looked_at - 1] if items else None,
        is_more=looked_at < len(items) or looked_at == LOOKED_AT,
    )


async def _listed(
    request: Asked,
    template: str,
    find: Callable[[open_items.Place, int], Found],
    begin: open_items.Place,
    place_of: Callable[[OpenItem], open_items.Place],
    **values: Any,
) -> Response[Any]:
    """What is found from a place on as a page, or all of it as CSV if that is asked for."""

    def read(*, place: open_items.Place = begin, limit: int) -> Part[Expected] | Sequence[Expected]:
        found = find(place, limit)
        if found.last is None or not found.is_more:
            return found.expected
        return Part(found.expected, place_of(found.last))

    if wants_csv(request):
        return await exported(request, EXPECTED, read)
    found = await asyncio.to_thread(find, begin, PAGE)
    rules = {"interval": INTERVAL, "safe_chance": SAFE_CHANCE, "looked_at_max": LOOKED_AT}
    return await counted_page(request, template, found=found, **rules, **values)


ROUTES: Final = [list_at_risk, list_waiting]

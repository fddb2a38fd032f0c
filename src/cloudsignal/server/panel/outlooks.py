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
from cloudsignal.server.panel.pages import NUMBER_MAX, Asked, scope
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
"""Reads open items: at most ``limit``."""


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
        if self.last is None or self.last.due is None:
            return {}
        place = self.last.place(self.last.due)
        return {name: str(value) for name, value in place._asdict().items()}

    @property
    def horizon(self) -> int:
        """When nine of ten of the items are over, due or not: where pictures of them may end."""
        ends = sorted(_end(each.outlook) or self.now for each in self.expected)
        return ends[len(ends) * 9 // 10] if ends else self.now


def _end(outlook: Outlook) -> int | None:
    known = (outlook.latest, outlook.expected, outlook.due)
    return max((each for each in known if each is not None), default=None)


@get("/at-risk", guards=[READER_OR_PARTNER])
async def list_at_risk(
    request: Asked,
    overdue: bool = False,
    at: Moment = None,
    number: Place = 0,
    order: Id = "",
    item: Id = "",
) -> Response[Any]:
    """Items that will probably miss their due date, the next first; or those that have, the last first."""
    store: Store = request.app.state.store
    since = reckoner(request).now() if at is None else at
    place = open_items.Place(since, number, order, item)
    listed = store.open_items.due_before if overdue else store.open_items.due_from
    read = partial(listed, place, partner=scope(request).partner)
    found = await asyncio.to_thread(_find, request, read, lambda each: each.is_at_risk)
    return await _listed(request, "at_risk.html", found, overdue=overdue)


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
    read = partial(store.open_items.waiting, where, place, partner=partner.name)
    found = await asyncio.to_thread(_find, request, read, lambda each: True)
    return await _listed(request, "waiting_items.html", found, partner=partner, where=where)


def _find(request: Asked, read: Read, is_meant: Callable[[Expected], bool]) -> Found:
    """The next of those that are meant, among so many that are read."""
    # Of two print partners, what all take tells each how long the other does.
    outlook = partial(reckoner(request).outlook, own_only=scope(request).is_narrow)
    items = read(limit=LOOKED_AT)
    expected: list[Expected] = []
    looked_at = 0
    while looked_at < len(items) and len(expected) < PAGE:
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


async def _listed(request: Asked, template: str, found: Found, **values: Any) -> Response[Any]:
    rules = {"interval": INTERVAL, "safe_chance": SAFE_CHANCE, "looked_at_max": LOOKED_AT}
    return await counted_page(request, template, found=found, **rules, **values)


ROUTES: Final = [list_at_risk, list_waiting]

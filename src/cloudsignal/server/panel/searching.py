"""The search of every page: orders, items, parcels and references, by one text."""

import asyncio
from functools import partial
from typing import Any, Final

from litestar import Response, get
from msgspec.structs import asdict

from cloudsignal.server.panel.access import IN_SCOPE
from cloudsignal.server.panel.lists import AS, Column, Listing, listed
from cloudsignal.server.panel.pages import Asked, scope, to
from cloudsignal.server.panel.places import item_path, order_path
from cloudsignal.server.store.search import LIMIT_MAX, Hit, Kind

WORDS: Final[dict[Kind, str]] = {
    "order": "order",
    "item": "item",
    "parcel": "parcel",
    "order_reference": "reference of an order",
    "item_reference": "reference of an item",
}
"""What was found, for people."""


def path_of(hit: Hit) -> str:
    """The page of what was found."""
    return order_path(hit.order) if hit.item is None else item_path(hit.order, hit.item)


HITS: Final = Listing[Hit](
    path="/search",
    title="Found",
    fields=("q",),
    columns=(
        Column("Is called", lambda each: each.text, to=path_of),
        Column("What", lambda each: WORDS[each.kind]),
        Column("Order", lambda each: each.order, to=lambda each: order_path(each.order)),
        Column("Item", lambda each: each.item),
    ),
)


@get("/search", guards=[IN_SCOPE])
async def search(request: Asked, q: str = "") -> Response[Any]:
    """What is called so, or begins so; where it is one thing only, straight to that."""
    find = partial(request.app.state.store.search.find, q, **asdict(scope(request)))
    found = await asyncio.to_thread(find, limit=LIMIT_MAX)
    if len(found) == 1 and AS not in request.query_params:
        return to(path_of(found[0]))
    is_cut = len(found) == LIMIT_MAX
    return await listed(request, HITS, lambda limit: found, "search.html", is_cut=is_cut)


ROUTES: Final = [search]

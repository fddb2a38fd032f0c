"""The list of items, and by what they are chosen."""

from collections.abc import Mapping, Sequence
from datetime import UTC
from functools import partial
from typing import Any, Final, get_args

from litestar import Response, get

from cloudsignal.protocol import datetimes
from cloudsignal.protocol.items import State
from cloudsignal.server.panel.access import IN_SCOPE
from cloudsignal.server.panel.lists import Column, Listing, Part, listed
from cloudsignal.server.panel.pages import Asked, Before, partner_names, scope
from cloudsignal.server.panel.places import item_path, order_path
from cloudsignal.server.panel.roles import Scope
from cloudsignal.server.panel.standing import columns
from cloudsignal.server.rules import Unfit
from cloudsignal.server.store.reading import ItemQuery, StoredItem
from cloudsignal.server.store.store import Store


def _itself(row: StoredItem) -> StoredItem | None:
    return row


ITEMS: Final = Listing[StoredItem](
    path="/items",
    title="Items",
    fields=("state", "partner", "delayed", "test", "since", "until", "order"),
    columns=(
        Column("Item", lambda each: each.item, to=lambda each: item_path(each.order, each.item)),
        Column("Order", lambda each: each.order, to=lambda each: order_path(each.order)),
        *columns(_itself),
    ),
    turn="before",
    place=lambda each: each.position,
    saves=True,
)

STATES: Final = get_args(State)
ANSWERS: Final = {"": None, "yes": True, "no": False}
DATE_CHARS: Final = len("2016-01-20")


@get("/items", guards=[IN_SCOPE])
async def list_items(request: Asked, before: Before = None) -> Response[Any]:
    """Items, the last changed first."""
    store: Store = request.app.state.store
    seen = scope(request)
    names = await partner_names(request)
    read = partial(_items, store, ITEMS.given(request), seen, names)
    told: dict[str, Any] = {"states": STATES, "partners": names}
    return await listed(request, ITEMS, read, "items.html", at=before, **told)


def _items(
    store: Store,
    given: Mapping[str, str],
    seen: Scope,
    partners: list[str],
    *,
    before: int | None = None,
    limit: int,
) -> list[StoredItem] | Part[StoredItem]:
    _check_choice("state", given["state"], STATES)
    _check_choice("print partner", given["partner"], partners)
    query = ItemQuery(
        order=given["order"] or None,
        state=given["state"] or None,
        partner=seen.partner or given["partner"] or None,
        owner=seen.owner,
        delayed=_answer("delayed", given["delayed"]),
        test=_answer("test", given["test"]),
        since=_instant("Since", given["since"]),
        until=_instant("Until", given["until"]),
        before=before,
        limit=limit,
    )
    found = store.reading.look_for(query)
    if found.down_to is None or len(found.items) == limit:
        return found.items
    return Part(found.items, found.down_to)


def _check_choice(what: str, chosen: str, choices: Sequence[str]) -> None:
    """Make sure that what was chosen is there, if anything was. Raises Unfit."""
    if chosen and chosen not in choices:
        raise Unfit(f"There is no {what} {chosen!r}.")


def _answer(name: str, chosen: str) -> bool | None:
    """Whether something has to be so. Raises Unfit."""
    _check_choice(f"{name}:", chosen, list(ANSWERS))
    return ANSWERS[chosen]


def _instant(name: str, written: str) -> int | None:
    """The instant that is written, a date for its begin, in UTC unless it says otherwise. Raises Unfit."""
    if not written:
        return None
    try:
        return datetimes.parse(f"{written}T00:00" if len(written) == DATE_CHARS else written, UTC)
    except ValueError as error:
        raise Unfit(f"{name}: {error}.") from None


ROUTES: Final = [list_items]

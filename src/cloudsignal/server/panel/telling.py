"""What the pages have in common that are about telling order owners: whose endpoints are seen, and who may act."""

from typing import Annotated, Any, Final
from urllib.parse import quote

from litestar.params import QueryParameter

from cloudsignal.server.delivery.desk import Desk
from cloudsignal.server.panel import pages
from cloudsignal.server.panel.access import seen_by
from cloudsignal.server.panel.pages import Asked
from cloudsignal.server.panel.roles import Who, may
from cloudsignal.server.store.deliveries import Attempted, Noted, NotedState
from cloudsignal.server.store.delivery_log import Place
from cloudsignal.server.store.endpoints import Endpoint
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.store import Store

MENDERS: Final[tuple[Who, ...]] = ("operator", "owner")
"""Owners too, at their own endpoints: whoever mends a receiver at night needs it."""
SEES: Final = seen_by("reader", "owner")
"""A guard of what is only looked at."""
MENDS: Final = seen_by(*MENDERS)
"""A guard of what sees to it that owners are told."""
PAGE: Final = 50
"""How much a page lists at most."""
RESTS: Final = ("paused", "disabled")
"""The states in which nothing is posted to an endpoint."""
CHOICE_MAX: Final = 500
"""Among how many endpoints can be chosen."""

Chosen = Annotated[str, QueryParameter(pattern=r"^[0-9]{0,15}$")]
"""The number of an endpoint that was chosen in a form, empty for all."""
BeforePlace = Annotated[
    str, QueryParameter(pattern=r"^([0-9]{1,15},[0-9]{1,15},[0-9a-z_]{1,64})?$")
]
"""A page lists what comes before the place that is written so, empty for the newest."""


def endpoint_of(request: Asked, number: int) -> Endpoint:
    """The endpoint of that number, as it is seen by whoever asks. Raises NotFound and StoreUnavailable."""
    owner = pages.scope(request).owner
    found = _store(request).endpoints.endpoint(number)
    if owner not in (None, found.owner_name):
        raise NotFound(f"there is no endpoint {number}")
    return found


def endpoint_then(request: Asked, number: int) -> Endpoint | None:
    """The same, None if it may be one that is removed. Raises NotFound and StoreUnavailable.

    Whose such a one was is not known: it is for those who see everything.
    """
    try:
        return endpoint_of(request, number)
    except NotFound:
        if pages.scope(request).is_narrow:
            raise
        return None


def endpoints_of(request: Asked) -> dict[int, Endpoint]:
    """The endpoints that are seen by whoever asks, by their numbers. Raises StoreUnavailable."""
    found = _store(request).endpoints.endpoints(pages.scope(request).owner)
    return {each.id: each for each in found}


def attempts_of(
    request: Asked, endpoint: int | None, *, limit: int = PAGE, **chosen: Any
) -> list[Attempted]:
    """The newest attempts at an endpoint, which whoever asks does see, or at all that they see.

    Raises StoreUnavailable.
    """
    attempts = _store(request).delivery_log.attempts
    if endpoint is not None or not pages.scope(request).is_narrow:
        return attempts(endpoint=endpoint, limit=limit, **chosen)
    # One after the other: each is found by an index, and whoever sees some only has few.
    found = (attempts(endpoint=each, limit=limit, **chosen) for each in endpoints_of(request))
    listed = [attempt for its in found for attempt in its]
    return sorted(listed, key=lambda each: each.id, reverse=True)[:limit]


def noted_of(
    request: Asked, endpoint: int | None, *states: NotedState, before: str = "", limit: int = PAGE
) -> list[Noted]:
    """What is noted in these states at an endpoint, which whoever asks does see, or at all: the newest first.

    Raises StoreUnavailable.
    """
    seen = endpoints_of(request) if pages.scope(request).is_narrow else None
    chosen = seen if endpoint is None else [endpoint]
    place = _place(before) if before else None
    newest = _store(request).delivery_log.newest
    return newest(*states, endpoints=chosen, before=place, limit=limit)


def next_of(listed: list[Noted]) -> str:
    """Before what the next page is, empty if there is none."""
    if len(listed) < PAGE:
        return ""
    return place_of(listed[-1])


def place_of(noted: Noted) -> str:
    """The place of what is noted, as a page lists what comes before it."""
    return f"{noted.endpoint},{noted.position},{noted.message}"


def path_of(endpoint: int, message: str, *, after: int) -> str:
    """The page of a delivery, on the way to the next attempt ``after`` that of a number."""
    return f"/endpoints/{endpoint}/deliveries/{quote(message, safe='')}?after={after}"


def desk_of(request: Asked) -> Desk:
    """The desk, where what is changed is noted as the doing of who is signed in."""
    desk: Desk = request.app.state.desk
    return desk.by(pages.actor(request))


def rights(request: Asked) -> dict[str, bool]:
    """What whoever asks may do, for the templates: administer, or at least mend."""
    user = request.user.user
    return {"administers": may(user, "operator"), "mends": may(user, *MENDERS)}


def _store(request: Asked) -> Store:
    store: Store = request.app.state.store
    return store


def _place(written: str) -> Place:
    endpoint, position, message = written.split(",")
    return Place(int(endpoint), int(position), message)

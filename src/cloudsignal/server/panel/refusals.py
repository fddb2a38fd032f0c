"""The pages of refused posts: by print partner and reason, which they were, and what each reason means."""

import asyncio
import re
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

from litestar import Response, get
from msgspec import Struct

from cloudsignal.protocol.refusals import ERROR_TYPES
from cloudsignal.protocol.units import DAY_US
from cloudsignal.server.clock import now
from cloudsignal.server.insight.reporting import is_own_fault
from cloudsignal.server.panel.access import READER_OR_PARTNER
from cloudsignal.server.panel.lists import Column, Listing, exported, wants_csv
from cloudsignal.server.panel.pages import Asked, Before, page, scope
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.posts import REFUSALS_MAX, Count, RefusedPost
from cloudsignal.server.store.store import Store

PAGE: Final = 20
REASONS_MAX: Final = 50
"""How many reasons of print partners, or places of strangers, are listed: those with the most posts."""
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,14}")


class Reason(Struct, frozen=True):
    """Why posts were refused, of one print partner or of strangers, and how many in the last day and in seven."""

    partner: str
    type: str
    day: int
    week: int
    last: int


class Choice(Struct, frozen=True):
    """What is chosen of refused posts; empty for all."""

    partner: str = ""
    interface: str = ""
    reason: str = ""
    scored: str = ""

    def query(self, **other: Any) -> str:
        """The same choice in a URL, with something else besides or instead."""
        given = {name: getattr(self, name) for name in self.__struct_fields__} | other
        return urlencode({name: value for name, value in given.items() if value})

    @property
    def is_any(self) -> bool:
        """Whether anything is chosen."""
        return self != Choice()


REFUSED: Final = Listing[RefusedPost](
    path="/refusals",
    title="Refused posts",
    columns=(
        Column("When, UTC", lambda each: each.at, "instant"),
        Column("Print partner", lambda each: each.partner_name),
        Column("Interface", lambda each: each.interface),
        Column("From", lambda each: each.address),
        Column("Status", lambda each: each.status),
        Column("Reason", lambda each: each.type),
        Column("What was answered", lambda each: "; ".join(one.info for one in each.problems)),
        Column("What was sent", lambda each: each.body),
    ),
    turn="before",
    place=lambda each: each.id,
)
"""As a file: the page shows each as a card."""


@get("/refusals", guards=[READER_OR_PARTNER])
async def list_refused(
    request: Asked,
    partner: str = "",
    interface: str = "",
    reason: str = "",
    scored: bool = False,
    before: Before = None,
) -> Response[Any]:
    """Why posts were refused, and which, the newest first."""
    choice = Choice(partner, interface.strip(), reason, "true" if scored else "")
    own = scope(request).partner
    if wants_csv(request):
        return await exported(
            request, REFUSED, partial(_refused, request.app.state.store, choice, own)
        )
    shown = await asyncio.to_thread(_shown, request.app.state.store, choice, own, before)
    return page(request, "refusals.html", choice=choice, own=own, before=before, **shown)


@get("/refusals/reasons", guards=[READER_OR_PARTNER])
async def list_reasons(request: Asked) -> Response[Any]:
    """Every reason for which a post is refused, and what to do about it."""
    all = {name: (each, is_own_fault(name)) for name, each in ERROR_TYPES.items()}
    return page(request, "reasons.html", reasons=all)


def _refused(
    store: Store,
    choice: Choice,
    own: str | None,
    *,
    before: int | None = None,
    limit: int,
) -> list[RefusedPost]:
    """The refused posts that are chosen, of one's ``own`` print partner if that is all that is seen. Raises NotFound."""
    names = _names(store, own)
    numbers = {each.id for each in store.access.interfaces() if each.partner_name in names}
    interface = int(choice.interface) if _NUMBER.fullmatch(choice.interface) else None
    if (
        (choice.partner and choice.partner not in names)
        or (choice.interface and interface not in numbers)
        or (choice.reason and choice.reason not in ERROR_TYPES)
    ):
        raise NotFound("there is no such print partner, interface or reason")
    return store.posts.refused(
        partner=own or choice.partner or None,
        interface=interface,
        type=choice.reason or None,
        scored=bool(choice.scored),
        before=before,
        limit=limit,
    )


def _names(store: Store, own: str | None) -> list[str]:
    """The print partners that are seen."""
    return [own] if own else [each.name for each in store.access.partners()]


def _shown(store: Store, choice: Choice, own: str | None, before: int | None) -> dict[str, Any]:
    """What is on the page. Raises NotFound."""
    posts = _refused(store, choice, own, before=before, limit=PAGE)
    names, chosen = _names(store, own), own or choice.partner or None
    return {
        "names": names,
        "types": ERROR_TYPES,
        "kept": REFUSALS_MAX,
        "reasons": reasons(store, [chosen] if chosen else names, scored=bool(choice.scored)),
        "strangers": None if own or choice.is_any or before else _strangers(store),
        "posts": posts,
        "next": posts[-1].id if len(posts) == PAGE else None,
    }


def reasons(store: Store, names: list[str], *, scored: bool = False) -> list[Reason]:
    """Why posts of these print partners were refused in the last seven days: most often first."""
    week, day = (store.posts.of_partners(now() - days * DAY_US, live=scored) for days in (7, 1))
    found = [
        each
        for name in names
        if name in week
        for each in _counted(name, week[name].refused, day[name].refused)
        if not scored or is_own_fault(each.type)
    ]
    return _most(found)


def _strangers(store: Store) -> dict[str, Any]:
    """Why posts were refused that came through no interface, and from where."""
    places = store.posts.strangers(now() - 7 * DAY_US, limit=REASONS_MAX)
    return {"reasons": reasons_of_strangers(store), "places": places}


def reasons_of_strangers(store: Store) -> list[Reason]:
    """Why posts that came through no interface were refused in the last seven days: most often first."""
    week, day = (store.posts.of_strangers(now() - days * DAY_US) for days in (7, 1))
    return _most(_counted("", week, day))


def _counted(partner: str, week: dict[str, Count], day: dict[str, Count]) -> list[Reason]:
    return [
        Reason(partner, type, day.get(type, Count()).posts, each.posts, each.last)
        for type, each in week.items()
    ]


def _most(reasons: list[Reason]) -> list[Reason]:
    return sorted(reasons, key=lambda each: (-each.day, -each.week, each.partner, each.type))[
        :REASONS_MAX
    ]


ROUTES: Final = [list_refused, list_reasons]

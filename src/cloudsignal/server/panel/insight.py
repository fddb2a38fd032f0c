"""How print partners do: compared, one by one, and the signals that offend against the score of their reports."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, tzinfo
from functools import partial
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from litestar import Response, get
from litestar.params import QueryParameter
from msgspec import Struct

from cloudsignal.protocol.units import SECOND_US
from cloudsignal.server.figures import Reckoner
from cloudsignal.server.insight import reckoning, reporting
from cloudsignal.server.insight.reporting import PARTS, Part
from cloudsignal.server.panel.access import READER_OR_PARTNER
from cloudsignal.server.panel.lists import Column, Listing, exported, wants_csv
from cloudsignal.server.panel.lists import Part as Rows
from cloudsignal.server.panel.pages import Asked, Before, page, scope, to
from cloudsignal.server.store.access import Partner
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.reading import ReportedSignal
from cloudsignal.server.store.store import Store

DAYS: Final = (7, 30, 90)
"""Over how many days there are figures."""
DAYS_TOLD: Final = 30
BEHIND_MAX: Final = 1_000
"""If more signals are not counted yet, it is said."""
LOOKED_AT: Final = 1_000
"""Among how many signals a page looks for those that offend."""
PAGE: Final = 100
"""How many of those a page lists."""
LISTED: Final[dict[str, Part]] = {part.name: part for part in PARTS if part.name != "refused"}
"""The parts of the score whose offending signals are in the log: refused posts are not."""

Days = Annotated[int, QueryParameter(ge=1, le=max(DAYS))]


@get("/insight", guards=[READER_OR_PARTNER])
async def compare_partners(request: Asked, days: Days = DAYS_TOLD) -> Response[Any]:
    """All print partners beside each other; a print partner's own people see it alone."""
    if (own := request.user.user.partner) is not None:
        return to(f"/insight/{own}?days={days}")
    overview = await asyncio.to_thread(reckoner(request).overview, _checked(days))
    return await counted_page(request, "insight.html", overview=overview, choices=DAYS)


@get("/insight/{number:int}", guards=[READER_OR_PARTNER])
async def show_figures(request: Asked, number: int, days: Days = DAYS_TOLD) -> Response[Any]:
    """What there is to say of a print partner."""
    partner = await partner_seen(request, number)
    figures = await asyncio.to_thread(reckoner(request).figures, partner.name, _checked(days))
    return await counted_page(
        request, "figures.html", partner=partner, figures=figures, choices=DAYS, listed=LISTED
    )


@get("/insight/{number:int}/offending/{part:str}", guards=[READER_OR_PARTNER])
async def list_offending(
    request: Asked,
    number: int,
    part: str,
    days: Days = DAYS_TOLD,
    before: Before = None,
) -> Response[Any]:
    """The signals that offend against a part of the score, the newest first."""
    partner = await partner_seen(request, number)
    if part not in LISTED:
        raise NotFound(f"there is no list of what offends against {part!r}")
    begin, _ = reckoning.days_s(reckoner(request).now(), _checked(days))
    find = partial(_offending, request.app.state.store, partner, LISTED[part], begin)
    if wants_csv(request):
        return await exported(request, OFFENDING, partial(_rest, find))
    found = await asyncio.to_thread(find, before)
    return page(
        request, "offending.html", partner=partner, part=LISTED[part], days=days, found=found
    )


class Offending(Struct, frozen=True):
    """A signal, and which parts of the score it, or its item, offends against."""

    signal: ReportedSignal
    parts: tuple[Part, ...]


class Found(Struct, frozen=True):
    """What offends among so many signals that were ``looked_at``; ``next`` is before which position to go on."""

    offending: tuple[Offending, ...]
    looked_at: int
    next: int | None


OFFENDING: Final = Listing[Offending](
    path="/offending",
    title="Offending signals",
    columns=(
        Column("Received, UTC", lambda each: each.signal.received, "instant"),
        Column("Happened, UTC", lambda each: each.signal.datetime, "instant"),
        Column("Type", lambda each: each.signal.type),
        Column("Order", lambda each: each.signal.order),
        Column("Item", lambda each: each.signal.item),
        Column("Interface", lambda each: each.signal.interface),
        Column("Offends against", lambda each: [part.name for part in each.parts]),
    ),
    turn="before",
)
"""As a file: the page says more of each."""


def _rest(
    find: Callable[[int | None], Found], *, before: int | None = None, limit: int
) -> Rows[Offending] | Sequence[Offending]:
    found = find(before)
    if found.next is None:
        return found.offending
    return Rows(found.offending, found.next)


def _offending(
    store: Store, partner: Partner, part: Part, begin_s: int, before: int | None
) -> Found:
    read = store.reading.reported(partner.name, before=before, limit=LOOKED_AT)
    zones = {each.id: ZoneInfo(each.timezone) for each in store.access.interfaces()}
    found: list[Offending] = []
    looked_at = 0
    # Signals stand in the log about in the order in which they came: the first that is too old ends it.
    while looked_at < len(read) and read[looked_at].received >= begin_s * SECOND_US:
        each = read[looked_at]
        looked_at += 1
        parts = tuple(_offended(each, zones.get(each.interface, UTC)))
        if part in parts:
            found.append(Offending(each, parts))
        if len(found) == PAGE or looked_at == LOOKED_AT:
            return Found(tuple(found), looked_at, each.position)
    return Found(tuple(found), looked_at, None)


def _offended(each: ReportedSignal, zone: tzinfo) -> Iterator[Part]:
    if not each.test:
        yield from map(LISTED.__getitem__, reporting.faults(each.datetime, each.received, zone))
    # An item is told once: by its last signal.
    if each.is_last and each.folded.live and reporting.missing_steps(each.folded):
        yield LISTED["missing"]


# ---- what pages about print partners have in common ----


def reckoner(request: Asked) -> Reckoner:
    """Who reckons figures."""
    found: Reckoner = request.app.state.reckoner
    return found


async def counted_page(request: Asked, template: str, **values: Any) -> Response[Any]:
    """A page of what was counted, which says so if much is not counted yet."""
    behind = await asyncio.to_thread(request.app.state.store.rollups.behind)
    return page(request, template, behind=behind if behind > BEHIND_MAX else 0, **values)


async def partner_seen(request: Asked, number: int) -> Partner:
    """A print partner, as far as it may be seen. Raises NotFound."""
    store: Store = request.app.state.store
    every = await asyncio.to_thread(store.access.partners)
    own = scope(request).partner
    for each in every:
        if each.id == number and own in (None, each.name):
            return each
    raise NotFound(f"there is no print partner {number}")


def _checked(days: int) -> int:
    if days not in DAYS:
        raise NotFound(f"there are no figures over {days} days")
    return days


ROUTES: Final = [compare_partners, show_figures, list_offending]

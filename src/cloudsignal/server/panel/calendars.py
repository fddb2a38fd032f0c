"""When print partners work: shown to whom it concerns, and set by operators."""

import asyncio
from typing import Any, Final

import msgspec
from litestar import Response, get, post

from cloudsignal.server.insight import calendars
from cloudsignal.server.insight.calendars import WEEKDAYS, Calendar, UnfitCalendar
from cloudsignal.server.panel.access import OPERATOR, READER_OR_PARTNER
from cloudsignal.server.panel.forms import FORM_BYTES_MAX, form, words
from cloudsignal.server.panel.insight import partner_seen
from cloudsignal.server.panel.pages import Asked, page, scope, store_for, to
from cloudsignal.server.panel.roles import may
from cloudsignal.server.store.access import Partner

NAMES: Final = dict(
    zip(
        WEEKDAYS,
        ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        strict=True,
    )
)
FIELDS: Final = ("timezone", *WEEKDAYS, "holidays")
"""The fields of the form, apart from the one that has all of it as text."""


@get("/calendars", guards=[READER_OR_PARTNER])
async def list_calendars(request: Asked) -> Response[Any]:
    """Who works when."""
    store, own = request.app.state.store, scope(request).partner
    partners = await asyncio.to_thread(store.access.partners)
    known = await asyncio.to_thread(store.calendars.calendars)
    found = [(each, known.get(each.name)) for each in partners if own in (None, each.name)]
    return page(request, "calendars.html", found=found)


@get("/calendars/{number:int}", guards=[READER_OR_PARTNER])
async def show_calendar(request: Asked, number: int) -> Response[Any]:
    """When a print partner works."""
    return await _shown(request, await partner_seen(request, number))


@post("/calendars/{number:int}", guards=[OPERATOR], request_max_body_size=FORM_BYTES_MAX)
async def set_calendar(request: Asked, number: int) -> Response[Any]:
    """Have a print partner work so from now on: as the fields say, or the text if there is one."""
    partner = await partner_seen(request, number)
    given = await form(request, *FIELDS, "text")
    try:
        calendar = calendars.read(given["text"] or _text(given))
    except UnfitCalendar as error:
        return await _shown(request, partner, given, error.wrong)
    await asyncio.to_thread(store_for(request).calendars.set, partner.name, calendar)
    return to(f"/calendars/{number}")


@post("/calendars/{number:int}/remove", guards=[OPERATOR])
async def remove_calendar(request: Asked, number: int) -> Response[Any]:
    """Have a print partner work always."""
    partner = await partner_seen(request, number)
    await asyncio.to_thread(store_for(request).calendars.set, partner.name, None)
    return to(f"/calendars/{number}")


async def _shown(
    request: Asked,
    partner: Partner,
    given: dict[str, str] | None = None,
    wrong: list[str] | None = None,
) -> Response[Any]:
    known = await asyncio.to_thread(request.app.state.store.calendars.calendars)
    calendar = known.get(partner.name)
    shown = _fields(calendar) | (given or {})
    return page(
        request,
        "calendar.html",
        status=400 if wrong else 200,
        partner=partner,
        is_set=calendar is not None,
        may_edit=may(request.user.user, "operator"),
        given=shown,
        text=shown["text"] or (calendars.shown(calendar) if calendar else ""),
        wrong=wrong or [],
        weekdays=NAMES,
    )


def _fields(calendar: Calendar | None) -> dict[str, str]:
    """A calendar as the fields of the form have it."""
    if calendar is None:
        return dict.fromkeys((*FIELDS, "text"), "")
    written = msgspec.json.decode(calendars.write(calendar))
    shifts = {day: ", ".join(written["hours"].get(day, [])) for day in WEEKDAYS}
    return {
        "timezone": written["timezone"],
        **shifts,
        "holidays": "\n".join(written["holidays"]),
        "text": "",
    }


def _text(given: dict[str, str]) -> bytes:
    """What the fields say, as a calendar is written."""
    hours = {day: shifts for day in WEEKDAYS if (shifts := words(given[day]))}
    holidays = words(given["holidays"])
    zone = given["timezone"].strip()
    return msgspec.json.encode({"timezone": zone, "hours": hours, "holidays": holidays})


ROUTES: Final = [list_calendars, show_calendar, set_calendar, remove_calendar]

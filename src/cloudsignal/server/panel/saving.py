"""Filters of lists that people save for themselves."""

import asyncio
import re
from typing import Any, Final
from urllib.parse import parse_qsl

from litestar import Response, post

from cloudsignal.server import rules
from cloudsignal.server.panel.access import SIGNED_IN
from cloudsignal.server.panel.forms import FORM_BYTES_MAX, form
from cloudsignal.server.panel.pages import Asked, Number, page, store_for, to
from cloudsignal.server.panel.places import query
from cloudsignal.server.rules import Unfit
from cloudsignal.server.store.errors import NotFound, TooMany

QUERY_CHARS_MAX: Final = 4000
_LIST: Final = re.compile(r"[a-z0-9-]+(?:/[a-z0-9-]+)*")
_LIST_CHARS_MAX: Final = 64


@post("/filters", guards=[SIGNED_IN], request_max_body_size=FORM_BYTES_MAX)
async def save_filter(request: Asked) -> Response[Any]:
    """Save how a list is filtered, under a name, in place of what had that name."""
    given = await form(request, "list", "name", "query")
    try:
        kept = _kept(given["query"])
        name = rules.filter_name(given["name"])
        save = store_for(request).filters.save
        await asyncio.to_thread(save, request.user.user.id, _list(given), name, kept)
    except (Unfit, TooMany) as error:
        return page(request, "filter.html", status=400, given=given, error=str(error))
    return to(f"/{given['list']}?{kept}")


@post("/filters/{number:int}/remove", guards=[SIGNED_IN], request_max_body_size=FORM_BYTES_MAX)
async def remove_filter(request: Asked, number: Number) -> Response[Any]:
    """Forget a filter; the list stays as it is filtered."""
    given = await form(request, "list", "query")
    remove = store_for(request).filters.remove
    await asyncio.to_thread(remove, request.user.user.id, number)
    return to(f"/{_list(given)}?{_kept(given['query'])}")


def _list(given: dict[str, str]) -> str:
    """Which list a form is about. Raises NotFound."""
    name = given["list"]
    if len(name) > _LIST_CHARS_MAX or not _LIST.fullmatch(name):
        raise NotFound(f"there is no list {name!r}")
    return name


def _kept(told: str) -> str:
    """A query as it is kept: written as the panel writes them, whatever the form had. Raises Unfit."""
    if len(told) > QUERY_CHARS_MAX:
        raise Unfit("This filter is too long to be saved.")
    return query(dict(parse_qsl(told)))


ROUTES: Final = [save_filter, remove_filter]

"""The page of what people changed."""

import asyncio
from typing import Any, Final

from litestar import Response, get

from cloudsignal.server.panel.access import ADMIN
from cloudsignal.server.panel.pages import Asked, page

PAGE: Final = 50


@get("/changes", guards=[ADMIN])
async def list_changes(request: Asked, before: int | None = None) -> Response[Any]:
    """The newest changes, or those before one."""
    read = request.app.state.store.changes.changes
    found = await asyncio.to_thread(read, before=before, limit=PAGE)
    next = found[-1].id if len(found) == PAGE else None
    return page(request, "changes.html", changes=found, next=next)


ROUTES: Final = [list_changes]

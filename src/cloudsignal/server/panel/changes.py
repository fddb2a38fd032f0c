"""The page of what people changed."""

from typing import Any, Final

from litestar import Response, get

from cloudsignal.server.panel.access import ADMIN
from cloudsignal.server.panel.lists import Column, Listing, listed
from cloudsignal.server.panel.pages import Asked, Before
from cloudsignal.server.store.changes import Change

CHANGES: Final = Listing[Change](
    path="/changes",
    title="Changes",
    columns=(
        Column("When, UTC", lambda each: each.at, "instant"),
        Column("Who", lambda each: each.actor),
        Column("From", lambda each: each.address),
        Column("What", lambda each: each.what),
        Column("Of", lambda each: each.subject),
        Column("Before", lambda each: each.before, "values"),
        Column("After", lambda each: each.after, "values"),
    ),
    turn="before",
    place=lambda each: each.id,
)


@get("/changes", guards=[ADMIN])
async def list_changes(request: Asked, before: Before = None) -> Response[Any]:
    """The newest changes, or those before one."""
    changes = request.app.state.store.changes.changes
    return await listed(request, CHANGES, changes, "changes.html", at=before)


ROUTES: Final = [list_changes]

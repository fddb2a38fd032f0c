"""The page of the settings in force."""

from typing import Any, Final

from litestar import Response, get

from cloudsignal.server.panel.access import OPERATOR
from cloudsignal.server.panel.pages import Asked, page
from cloudsignal.server.views import setting_views


@get("/settings", guards=[OPERATOR])
async def list_settings(request: Asked) -> Response[Any]:
    """Every setting of the server that shows this page."""
    return page(request, "settings.html", settings=setting_views(request.app.state.in_force))


ROUTES: Final = [list_settings]

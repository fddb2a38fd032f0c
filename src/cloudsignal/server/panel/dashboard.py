"""The dashboard: how production stands, live."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import tzinfo
from functools import partial
from typing import Any, Final, cast

from litestar import Request, Response, get
from litestar.types import ASGIApp
from markupsafe import Markup
from msgspec import Struct

from cloudsignal.protocol.units import SECOND_US
from cloudsignal.server.clock import Clock
from cloudsignal.server.events import Followers
from cloudsignal.server.live import Live, NoMore
from cloudsignal.server.panel.access import LIVE, SIGNED_IN
from cloudsignal.server.panel.overview import SPANS, overview, signals_chart
from cloudsignal.server.panel.pages import (
    Asked,
    chosen_partner,
    page,
    partner_names,
    rendered,
    scope,
    still_signed_in,
)
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.store import Store

EVERY_S: Final = 1.0
"""How often it is looked whether anything has changed."""
QUIET_TICKS: Final = 5
"""After how many looks without a change a connection shows that it is alive."""
KEPT_MAX: Final = 256
"""How many pictures are kept for others who look at the same."""


class View(Struct, frozen=True):
    """What is looked at: a print partner or all, and over which span."""

    partner: str | None
    span: str


class Dashboard:
    """Draws what is looked at, once for all who look at the same."""

    def __init__(self, store: Store, clock: Clock, zone: tzinfo) -> None:
        self._store = store
        self._clock = clock
        self.zone = zone
        self._kept: dict[object, tuple[int, asyncio.Task[Markup]]] = {}

    async def picture(self, view: View) -> Markup:
        """As it is now, or was a moment ago. Raises StoreUnavailable."""
        standing = await self._drawn(
            ("standing", view.partner), 1, partial(self._standing, view.partner)
        )
        chart = await self._drawn(view, SPANS[view.span].every_s, partial(self._chart, view))
        return standing + chart

    async def _drawn(self, key: object, every_s: int, draw: Callable[[], Markup]) -> Markup:
        tick = self._clock() // (every_s * SECOND_US)
        kept = self._kept.get(key)
        if kept is None or kept[0] != tick:
            if len(self._kept) >= KEPT_MAX:
                self._kept.clear()
            drawing = asyncio.ensure_future(asyncio.to_thread(draw))
            drawing.add_done_callback(partial(self._forget_failed, key))
            kept = self._kept[key] = tick, drawing
        # Who hangs up does not take the picture away from the others.
        return await asyncio.shield(kept[1])

    def _forget_failed(self, key: object, drawn: asyncio.Task[Markup]) -> None:
        """Have whoever asks next try again, and not wait until it would be drawn anew."""
        has_failed = drawn.cancelled() or drawn.exception() is not None
        if has_failed and key in self._kept and self._kept[key][1] is drawn:
            del self._kept[key]

    def _standing(self, partner: str | None) -> Markup:
        found = overview(self._store, partner, now=self._clock(), zone=self.zone)
        return rendered("standing.html", found=found, partner=partner)

    def _chart(self, view: View) -> Markup:
        span, now = SPANS[view.span], self._clock()
        chart = signals_chart(self._store, view.partner, span, now=now, zone=self.zone)
        return rendered("signals.html", chart=chart, span=span)


@get("/", guards=[SIGNED_IN])
async def show_home(request: Asked, partner: str = "", span: str = "1h") -> Response[Any]:
    """The first page: the dashboard; for owners, of whom nothing is counted, where they can go."""
    if scope(request).owner is not None:
        return page(request, "home.html")
    view = await _view(request, partner, span)
    dashboard: Dashboard = request.app.state.dashboard
    return page(
        request,
        "dashboard.html",
        picture=await dashboard.picture(view),
        view=view,
        spans=SPANS,
        partners=await partner_names(request),
        timezone=str(dashboard.zone),
    )


@get("/live", guards=[LIVE])
async def follow(request: Asked, partner: str = "", span: str = "1h") -> ASGIApp:
    """The same as server-sent events, each of them the whole picture, when anything has changed."""
    view = await _view(request, partner, span)
    followers: Followers = request.app.state.followers
    dashboard: Dashboard = request.app.state.dashboard

    async def check() -> None:
        if not await still_signed_in(request):
            raise NoMore

    live: Any = Live(followers, lambda: pictures(followers, dashboard, view), check)
    return cast(ASGIApp, live)


async def pictures(
    followers: Followers, dashboard: Dashboard, view: View
) -> AsyncGenerator[bytes, None]:
    """What is looked at, again whenever it has changed; empty after a while without a change."""
    shown, quiet = "", 0
    async for _ in followers.ticks(EVERY_S):
        picture = await dashboard.picture(view)
        if picture != shown:
            shown, quiet = picture, 0
            yield event(picture)
        elif (quiet := quiet + 1) >= QUIET_TICKS:
            quiet = 0
            yield b""


def event(text: str) -> bytes:
    """A text as a server-sent event."""
    lines = "".join(f"data: {line}\n" for line in text.splitlines())
    return f"{lines}\n".encode()


async def _view(request: Request[Any, Any, Any], partner: str, span: str) -> View:
    """What is asked for, as far as it may be seen. Raises NotFound."""
    if span not in SPANS:
        raise NotFound(f"there is no span {span!r}")
    return View(await chosen_partner(request, partner), span)


ROUTES: Final = [show_home, follow]

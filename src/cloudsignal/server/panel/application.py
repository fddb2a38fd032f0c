"""The panel as one ASGI application."""

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Final
from zoneinfo import ZoneInfo

from litestar import Litestar, Request, Response, Router, get
from litestar.datastructures import State
from litestar.exceptions import ClientException, HTTPException, NotFoundException

from cloudsignal.protocol.refusals import RETRY_AFTER_S
from cloudsignal.protocol.units import DAY_S
from cloudsignal.server.alerting.desk import AlertDesk
from cloudsignal.server.clock import Clock
from cloudsignal.server.delivery.composing import templates
from cloudsignal.server.delivery.desk import Desk
from cloudsignal.server.delivery.sealing import Sealer
from cloudsignal.server.events import Followers, Full
from cloudsignal.server.figures import Reckoner
from cloudsignal.server.keys import Keyring
from cloudsignal.server.panel import (
    account,
    alerts,
    attention,
    calendars,
    changes,
    dashboard,
    dead_letters,
    deliveries,
    endpoints,
    insight,
    interfaces,
    item,
    items,
    orders,
    outlooks,
    owners,
    partners,
    people,
    refusals,
    saving,
    searching,
    settings,
    signing,
    tokens,
)
from cloudsignal.server.panel.access import ANYBODY, Forbidden, NotSignedIn
from cloudsignal.server.panel.entrance import Entrance
from cloudsignal.server.panel.failures import FailedSignIns
from cloudsignal.server.panel.lists import CSV_READS_MAX
from cloudsignal.server.panel.menu import Group, Menu, entry
from cloudsignal.server.panel.pages import ASSETS, HEADERS, Asked, going_on_to, page, to
from cloudsignal.server.panel.places import PREFIX
from cloudsignal.server.settings import InForce
from cloudsignal.server.store.errors import NotFound, StoreUnavailable
from cloudsignal.server.store.store import Store

YEAR_S: Final = 365 * DAY_S
_SENTENCES: Final = {
    400: "Something in the address or in the form is nothing that this page takes.",
    404: "There is no such page here.",
    405: "This page is not for that.",
    413: "That was too much at once.",
}

_log: Final = logging.getLogger(__name__)


@get("/", guards=[ANYBODY])
async def show_panel(request: Asked) -> Response[Any]:
    """Whoever types the server's address only is here for the panel."""
    return to("/")


@get("/static/{mark:str}/{name:str}", guards=[ANYBODY])
async def show_asset(mark: str, name: str) -> Response[bytes]:
    """A file that pages load, for browsers to keep."""
    if name not in ASSETS or ASSETS[name][0] != mark:
        raise NotFoundException
    _, content, kind = ASSETS[name]
    kept = {"Cache-Control": f"public, max-age={YEAR_S}, immutable"}
    return Response(content, media_type=kind, headers=kept)


async def refuse_nul(request: Request[Any, Any, Any]) -> None:
    """No text has a character NUL, and PostgreSQL could not look for one.

    Raises NotFoundException for one in the path, ClientException for one in the query.
    """
    if "\0" in request.scope["path"]:
        raise NotFoundException
    if b"%00" in request.scope["query_string"]:
        raise ClientException("this is no text")


def of_visitor(request: Request[Any, Any, Any], _: NotSignedIn) -> Response[Any]:
    """Nobody is signed in: to where one can, and back."""
    if request.method not in ("GET", "HEAD"):
        return to("/login")
    query = request.scope["query_string"].decode("latin-1")
    return to(going_on_to(request.scope["path"], query))


def of_forbidden(request: Request[Any, Any, Any], error: Forbidden) -> Response[Any]:
    """Whoever asks may not."""
    return told(request, 403, str(error))


def of_missing(request: Request[Any, Any, Any], _: NotFound) -> Response[Any]:
    """There is nothing of that number."""
    return told(request, 404, _SENTENCES[404])


def of_store(request: Request[Any, Any, Any], error: StoreUnavailable) -> Response[Any]:
    """The store cannot be used just now."""
    return told_to_wait(request, f"{error}. Try again in a moment.")


def of_full(request: Request[Any, Any, Any], _: Full) -> Response[Any]:
    """As many follow what happens as may."""
    return told_to_wait(request, "As many look at what is live as may. Try again in a while.")


def of_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """What Litestar found: no such page, a form that is none."""
    status = error.status_code
    return told(request, status, _SENTENCES.get(status, HTTPStatus(status).phrase + "."))


def of_defect(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """A defect of ours; what it was is in the log, not on the page."""
    _log.error("a page of the panel failed", exc_info=error)
    return told(request, 500, "This is a defect of the server: its log says more.")


def told(request: Request[Any, Any, Any], status: int, sentence: str) -> Response[Any]:
    """A page that says what went wrong."""
    title = HTTPStatus(status).phrase
    response = page(request, "error.html", status=status, title=title, sentence=sentence)
    response.headers.update(HEADERS)
    return response


def told_to_wait(request: Request[Any, Any, Any], sentence: str) -> Response[Any]:
    """A page that says what cannot be just now, and when to try again."""
    response = told(request, 503, sentence)
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


ROUTES: Final = [
    show_asset,
    *dashboard.ROUTES,
    *signing.ROUTES,
    *searching.ROUTES,
    *items.ROUTES,
    *item.ROUTES,
    *orders.ROUTES,
    *saving.ROUTES,
    *insight.ROUTES,
    *outlooks.ROUTES,
    *calendars.ROUTES,
    *account.ROUTES,
    *partners.ROUTES,
    *interfaces.ROUTES,
    *owners.ROUTES,
    *tokens.ROUTES,
    *endpoints.ROUTES,
    *deliveries.ROUTES,
    *dead_letters.ROUTES,
    *attention.ROUTES,
    *alerts.ROUTES,
    *people.ROUTES,
    *settings.ROUTES,
    *changes.ROUTES,
    *refusals.ROUTES,
]

MENU: Final[Menu] = (
    Group(
        "Production",
        (
            entry(dashboard.show_home, "Overview", "Where items are, and what happens, live."),
            entry(
                attention.show_attention,
                "Attention",
                "What needs a hand: items that are stalled, overdue or odd, refused posts, dead letters.",
            ),
            entry(items.list_items, "Items", "Where every item is, the last changed first."),
            entry(orders.list_orders, "Orders", "What is registered, and how its items stand."),
            entry(
                refusals.list_refused,
                "Refused posts",
                "What was sent and not taken, why, and what to do about it.",
            ),
        ),
    ),
    Group(
        "Insight",
        (
            entry(
                insight.compare_partners,
                "Insight",
                "How long print partners take, how punctual they are, and how well they report.",
            ),
            entry(
                outlooks.list_at_risk,
                "At risk",
                "Open items that will probably miss their due date.",
            ),
            entry(calendars.list_calendars, "Calendars", "When print partners work."),
        ),
    ),
    Group(
        "Telling owners",
        (
            entry(
                endpoints.list_endpoints,
                "Endpoints",
                "Where order owners are told, and how that goes.",
            ),
            entry(
                deliveries.list_attempts,
                "Deliveries",
                "What was posted to owners, and how they answered.",
            ),
            entry(
                dead_letters.list_dead,
                "Dead letters",
                "What was given up: to be told once more, or forgotten.",
            ),
        ),
    ),
    Group(
        "Administration",
        (
            entry(
                partners.list_partners,
                "Print partners",
                "Who prints and reports, and through which interfaces.",
            ),
            entry(
                interfaces.list_interfaces,
                "Interfaces",
                "What signals come in through: keys, addresses, time zones.",
            ),
            entry(owners.list_owners, "Owners", "Whose orders there are, and who reads them."),
            entry(tokens.list_tokens, "Tokens", "What programs read the API with."),
            entry(
                alerts.show_alerts,
                "Alerts",
                "For how long items may stay in a state, and who is told of those that do.",
            ),
            entry(people.list_users, "Users", "Who may sign in, and what they may see."),
            entry(settings.list_settings, "Settings", "What the server is set to, and from where."),
            entry(
                changes.list_changes, "Changes", "What was changed here, by whom, and from where."
            ),
        ),
    ),
    Group(
        "You",
        (
            entry(
                account.show_account,
                "Your account",
                "Your password, your second factor, where you are signed in.",
            ),
        ),
    ),
)
"""Where people find the pages, in the order in which they are shown."""


def create(
    store: Store,
    keyring: Keyring,
    desk: Desk,
    alert_desk: AlertDesk,
    sealer: Sealer,
    clock: Clock,
    followers: Followers,
    in_force: InForce,
    failed: FailedSignIns,
) -> Litestar:
    """The panel on a store, as it is set."""
    zone = ZoneInfo(in_force.settings.panel_timezone)
    return Litestar(
        [show_panel, Router(PREFIX, route_handlers=ROUTES)],
        state=State(
            {
                "store": store,
                "desk": desk,
                "reckoner": Reckoner(store, clock),
                "entrance": Entrance(store, keyring, sealer, clock, failed),
                "keyring": keyring,
                "in_force": in_force,
                "alerts": alert_desk,
                "menu": MENU,
                "followers": followers,
                "dashboard": dashboard.Dashboard(store, clock, zone),
                "templates": templates(in_force.settings.tracking_urls),
                "exports": asyncio.Semaphore(CSV_READS_MAX),
            }
        ),
        before_request=refuse_nul,
        response_headers=HEADERS,
        exception_handlers={
            NotSignedIn: of_visitor,
            Forbidden: of_forbidden,
            NotFound: of_missing,
            StoreUnavailable: of_store,
            Full: of_full,
            HTTPException: of_http,
            Exception: of_defect,
        },
        logging_config=None,
        openapi_config=None,
    )

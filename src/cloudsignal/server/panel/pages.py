"""Pages: templates filled in, with the headers that keep everything else out."""

import asyncio
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.resources import files
from typing import Annotated, Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Request, Response
from litestar.datastructures import Cookie
from litestar.params import Parameter
from markupsafe import Markup

from cloudsignal.protocol.units import DAY_S, HOUR_S, MINUTE_S, SECOND_US
from cloudsignal.server.clock import now
from cloudsignal.server.key_desk import KeyDesk
from cloudsignal.server.panel import words
from cloudsignal.server.panel.entrance import SESSION_US, Entrance, Holder, Visitor
from cloudsignal.server.panel.menu import menu_for
from cloudsignal.server.panel.places import PREFIX, item_path, order_path, query
from cloudsignal.server.panel.roles import Scope, may, scope_of, state_of
from cloudsignal.server.rules import NAME_CHARS_MAX
from cloudsignal.server.store.changes import Actor
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.store import Store

HEADERS: Final = {
    # No script or style in a page itself, and nothing from anywhere else: what others wrote stays words.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_COOKIE: Final = "cloudsignal"
# Browsers take a cookie of such a name from https pages of this very host only.
_SECURE_COOKIE: Final = "__Host-cloudsignal"
_SAFE: Final = "/%=&+!$'()*,;:@~"
"""What stays as it is in a URL that was written by a browser."""
_STATIC: Final = files("cloudsignal.server.panel") / "static"

Asked = Request[Holder, Any, Any]
"""A request; its ``user`` is who is signed in, where the route is for those only."""

NUMBER_MAX: Final = 2**53 - 1
"""The largest number that is looked for: every program keeps it as it is."""
Number = Annotated[int, Parameter(ge=1, le=NUMBER_MAX)]
"""What something is known by."""
Before = Annotated[int | None, Parameter(ge=1, le=NUMBER_MAX)]
"""Of a list that has the newest first: what the page begins after."""
After = Annotated[str, Parameter(max_length=NAME_CHARS_MAX, pattern=r"^[^\0]*$")]
"""The same of a list in order of name."""


def _asset(name: str) -> tuple[str, bytes, str]:
    content = (_STATIC / name).read_bytes()
    kind = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}[
        name.rpartition(".")[2]
    ]
    return blake2b(content, digest_size=6).hexdigest(), content, kind


ASSETS: Final = {name: _asset(name) for name in ("panel.css", "panel.js", "icon.svg")}
"""What pages load: of each file the mark of its content, the content, and its type."""


def asset_url(name: str) -> str:
    """Where a file is that pages load: another URL when it changes, so that browsers may keep it."""
    return f"{PREFIX}/static/{ASSETS[name][0]}/{name}"


def _instant(us: int) -> str:
    """An instant, in microseconds since 1970, for people: in UTC, to the second."""
    return f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%d %H:%M:%S}"


def iso(us: int) -> str:
    """The same for programs."""
    return f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _leads_to(path: str, entry: str) -> bool:
    """Whether a page is that of an entry of the menu, or below it."""
    below = PREFIX + entry.rstrip("/")
    return path.rstrip("/") == below or (entry != "/" and path.startswith(f"{below}/"))


def _unit(seconds: int) -> str:
    """A round duration in words: minute, 5 minutes, day."""
    for unit, name in ((DAY_S, "day"), (HOUR_S, "hour"), (MINUTE_S, "minute")):
        if seconds % unit == 0:
            return name if seconds == unit else f"{seconds // unit} {name}s"
    return f"{seconds} seconds"


def _shown(value: Any) -> str:
    """A value of what was changed, in words."""
    return {None: "none", True: "yes", False: "no"}.get(value, str(value))


def _sentence(text: str) -> str:
    """What went wrong, as a sentence of its own."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cloudsignal.server.panel"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        prefix=PREFIX, asset=asset_url, order_path=order_path, item_path=item_path
    )
    environment.filters.update(
        instant=_instant,
        iso=iso,
        leads_to=_leads_to,
        may=may,
        sentence=_sentence,
        shown=_shown,
        unit=_unit,
        state=state_of,
        query=query,
    )
    environment.filters.update(
        duration=words.duration,
        quantile=words.quantile,
        hours=words.hours,
        percent=words.percent,
        points=words.points,
        number=words.number,
    )
    return environment


_templates: Final = _environment()


def rendered(template: str, **values: Any) -> Markup:
    """A template filled in: a part of a page."""
    return Markup(_templates.get_template(template).render(**values))


def page(request: Asked, template: str, *, status: int = 200, **values: Any) -> Response[str]:
    """A template as a page, for whoever asks."""
    holder: Holder | None = request.scope.get("user")
    menu = menu_for(request.app.state.menu, holder.user) if holder else ()
    text = rendered(template, holder=holder, menu=menu, path=request.scope["path"], **values)
    return Response(text, status_code=status, media_type="text/html")


def to(path: str, cookies: list[Cookie] | None = None) -> Response[bytes]:
    """Send somebody to another page of the panel, after what they posted is done."""
    headers = HEADERS | {"Location": PREFIX + path}
    return Response(
        b"", status_code=303, media_type="text/plain", headers=headers, cookies=cookies or []
    )


def visitor(request: Asked) -> Visitor:
    """Where a request comes from."""
    address = request.client.host if request.client else ""
    return Visitor(address, request.headers.get("user-agent", ""))


def actor(request: Asked) -> Actor:
    """Who is signed in, for what they change."""
    return Actor(request.user.user.name, visitor(request).address)


def scope(request: Asked) -> Scope:
    """Whose things who is signed in sees."""
    return scope_of(request.user.user)


def check_partner(request: Asked, name: str) -> None:
    """Make sure that who is signed in may see what is this print partner's. Raises NotFound."""
    if scope(request).partner not in (None, name):
        raise NotFound("this is another print partner's")


async def chosen_partner(request: Asked, name: str) -> str | None:
    """The print partner that is asked for, one's own in any case; None for all. Raises NotFound."""
    own = scope(request).partner
    if own is not None:
        if name not in ("", own):
            raise NotFound(f"there is no print partner called {name!r}")
        return own
    if not name:
        return None
    store: Store = request.app.state.store
    return (await asyncio.to_thread(store.access.partner, name)).name


async def partner_names(request: Asked) -> list[str]:
    """The print partners that can be chosen of: none where only one's own things are seen."""
    if scope(request).is_narrow:
        return []
    store: Store = request.app.state.store
    return [each.name for each in await asyncio.to_thread(store.access.partners)]


def store_for(request: Asked) -> Store:
    """The store, where what is changed is noted as the doing of who is signed in."""
    store: Store = request.app.state.store
    return store.by(actor(request))


def key_desk(request: Asked) -> KeyDesk:
    """Where who is signed in gives keys out."""
    return KeyDesk(store_for(request), request.app.state.keyring, now=now())


def address(request: Asked) -> str:
    """Where the server is, as whoever asks has reached it."""
    return str(request.base_url).rstrip("/")


# ---- what the browser holds ----


async def still_signed_in(request: Asked) -> bool:
    """Whether who asked is still signed in, and may still see the same."""
    entrance: Entrance = request.app.state.entrance
    token = held(request)
    holder = await entrance.holder(token, is_page=False) if token else None
    return holder is not None and scope_of(holder.user) == scope(request)


def held(request: Asked) -> str | None:
    """What the browser holds, if it is signed in."""
    return request.cookies.get(_cookie_name(request))


def hold(request: Asked, token: str) -> Cookie:
    """Have the browser hold this from now on."""
    return _cookie(request, token, SESSION_US // SECOND_US)


def drop(request: Asked) -> Cookie:
    """Have the browser hold nothing any more."""
    return _cookie(request, "", 0)


def _cookie_name(request: Asked) -> str:
    return _SECURE_COOKIE if is_encrypted(request) else _COOKIE


def _cookie(request: Asked, value: str, max_age_s: int) -> Cookie:
    return Cookie(
        _cookie_name(request),
        path="/",
        value=value,
        max_age=max_age_s,
        secure=is_encrypted(request),
        httponly=True,
        samesite="lax",
    )


def is_encrypted(request: Asked) -> bool:
    """Whether a request came over https, to this server or to a proxy that is trusted."""
    return request.scope["scheme"] == "https"


def own_path(url: str) -> str:
    """A page of the panel to go on to, less its prefix, with its query; the first page for anything else."""
    path, _, query = url.partition("?")
    is_own = path.startswith(f"{PREFIX}/") and "\\" not in path and "//" not in path
    if not is_own:
        return "/"
    # What is percent-encoded stays so; what no header can have becomes it.
    own = quote(path.removeprefix(PREFIX), safe=_SAFE)
    return f"{own}?{quote(query, safe=_SAFE)}" if query else own


def going_on_to(path: str, query: str = "") -> str:
    """The page to sign in on, on the way to another."""
    return f"/login?next={quote(f'{path}?{query}' if query else path)}"

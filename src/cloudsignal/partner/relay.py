"""A relay: takes posts from software at the plant, and forwards them for as long as it takes.

It stands in for the server upstream: same address, same checks, same sentences (contract, sections 1 to 4). What it
answers 200 is in the outbox. Software that does not try again gains that by changing its URL.
"""

import asyncio
import hmac
import logging
from datetime import UTC
from html import escape
from typing import Final

import msgspec

from cloudsignal import asgi
from cloudsignal.asgi import HungUp, Receive, Scope, Send
from cloudsignal.partner.errors import OutboxError, OutboxFull
from cloudsignal.partner.keys import ApiKey
from cloudsignal.partner.outbox.file import Given, Health
from cloudsignal.partner.outbox.outbox import Outbox
from cloudsignal.partner.outbox.views import health_view
from cloudsignal.protocol import datetimes, http, wire
from cloudsignal.protocol.refusals import Refusal, not_now
from cloudsignal.protocol.wire import Receipt, Report

HEALTH: Final = "/healthz"
PAGE: Final = "/"
RELOAD_S: Final = 5
"""How often the status page loads itself again."""

_log: Final = logging.getLogger("cloudsignal.relay")


class Figures(msgspec.Struct, frozen=True):
    """What ``/healthz`` tells: counters since the relay was started, and how the outbox is doing.

    ``status`` is ``ok``, ``trouble`` when signals do not get through, ``paused`` when somebody has to do something, or
    ``unusable`` when the outbox cannot be read: then it is None, and ``unusable`` says why.
    """

    status: str
    upstream: str
    posts_accepted: int
    posts_refused: int
    signals_accepted: int
    outbox: Health | None
    unusable: str | None = None


class Relay:
    """An ASGI application. Posts have to bear ``apikey``; what comes is put into ``outbox``."""

    def __init__(
        self,
        outbox: Outbox,
        apikey: ApiKey,
        *,
        upstream: str,
        body_bytes_max: int = http.BODY_BYTES_MAX,
        bundle_max: int = wire.BUNDLE_MAX,
    ) -> None:
        self._outbox = outbox
        self._apikey = apikey
        self._upstream = upstream
        self._body_bytes_max = body_bytes_max
        self._bundle_max = bundle_max
        self._accepted = 0
        self._refused = 0
        self._signals = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await self._respond(scope, receive, send)
        except asyncio.CancelledError:
            # The relay is stopping and cannot wait any longer.
            await asgi.answer(send, http.refused(http.stopping()))
        except Exception:
            _log.exception("a request could not be answered")
            await asgi.answer(send, http.refused(http.defect()))

    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        # Only to who looks: software that posts to the bare address must not take the page's 200 for a receipt.
        is_looking = scope["method"] in ("GET", "HEAD")
        if path in http.PATHS:
            await self._take(scope, receive, send)
        elif path in http.REMOVED_PATHS:
            await asgi.answer(send, http.refused(http.removed_version()))
        elif path == HEALTH and is_looking:
            figures = await self._figures()
            await asgi.answer(send, _json(figures))
        elif path == PAGE and is_looking:
            await asgi.answer(send, _page(await self._figures()))
        else:
            await asgi.answer(send, http.nothing_here(path))

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            http.check(scope["method"], scope["headers"])
            body = await asgi.read(scope, receive, self._body_bytes_max)
            receipt = await self._put(self._reports(body))
        except HungUp:
            return
        except Refusal as refusal:
            self._refused += 1
            await asgi.answer(send, http.refused(refusal))
            return
        self._accepted += 1
        self._signals += receipt.accepted
        await asgi.answer(send, http.accepted(receipt))

    def _reports(self, body: bytes) -> list[Report]:
        post = wire.decode(body)
        if not hmac.compare_digest(post.apikey.encode(), self._apikey.reveal().encode()):
            raise http.unknown_key()
        # A datetime without a zone is forwarded as it is: whose zone it means is known upstream.
        return wire.validate(post, zone=UTC, bundle_max=self._bundle_max)

    async def _put(self, reports: list[Report]) -> Receipt:
        given = [
            Given(each.signal.order, each.signal.item, type(each.signal).__name__, each.body)
            for each in reports
        ]
        try:
            ids = await asyncio.to_thread(self._outbox.take, given)
        except OutboxFull:
            raise not_now(
                "overloaded",
                "the relay's outbox is full: send this again later, and tell its operator",
            ) from None
        except OutboxError:
            raise not_now(
                "unavailable",
                "the relay's outbox cannot be used just now: send this again in a moment",
            ) from None
        return Receipt(len(ids), 0, ids[-1])

    async def _figures(self) -> Figures:
        counted = self._upstream, self._accepted, self._refused, self._signals
        try:
            health = await asyncio.to_thread(self._outbox.health)
        except (OutboxError, OSError) as error:
            return Figures("unusable", *counted, None, str(error))
        status = "paused" if health.paused else "trouble" if health.trouble else "ok"
        return Figures(status, *counted, health)


def _json(figures: Figures) -> http.Answer:
    """The figures for programs."""
    outbox = None if figures.outbox is None else health_view(figures.outbox)
    body = msgspec.json.encode(msgspec.structs.asdict(figures) | {"outbox": outbox})
    return 503 if figures.unusable else 200, [http.JSON, http.length(body)], body


def _page(figures: Figures) -> http.Answer:
    """The figures for people. No ids and no signals: whoever reaches the relay may see it."""
    rows = {
        **_outbox_rows(figures),
        "upstream": figures.upstream,
        "taken since the start": f"{figures.signals_accepted:,} signals in {figures.posts_accepted:,} posts",
        "posts refused here": f"{figures.posts_refused:,}",
    }
    lines = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in rows.items()
    )
    body = _HTML.format(status=figures.status, rows=lines, reload=RELOAD_S).encode()
    headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
        http.length(body),
    ]
    return 200, headers, body


def _outbox_rows(figures: Figures) -> dict[str, str]:
    health = figures.outbox
    if health is None:
        return {"UNUSABLE": f"the outbox cannot be read: {figures.unusable}"}
    rows = {}
    if health.paused:
        rows["PAUSED"] = f"{health.paused}. Mend that, then: cloudsignal outbox resume"
    elif health.trouble:
        told = health.trouble
        rows["trouble"] = f"{told.info} (since {_moment(told.since)}, {told.tries} tries)"
    since = f", the oldest since {_moment(health.oldest)}" if health.oldest else ""
    return rows | {
        "waiting": f"{health.waiting:,}{since}",
        "refused by the server": f"{health.refused:,}",
        "size of the outbox": f"{health.file_bytes / 1e6:.1f} MB",
    }


def _moment(instant: int | None) -> str:
    return "" if instant is None else datetimes.write(instant)[:19].replace("T", " ") + " UTC"


_HTML: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="{reload}"><title>{status} · cloudsignal relay</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 44rem; padding: 0 1rem }}
h1 {{ font-size: 1.3rem }}
th {{ text-align: left; font-weight: 500; padding-right: 2rem; vertical-align: top; white-space: nowrap }}
td, th {{ padding-block: .25rem }}
.ok {{ color: #15803d }} .trouble {{ color: #b45309 }} .paused, .unusable {{ color: #dc2626 }}
</style></head>
<body><h1>Relay: <span class="{status}">{status}</span></h1><table>{rows}</table></body></html>
"""

"""A receiver that shows what arrives: posts as a platform gets them, and webhooks as an owner gets them.

For trying things out. It keeps nothing, and takes every key.
"""

import re
from collections.abc import Callable
from datetime import UTC
from typing import Any, Final

import msgspec
from msgspec import Struct

from cloudsignal import asgi
from cloudsignal.asgi import HungUp, Receive, Scope, Send
from cloudsignal.protocol import http, wire
from cloudsignal.protocol.refusals import Refusal
from cloudsignal.protocol.wire import Receipt

HIDDEN: Final = "…"
"""What stands where a key stood."""
WEBHOOK_HEADERS: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")

TEXT_MAX: Final = 1000
"""How much is shown of what is not JSON."""

_KEY: Final = re.compile(r"""(apikey[\s"'=:]{1,9})[^\s"'&,}]+""", re.IGNORECASE)
"""A key in what was meant to be JSON, or is a form."""
_any: Final = msgspec.json.Decoder()


class Heard(Struct, frozen=True):
    """One request: how it was answered, what was in it, and what is wrong with it.

    ``bodies`` are its signals, or the webhook's body, less every key; ``headers`` those that webhooks are signed with.
    """

    method: str
    path: str
    status: int
    bodies: list[Any]
    problems: list[str]
    headers: dict[str, str]


class Listener:
    """An ASGI application that tells ``show`` of every request.

    What is posted where a server takes signals is checked and answered as a server does; everything else is taken for a
    webhook. With ``status``, everything is answered with that instead.
    """

    def __init__(self, show: Callable[[Heard], None], *, status: int | None = None) -> None:
        self._show = show
        self._status = status
        self._position = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            body = await asgi.read(scope, receive)
            given, bodies, problems = self._heard(scope, body)
        except HungUp:
            return
        except Refusal as refusal:
            given, bodies = http.refused(refusal), []
            problems = [each.info for each in refusal.problems]
        if self._status is not None:
            given = self._status, [http.length(b"")], b""
        named = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        headers = {name: named[name] for name in WEBHOOK_HEADERS if name in named}
        self._show(Heard(scope["method"], scope["path"], given[0], bodies, problems, headers))
        await asgi.answer(send, given)

    def _heard(self, scope: Scope, body: bytes) -> tuple[http.Answer, list[Any], list[str]]:
        if scope["path"] in http.REMOVED_PATHS:
            raise http.removed_version()
        if scope["path"] not in http.PATHS:
            return (200, [http.length(b"")], b""), [_webhook(body)], []
        http.check(scope["method"], scope["headers"])
        reports = wire.validate(wire.decode(body), zone=UTC)
        self._position += len(reports)
        bodies = [msgspec.Raw(report.body) for report in reports]
        return http.accepted(Receipt(len(reports), 0, self._position)), bodies, []


def _webhook(body: bytes) -> Any:
    try:
        return _without_keys(_any.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _KEY.sub(rf"\1{HIDDEN}", body.decode("utf-8", "replace"))[:TEXT_MAX]


def _without_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: HIDDEN if name == "apikey" else _without_keys(each)
            for name, each in value.items()
        }
    return [_without_keys(each) for each in value] if isinstance(value, list) else value

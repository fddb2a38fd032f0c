"""For order owners: webhooks as they come in, checked and typed.

A receiver verifies every request before it believes it, answers 200, and expects to get the same one again.
"""

import time
from collections.abc import Mapping, Sequence
from hmac import compare_digest
from typing import Final

import msgspec
from msgspec import Struct

from cloudsignal.protocol import signatures, webhooks
from cloudsignal.protocol.webhooks import (
    AnyWebhook,
    CloudprinterOrderCanceled,
    CloudprinterOrderValidated,
    ItemCanceled,
    ItemDeliveryCompleted,
    ItemDeliveryFailed,
    ItemDeliveryStarted,
    ItemError,
    ItemPacked,
    ItemProduce,
    ItemProduced,
    ItemShipped,
    ItemValidated,
    ItemWebhook,
    Webhook,
)

__all__ = [
    "AnyWebhook",
    "CloudprinterOrderCanceled",
    "CloudprinterOrderValidated",
    "Forged",
    "ItemCanceled",
    "ItemDeliveryCompleted",
    "ItemDeliveryFailed",
    "ItemDeliveryStarted",
    "ItemError",
    "ItemPacked",
    "ItemProduce",
    "ItemProduced",
    "ItemShipped",
    "ItemValidated",
    "ItemWebhook",
    "OtherWebhook",
    "Unreadable",
    "Verified",
    "Webhook",
    "WebhookError",
    "verify",
]

_members: Final = msgspec.json.Decoder(dict[str, object])


class WebhookError(Exception):
    """A request that is not to be believed; answer 400."""


class Forged(WebhookError):
    """Its signature or its key is not that of the sender, or it is an old one that somebody repeats."""


class Unreadable(WebhookError):
    """It is no webhook: no JSON object, or a known type with something missing."""


class OtherWebhook(Struct, frozen=True, kw_only=True):
    """A type that this version does not know. Answer 200 all the same, or it will be sent again for days."""

    type: str
    members: dict[str, object]


class Verified(Struct, frozen=True):
    """A webhook to be believed.

    ``id`` is the same each time that it is sent again: remember it to recognise repeats. It is empty for a sender
    that does not sign, such as Cloudprinter: compare what the webhook says then.
    """

    id: str
    webhook: AnyWebhook | OtherWebhook


def verify(
    headers: Mapping[str, str],
    body: bytes,
    *,
    secret: str | Sequence[str] | None = None,
    apikey: str | None = None,
    now_s: float | None = None,
) -> Verified:
    """The webhook that a request holds, if it comes from the one who has the secret and the key.

    ``headers`` and ``body`` are the request's, the body as the bytes that came. ``secret`` is the endpoint's signing
    secret, ``whsec_…``, or several of which one counts while it is replaced; ``apikey`` is the webhook key that
    has to be in the body. Give both; Cloudprinter's own webhooks have only the key. ``now_s`` is the time in
    seconds since 1970, for tests.

    Raises Forged, Unreadable, and ValueError when it is not said what to check.
    """
    if secret is None and apikey is None:
        raise ValueError(
            "give the endpoint's secret or its apikey, better both: there is nothing to check"
        )
    id = "" if secret is None else _signed(headers, body, secret, now_s)
    try:
        members = _members.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Unreadable("the body is no JSON object") from None
    if apikey is not None and not _is_same(members.get("apikey"), apikey):
        raise Forged("the apikey in the body is not the endpoint's")
    return Verified(id, _typed(members))


def _signed(
    headers: Mapping[str, str], body: bytes, secret: str | Sequence[str], now_s: float | None
) -> str:
    secrets = [signatures.read(each) for each in ([secret] if isinstance(secret, str) else secret)]
    try:
        return signatures.verify(
            secrets, headers, now_s=time.time() if now_s is None else now_s, body=body
        )
    except ValueError as error:
        raise Forged(str(error)) from None


def _is_same(given: object, apikey: str) -> bool:
    return isinstance(given, str) and compare_digest(given.encode(), apikey.encode())


def _typed(members: dict[str, object]) -> AnyWebhook | OtherWebhook:
    name = members.get("type")
    if not isinstance(name, str):
        raise Unreadable("the body has no type")
    if name not in webhooks.KNOWN:
        return OtherWebhook(type=name, members=members)
    try:
        return msgspec.convert(members, webhooks.KNOWN[name])
    except msgspec.ValidationError as error:
        raise Unreadable(f"it is no {name}: {error}") from None

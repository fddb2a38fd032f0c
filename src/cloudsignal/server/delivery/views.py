"""What people and programs are shown of endpoints and deliveries: the API's and the command line's JSON.

No key, no secret, and nothing of a URL that may be secret.
"""

from base64 import b64encode
from codecs import getincrementaldecoder
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Raw, Struct, structs

from cloudsignal.protocol import datetimes, signatures
from cloudsignal.protocol.units import SECOND_US
from cloudsignal.server.delivery.pace import DISABLED_AFTER, WARNED_AT
from cloudsignal.server.store.deliveries import Attempted, Noted, NotedState
from cloudsignal.server.store.endpoints import Endpoint, EndpointState
from cloudsignal.server.store.store import Store
from cloudsignal.server.views import Instant

_utf_8: Final = getincrementaldecoder("utf-8")


class EndpointView(Struct, frozen=True, kw_only=True):
    """Where an owner is told, and how that goes."""

    endpoint: int
    owner: str
    url: Annotated[str, Meta(description="without user, password and what follows a question mark")]
    format: str
    types: Annotated[list[str], Meta(description="the types of webhooks it is sent; none for all")]
    test: bool
    newest_only: bool
    state: EndpointState
    why: Annotated[str, Meta(description="why it is paused or disabled")]
    health: Annotated[str, Meta(description="how it is doing, in a sentence")]
    failures: Annotated[int, Meta(description="how many attempts failed, one after the other")]
    failures_percent: Annotated[
        int,
        Meta(description="how much that is of what disables it; the log warns at 50, 70 and 90"),
    ]
    failing_since: Instant | None
    waiting: Annotated[int, Meta(description="deliveries that failed, or wait behind such a one")]
    asked: Annotated[int, Meta(description="deliveries that were asked for, and not yet taken up")]
    dead: Annotated[int, Meta(description="deliveries that were given up")]
    behind: Annotated[int, Meta(description="how many positions of the log it has yet to pass")]
    created: Instant
    old_secret_until: Annotated[
        Instant | None, Meta(description="until when the secret before this one signs as well")
    ]


class MadeView(EndpointView, frozen=True, kw_only=True):
    """An endpoint with what is new of its key and its secret: shown this once."""

    apikey: Annotated[str | None, Meta(description="what stands in apikey of every webhook")]
    secret: Annotated[str | None, Meta(description="what webhooks are signed with")]


class DeliveryView(Struct, frozen=True, kw_only=True):
    """A delivery that is asked for, waits or was given up; what follows from the log is in no list.

    ``webhook`` is what is told, less the key, once it is known.
    """

    endpoint: int
    message: Annotated[str, Meta(description="what it is known by: the webhook-id that is posted")]
    position: Annotated[int | None, Meta(description="of the signal it is about, if it is one")]
    type: str
    order: str
    item: str
    state: NotedState
    attempts: int
    first: Annotated[Instant | None, Meta(description="when it was tried first")]
    due: Annotated[Instant | None, Meta(description="when it is tried next, if that is known")]
    why: Annotated[str, Meta(description="what became of the last attempt")]
    changed: Instant
    webhook: Raw | None


class AnswerView(Struct, frozen=True):
    """How an endpoint answered: ``headers`` and ``body`` are the beginning of what it sent."""

    status: int
    headers: list[tuple[str, str]]
    body: str
    encoding: Annotated[
        Literal["text", "base64"], Meta(description="how the body is written, if it is no text")
    ]


class AttemptView(Struct, frozen=True, kw_only=True):
    """One attempt to tell an owner: what was sent, less the key, and what became of it."""

    id: int
    endpoint: int
    message: str
    type: str
    order: str
    item: str
    attempt: Annotated[int, Meta(description="the how manieth of this delivery")]
    at: Instant
    took_ms: float
    error: Annotated[str, Meta(description="why it failed; empty if it was delivered")]
    address: Annotated[str, Meta(description="where it was posted to")]
    webhook: Annotated[Raw, Meta(description="what was posted, less the key")]
    answer: AnswerView | None


class DeliveryPage(Struct, frozen=True):
    """Deliveries by their messages; ``next`` is what to give as ``after`` to go on."""

    deliveries: list[DeliveryView]
    next: str | None


class AttemptPage(Struct, frozen=True):
    """Attempts, the newest first; ``next`` is what to give as ``before`` to go on."""

    attempts: list[AttemptView]
    next: int | None


class Chosen(Struct, frozen=True):
    """How many deliveries that was for."""

    deliveries: int


class MessageView(Struct, frozen=True):
    """A test that is going to be posted: look for attempts of this message."""

    message: str


def endpoint_views(
    store: Store, owner: str | None = None, *, after: int = 0, limit: int | None = None, now: int
) -> list[EndpointView]:
    """Every endpoint, or those of an owner, ``after`` one and so many at most. Raises StoreUnavailable."""
    counts, last = store.delivery_log.counts(), store.reading.last_position()
    return [
        endpoint_view(each, counts.get(each.id, {}), last, now=now)
        for each in store.endpoints.endpoints(owner, after=after, limit=limit)
    ]


def endpoint_view_of(store: Store, number: int, *, now: int) -> EndpointView:
    """The endpoint of that number. Raises NotFound and StoreUnavailable."""
    return view_now(store, store.endpoints.endpoint(number), now=now)


def view_now(store: Store, endpoint: Endpoint, *, now: int) -> EndpointView:
    """An endpoint that was just read, with what is there for it. Raises StoreUnavailable."""
    counts, last = store.delivery_log.counts(), store.reading.last_position()
    return endpoint_view(endpoint, counts.get(endpoint.id, {}), last, now=now)


def made_view(view: EndpointView, apikey: str | None, secret: str | None) -> MadeView:
    """An endpoint with what is new of its key and its secret."""
    return MadeView(**structs.asdict(view), apikey=apikey, secret=secret)


def endpoint_view(
    endpoint: Endpoint, counts: Mapping[NotedState, int], last: int, *, now: int
) -> EndpointView:
    """An endpoint with how many deliveries it has, where ``last`` is the newest position of the log."""
    old_until = endpoint.old_secret_until
    return EndpointView(
        endpoint=endpoint.id,
        owner=endpoint.owner_name,
        url=endpoint.shown,
        format=endpoint.format,
        types=list(endpoint.types),
        test=endpoint.test,
        newest_only=endpoint.newest_only,
        state=endpoint.state,
        why=endpoint.why,
        health=health(endpoint),
        failures=endpoint.failures,
        failures_percent=percent(endpoint.failures),
        failing_since=_written(endpoint.failing_since),
        waiting=counts.get("waiting", 0),
        asked=counts.get("asked", 0),
        dead=counts.get("dead", 0),
        behind=max(0, last - endpoint.position),
        created=datetimes.write(endpoint.created),
        old_secret_until=_written(old_until if old_until and old_until > now else None),
    )


def percent(failures: int) -> int:
    """How much so many failures are of those that disable an endpoint."""
    return min(100, failures * 100 // DISABLED_AFTER)


def health(endpoint: Endpoint) -> str:
    """How an endpoint is doing, in a sentence."""
    match endpoint.state:
        case "paused" | "disabled":
            return f"{endpoint.state}: {endpoint.why}" if endpoint.why else endpoint.state
        case "probing":
            return "probing: it is active again once it has taken a webhook"
    if not endpoint.failures:
        return "good"
    share = percent(endpoint.failures)
    warned = "WARNING: " if share >= WARNED_AT[0] else ""
    since = _written(endpoint.failing_since) or ""
    return (
        f"{warned}failing since {since[:19].replace('T', ' ')} UTC: {share} % of the {DISABLED_AFTER} failures"
        " that disable it"
    )


def delivery_view(noted: Noted) -> DeliveryView:
    """A delivery that is noted."""
    return DeliveryView(
        endpoint=noted.endpoint,
        message=noted.message,
        position=noted.position or None,
        type=noted.type,
        order=noted.order,
        item=noted.item,
        state=noted.state,
        attempts=noted.attempts,
        first=_written(noted.first),
        due=None if noted.state == "dead" else _written(noted.due or None),
        why=noted.why,
        changed=datetimes.write(noted.changed),
        webhook=Raw(noted.webhook.encode()) if noted.webhook else None,
    )


def attempt_view(attempted: Attempted) -> AttemptView:
    """An attempt."""
    return AttemptView(
        id=attempted.id,
        endpoint=attempted.endpoint,
        message=attempted.message,
        type=attempted.type,
        order=attempted.order,
        item=attempted.item,
        attempt=attempted.attempt,
        at=datetimes.write(attempted.at),
        took_ms=attempted.took / 1000,
        error=attempted.error,
        address=attempted.address,
        webhook=Raw(attempted.webhook.encode()),
        answer=_answer(attempted),
    )


def sent_headers(attempted: Attempted) -> dict[str, str]:
    """The headers that an attempt was made with, those that every one has; of the signature only that it was there."""
    at_s = attempted.at // SECOND_US
    signed = signatures.headers([], id=attempted.message, now_s=at_s, body=b"")
    return {"content-type": "application/json", **signed, signatures.SIGNATURE: "…"}


def _answer(attempted: Attempted) -> AnswerView | None:
    if attempted.status is None:
        return None
    text = _text(attempted.answer)
    if text is None:
        coded = b64encode(attempted.answer).decode()
        return AnswerView(attempted.status, attempted.headers, coded, "base64")
    return AnswerView(attempted.status, attempted.headers, text, "text")


def _text(answer: bytes) -> str | None:
    """The beginning of an answer as text, None if it is none. It may end within a letter."""
    try:
        found = _utf_8().decode(answer)
    except UnicodeDecodeError:
        return None
    return None if "\0" in found else found


def _written(instant: int | None) -> str | None:
    return None if instant is None else datetimes.write(instant)

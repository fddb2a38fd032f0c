"""What the OpenAPI document says beyond the API's own routes: the CloudSignal endpoint and health.

Everything is derived from what answers: the signal classes, the list of error types, the views.
"""

from collections import defaultdict
from http import HTTPStatus
from itertools import chain
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from cloudsignal.protocol import http, refusals, wire
from cloudsignal.protocol.signals import (
    SIGNAL_TYPES,
    AnySignal,
    ItemPacked,
    ItemShipped,
    Signal,
    example,
    fields,
)
from cloudsignal.server.api.problems import MEDIA_TYPE, ProblemDetails
from cloudsignal.server.api.routes import Found, ItemPage, OrderPage, RefusedPage, SignalPage
from cloudsignal.server.delivery.views import (
    AttemptPage,
    Chosen,
    DeliveryPage,
    EndpointView,
    MadeView,
    MessageView,
)
from cloudsignal.server.delivery.wishes import (
    Discarding,
    EndpointChange,
    EndpointCreation,
    Redelivery,
    Rotation,
)
from cloudsignal.server.registrations import OrderRegistration, OwnerCreation, Registrations
from cloudsignal.server.store.orders import Registered
from cloudsignal.server.views import InterfaceView, OrderView, OwnerView, PartnerView

JSON: Final = "application/json"
REF: Final = "#/components/schemas/{name}"
EXAMPLE_KEY: Final = "13b37bb1ed6d3403e158abe719b4f6d0"

Document = dict[str, Any]


class Error(Struct):
    """What was wrong: ``type`` for programs, ``info`` for people, ``details`` every problem."""

    type: str
    info: str
    details: list[refusals.Problem]


class ErrorBody(Struct):
    """The body of every answer to a post that is not 200."""

    error: Error


class Bundle(Struct):
    """Several signals in one post: all of them are accepted, or none."""

    apikey: Annotated[str, Meta(description="the key of a CloudSignal API interface")]
    items: Annotated[list[AnySignal], Meta(min_length=1, max_length=wire.BUNDLE_MAX)]


class Health(Struct):
    """How the server is, in words."""

    status: str


BODIES: Final[dict[str, list[type[Struct]]]] = {
    "registerOrders": [OrderRegistration, Registrations],
    "createOwner": [OwnerCreation],
    "createEndpoint": [EndpointCreation],
    "changeEndpoint": [EndpointChange],
    "rotateEndpoint": [Rotation],
    "redeliver": [Redelivery],
    "discard": [Discarding],
}
"""What the API's own routes are sent: one of these."""
MAY_BE_THERE: Final = {"registerOrders", "createOwner"}
"""Those that are answered 409 if something is there already."""
SENT: Final = [*SIGNAL_TYPES, Bundle, *chain(*BODIES.values())]
ANSWERED: Final = [
    ErrorBody,
    wire.Receipt,
    Health,
    ProblemDetails,
    Found,
    ItemPage,
    OrderPage,
    OrderView,
    OwnerView,
    Registered,
    SignalPage,
    PartnerView,
    InterfaceView,
    RefusedPage,
    EndpointView,
    MadeView,
    MessageView,
    DeliveryPage,
    Chosen,
    AttemptPage,
]


def completed(document: Document) -> Document:
    """The document with everything the server answers."""
    for path in document["paths"].values():
        for operation in path.values():
            _complete(operation)
    document["components"]["schemas"] = _schemas()
    document["paths"] |= {http.ENDPOINT: {"post": _endpoint()}, **_health()}
    return document


def _schemas() -> Document:
    _, components = msgspec.json.schema_components([*SENT, *ANSWERED], ref_template=REF)
    return components | {"SinglePost": _single_post()}


def _complete(operation: Document) -> None:
    """Say of a route what its framework does not."""
    for parameter in operation.get("parameters", []):
        _complete_parameter(parameter)
    [succeeded] = operation["responses"].keys() & {"200", "201", "204"}
    operation["responses"][succeeded]["description"] = operation["summary"]
    if bodies := BODIES.get(operation["operationId"]):
        schema = {"anyOf": [_ref(each.__name__) for each in bodies]}
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    for status in _problems_of(operation):
        response = _response(HTTPStatus(status).phrase, MEDIA_TYPE, _ref("ProblemDetails"))
        operation["responses"][str(status)] = response | _headers(status)


def _complete_parameter(parameter: Document) -> None:
    """A parameter that may be left out cannot be null: there is no way to write that in a URL."""
    schema = parameter["schema"]
    for choice in schema.pop("oneOf", []):
        if choice["type"] != "null":
            schema |= choice
    if isinstance(schema["type"], list):
        schema["type"] = next(each for each in schema["type"] if each != "null")
        schema["enum"] = [each for each in schema["enum"] if each is not None]
    if parameter["in"] == "path" and parameter["name"] in ("order", "item"):
        field = next(each for each in fields(Signal) if each.name == parameter["name"])
        parameter["schema"] = msgspec.json.schema(field.type)
        parameter["description"] = field.description


def _problems_of(operation: Document) -> list[int]:
    """Every route can be asked wrongly, by the wrong one, or at the wrong moment."""
    statuses = [400, 401, 403, 503]
    if any(each["in"] == "path" for each in operation.get("parameters", [])):
        statuses.append(404)
    if operation["operationId"] in BODIES:
        statuses.append(413)
    if operation["operationId"] in MAY_BE_THERE:
        statuses.append(409)
    return sorted(statuses)


def _single_post() -> Document:
    """A signal with the key beside it: what a post holds that is no bundle."""
    return {
        "title": "SinglePost",
        "type": "object",
        "required": ["apikey", "type"],
        "properties": {"apikey": {"type": "string"}},
        "oneOf": [_ref(each.__name__) for each in SIGNAL_TYPES],
        "discriminator": {
            "propertyName": "type",
            "mapping": {each.__name__: REF.format(name=each.__name__) for each in SIGNAL_TYPES},
        },
    }


def _endpoint() -> Document:
    schema = {"anyOf": [_ref("SinglePost"), _ref("Bundle")]}
    return {
        "operationId": "postSignals",
        "summary": "Report a signal, or a bundle of signals",
        "description": "A 200 means that every signal of the post is on disk.",
        "security": [],
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": schema, "examples": _examples()}},
        },
        "responses": {
            "200": _response("Accepted, and on disk", JSON, _ref("Receipt")),
            **{str(status): _refused(status, types) for status, types in _by_status().items()},
        },
    }


def _examples() -> Document:
    singles = {
        each.__name__: {"summary": _summary(each), "value": {"apikey": EXAMPLE_KEY} | example(each)}
        for each in SIGNAL_TYPES
    }
    bundle = {"apikey": EXAMPLE_KEY, "items": [example(ItemPacked), example(ItemShipped)]}
    return singles | {"bundle": {"summary": "Two signals in one post", "value": bundle}}


def _summary(signal: type[Struct]) -> str:
    return (signal.__doc__ or "").splitlines()[0]


def _by_status() -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for type_name, status in refusals.STATUS.items():
        # What another method is answered is no answer of this operation.
        if status not in (HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE):
            found[status].append(type_name)
    return dict(found)


def _refused(status: int, types: list[str]) -> Document:
    one_of_them = {"properties": {"error": {"properties": {"type": {"enum": types}}}}}
    schema = {"allOf": [_ref("ErrorBody"), one_of_them]}
    response = _response(", ".join(types), JSON, schema)
    # The endpoint's key is in the body, so its 401 names no scheme.
    return response if status == HTTPStatus.UNAUTHORIZED else response | _headers(status)


def _health() -> Document:
    figures = {"type": "string"}
    return {
        "/healthz": {
            "get": _open("isAlive", "Whether the server is alive", {200: (JSON, _ref("Health"))})
        },
        "/readyz": {
            "get": _open(
                "isReady",
                "Whether the server can read its store",
                {200: (JSON, _ref("Health")), 503: (JSON, _ref("Health"))},
            )
        },
        "/metrics": {
            "get": _open(
                "readMetrics",
                "Figures for Prometheus: for near addresses and holders of a token",
                {200: ("text/plain", figures), 401: (JSON, _ref("Health"))},
            )
        },
    }


def _open(operation_id: str, summary: str, answers: dict[int, tuple[str, Document]]) -> Document:
    return {
        "operationId": operation_id,
        "summary": summary,
        "security": [],
        "responses": {
            str(status): _response(HTTPStatus(status).phrase, *answer)
            for status, answer in answers.items()
        },
    }


def _response(description: str, media_type: str, schema: Document) -> Document:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _ref(name: str) -> Document:
    return {"$ref": REF.format(name=name)}


def _headers(status: int) -> Document:
    """The headers that answers of this status bear."""
    if status == HTTPStatus.UNAUTHORIZED:
        return _header("WWW-Authenticate", "how to say who you are", "string")
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return _header("Retry-After", "after how many seconds to try again", "integer")
    return {}


def _header(name: str, description: str, type: str) -> Document:
    return {"headers": {name: {"description": description, "schema": {"type": type}}}}

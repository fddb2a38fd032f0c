"""What the OpenAPI document says beyond the API's own routes: the CloudSignal endpoint and health.

Everything here is derived from the signal classes and the list of error types.
"""

from collections import defaultdict
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from cloudsignal.protocol import refusals, wire
from cloudsignal.protocol.signals import SIGNAL_TYPES, AnySignal, ItemPacked, ItemShipped, example
from cloudsignal.server.api.problems import MEDIA_TYPE, ProblemDetails

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


def completed(document: Document) -> Document:
    """The document with everything the server answers."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    _, components = msgspec.json.schema_components(
        [*SIGNAL_TYPES, Bundle, ErrorBody, wire.Receipt, ProblemDetails], ref_template=REF
    )
    components["SinglePost"] = _single_post()
    schemas.update(components)
    for path in document["paths"].values():
        for operation in path.values():
            _add_problems(operation)
    document["paths"] |= {
        "/cloudsignal/2.0/status/": {"post": _endpoint()},
        "/healthz": {"get": _open("Whether the server is alive", {"200": "It is"})},
        "/readyz": {
            "get": _open(
                "Whether the server can read its store", {"200": "It can", "503": "Not just now"}
            )
        },
        "/metrics": {
            "get": _open("Figures for Prometheus", {"200": "The figures", "401": "Not from there"})
        },
    }
    return document


def _single_post() -> Document:
    """A signal with the key beside it: what a post holds that is no bundle."""
    return {
        "title": "SinglePost",
        "type": "object",
        "required": ["apikey", "type"],
        "properties": {"apikey": {"type": "string"}},
        "oneOf": [{"$ref": REF.format(name=each.__name__)} for each in SIGNAL_TYPES],
        "discriminator": {
            "propertyName": "type",
            "mapping": {each.__name__: REF.format(name=each.__name__) for each in SIGNAL_TYPES},
        },
    }


def _endpoint() -> Document:
    schema = {"anyOf": [{"$ref": REF.format(name=name)} for name in ("SinglePost", "Bundle")]}
    return {
        "operationId": "postSignals",
        "summary": "Report a signal, or a bundle of signals",
        "description": "A 200 means that every signal of the post is on disk.",
        "security": [],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "examples": _examples()}},
        },
        "responses": {
            "200": _response("Accepted, and on disk", "application/json", "Receipt"),
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
    response = _response(", ".join(types), "application/json", "ErrorBody")
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        response["headers"] = {
            "Retry-After": {
                "description": "after how many seconds to try again",
                "schema": {"type": "integer"},
            }
        }
    return response


def _add_problems(operation: Document) -> None:
    """Every route of the API can be asked wrongly, by the wrong one, or at the wrong moment."""
    statuses = {400, 401, 403, 503}
    if any(each["in"] == "path" for each in operation.get("parameters", [])):
        statuses.add(404)
    for status in sorted(statuses):
        operation["responses"][str(status)] = _response(
            HTTPStatus(status).phrase, MEDIA_TYPE, "ProblemDetails"
        )


def _response(description: str, media_type: str, name: str) -> Document:
    schema = {"$ref": REF.format(name=name)}
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _open(summary: str, answers: dict[str, str]) -> Document:
    return {
        "summary": summary,
        "security": [],
        "responses": {status: {"description": text} for status, text in answers.items()},
    }

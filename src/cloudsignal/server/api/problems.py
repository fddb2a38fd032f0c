"""Errors of the API: problem details as RFC 9457 has them."""

import logging
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from msgspec import UNSET, Struct, UnsetType

from cloudsignal.protocol.refusals import RETRY_AFTER_S
from cloudsignal.server.bodies import Unfit, Wrong
from cloudsignal.server.events import Full
from cloudsignal.server.store.errors import AlreadyThere, NotFound, StoreUnavailable
from cloudsignal.server.tokens import NotAllowed

MEDIA_TYPE: Final = "application/problem+json"
RETRY_FOLLOWING_S: Final = 10
"""After how many seconds to try again to follow the log."""

_SENTENCES: Final = {
    404: "there is nothing at this address: /api/v1/openapi.json describes all there is",
    405: "this address does not take this method: the header Allow says which",
}
"""What is said where Litestar says no more than the status."""

_log: Final = logging.getLogger(__name__)


class ProblemDetails(Struct, frozen=True):
    """What went wrong: ``title`` is the status in words, ``detail`` a sentence to act on.

    Where several things are wrong with a body, ``problems`` has them all, each with its place.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    problems: list[Wrong] | UnsetType = UNSET


def problem(
    request: Request[Any, Any, Any],
    status: int,
    detail: str,
    headers: dict[str, str] | None = None,
    problems: list[Wrong] | UnsetType = UNSET,
) -> Response[bytes]:
    """The response that tells a problem."""
    title = HTTPStatus(status).phrase
    body = ProblemDetails("about:blank", title, status, detail, request.scope["path"], problems)
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=headers or {},
    )


def of_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What Litestar found: no such path, a wrong method, a parameter that is not what it must be."""
    extra: Any = error.extra if isinstance(error.extra, list) else []
    details = [f"{_name(request, each['key'])}: {each['message']}" for each in extra]
    detail = "; ".join(details) or error.detail
    if detail == HTTPStatus(error.status_code).phrase:
        detail = _SENTENCES.get(error.status_code, detail)
    return problem(request, error.status_code, detail, dict(error.headers or {}))


def _name(request: Request[Any, Any, Any], key: str) -> str:
    """What a parameter is called in the URL: not always as in our code."""
    field = request.route_handler.parsed_fn_signature.parameters[key]
    return getattr(field.kwarg_definition, "name", None) or key


def of_token(request: Request[Any, Any, Any], error: NotAllowed) -> Response[bytes]:
    """No token, an unknown one, or one of too weak a role."""
    if error.status == HTTPStatus.FORBIDDEN:
        return problem(request, error.status, str(error))
    return problem(request, error.status, str(error), {"WWW-Authenticate": "Bearer"})


def of_store(request: Request[Any, Any, Any], error: StoreUnavailable) -> Response[bytes]:
    """The store cannot be read just now."""
    return problem(request, 503, str(error), {"Retry-After": str(RETRY_AFTER_S)})


def of_unfit(request: Request[Any, Any, Any], error: Unfit) -> Response[bytes]:
    """A body that is not what it must be."""
    return problem(request, 400, str(error), problems=error.wrong)


def of_missing(request: Request[Any, Any, Any], error: NotFound) -> Response[bytes]:
    """There is nothing of that number."""
    return problem(request, 404, str(error))


def of_taken(request: Request[Any, Any, Any], error: AlreadyThere) -> Response[bytes]:
    """Something of that name is there."""
    return problem(request, 409, str(error))


def of_full(request: Request[Any, Any, Any], error: Full) -> Response[bytes]:
    """As many follow the log as may."""
    return problem(request, 503, str(error), {"Retry-After": str(RETRY_FOLLOWING_S)})


def of_defect(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A defect of ours; what it was is in the log, not in the answer."""
    _log.error("a request to the API failed", exc_info=error)
    return problem(request, 500, "a defect of the server: its log says more")


HANDLERS: Any = {
    HTTPException: of_http,
    NotAllowed: of_token,
    StoreUnavailable: of_store,
    Unfit: of_unfit,
    NotFound: of_missing,
    AlreadyThere: of_taken,
    Full: of_full,
    Exception: of_defect,
}

__all__ = ["HANDLERS", "ProblemDetails", "problem"]

"""Errors of the API: problem details as RFC 9457 has them."""

from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from msgspec import Struct

from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.tokens import NotAllowed

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1


class ProblemDetails(Struct, frozen=True):
    """What went wrong: ``title`` is the status in words, ``detail`` a sentence to act on."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


def problem(
    request: Request[Any, Any, Any], status: int, detail: str, headers: dict[str, str] | None = None
) -> Response[bytes]:
    """The response that tells a problem."""
    title = HTTPStatus(status).phrase
    body = ProblemDetails("about:blank", title, status, detail, request.scope["path"])
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers=headers or {},
    )


def of_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What Litestar found: no such path, a wrong method, a parameter that is not what it must be."""
    extra: Any = error.extra if isinstance(error.extra, list) else []
    details = [f"{each['key']}: {each['message']}" for each in extra if "key" in each]
    detail = "; ".join(details) or error.detail or HTTPStatus(error.status_code).phrase
    return problem(request, error.status_code, detail, dict(error.headers or {}))


def of_token(request: Request[Any, Any, Any], error: NotAllowed) -> Response[bytes]:
    """No token, an unknown one, or one of too weak a role."""
    if error.status == HTTPStatus.FORBIDDEN:
        return problem(request, error.status, str(error))
    return problem(request, error.status, str(error), {"WWW-Authenticate": "Bearer"})


def of_store(request: Request[Any, Any, Any], error: StoreUnavailable) -> Response[bytes]:
    """The store cannot be read just now."""
    return problem(request, 503, str(error), {"Retry-After": str(RETRY_AFTER_S)})


def of_defect(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """A defect of ours; what it was is in the log, not in the answer."""
    request.logger.error("a request to the API failed", exc_info=error)
    return problem(request, 500, "a defect of the server: its log says more")


HANDLERS: Any = {
    HTTPException: of_http,
    NotAllowed: of_token,
    StoreUnavailable: of_store,
    Exception: of_defect,
}

__all__ = ["HANDLERS", "ProblemDetails", "problem"]

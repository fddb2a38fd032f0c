"""What can go wrong with a post on its way, on demand."""

import msgspec
from msgspec import Struct

from cloudsignal.protocol import http
from cloudsignal.protocol.refusals import refuse


class Fault(Struct, frozen=True, kw_only=True):
    """Something that happens to a post instead of the answer it should get.

    ``answer`` is given back, None for none at all: then the connection is cut, or with ``silence`` left open until
    the server is closed. With ``stores`` the signals are stored first, so that only the answer is lost.
    """

    answer: http.Answer | None = None
    silence: bool = False
    stores: bool = False


def answering(
    status: int,
    body: bytes | str | dict[str, object] = b"",
    *,
    retry_after: int | str | None = None,
    content_type: str = "application/json",
    stores: bool = False,
) -> Fault:
    """An answer with this status, body and ``Retry-After``."""
    match body:
        case str():
            sent = body.encode()
        case dict():
            sent = msgspec.json.encode(body)
        case _:
            sent = body
    headers = [(b"content-type", content_type.encode()), http.length(sent)]
    if retry_after is not None:
        headers.append((b"retry-after", str(retry_after).encode()))
    return Fault(answer=(status, headers, sent), stores=stores)


def unavailable(retry_after_s: int = 1) -> Fault:
    """503, as a cloudsignal server says that it cannot take anything just now."""
    return Fault(
        answer=http.refused(
            refuse(
                "unavailable",
                "the store cannot be used just now: send this again in a moment",
                retry_after_s=retry_after_s,
            )
        )
    )


def hanging_up(*, stores: bool = False) -> Fault:
    """The connection is cut without an answer."""
    return Fault(stores=stores)


def silent(*, stores: bool = False) -> Fault:
    """No answer comes, and the connection stays open."""
    return Fault(silence=True, stores=stores)


def garbage() -> Fault:
    """A 200 with bytes that mean nothing."""
    return answering(200, bytes(range(256)), content_type="application/octet-stream")


def some_page() -> Fault:
    """A 200 with the sign-in page of a network, as proxies answer for a server they hide."""
    page = "<!DOCTYPE html><title>Sign in</title><form>You are offline</form>"
    return answering(200, page, content_type="text/html; charset=utf-8")

"""A post over HTTP: where it goes, what is looked at first, and how it is answered.

Whoever takes posts in, the server or what stands in for it, says the same to the same post
(contract, sections 1 and 2).
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from cloudsignal.protocol import wire
from cloudsignal.protocol.refusals import Refusal, not_now, refuse
from cloudsignal.protocol.wire import Receipt

ENDPOINT: Final = "/cloudsignal/2.0/status/"
"""Where signals are posted, below the address of a server."""
BODY_BYTES_MAX: Final = 1 << 20
"""How large a body may be, unless a setting says otherwise."""


def spellings(path: str) -> frozenset[str]:
    """A path with and without its last slash, and below a base URL that ends in one."""
    bare = path.removesuffix("/")
    return frozenset({path, bare, f"/{path}", f"/{bare}"})


PATHS: Final = spellings(ENDPOINT)
"""Where signals are taken."""
REMOVED_PATHS: Final = frozenset(
    {"/cloudsignal/1.1/status/", "/cloudsignal/1.1/status", "/1.1/status/", "/1.1/status"}
)
"""Where version 1.1 listened."""

Header = tuple[bytes, bytes]
Answer = tuple[int, list[Header], bytes]
"""Status, headers, body."""

JSON: Final[Header] = (b"content-type", b"application/json")


def check(method: str, headers: Iterable[Header]) -> None:
    """Whether a request to the endpoint is a post of JSON. Names of headers are in lower case.

    Raises Refusal (``method_not_allowed``, ``invalid_content_type``).
    """
    if method != "POST":
        raise refuse("method_not_allowed", f"signals are posted: use POST instead of {method}")
    for name, value in headers:
        if name == b"content-type":
            if value == b"application/json":
                return
            given = value.split(b";", 1)[0].strip().lower()
            if given == b"application/json":
                return
            shown = wire.echo(value.decode("latin-1"))
            raise refuse(
                "invalid_content_type", f"the content type must be application/json, not {shown}"
            )
    raise refuse("invalid_content_type", "send the header Content-Type: application/json")


def too_large(body_bytes_max: int) -> Refusal:
    """What a body of more than so many bytes is answered."""
    return refuse(
        "body_too_large",
        f"the body is larger than {body_bytes_max} bytes: send smaller bundles",
    )


def removed_version() -> Refusal:
    """What version 1.1's addresses answer."""
    return refuse(
        "version_removed",
        f"CloudSignal 1.1 is gone, post to {ENDPOINT}: OrderRegistered became"
        " ItemRegistered for each item, and ItemShipped needs shipping_option",
    )


def unknown_key() -> Refusal:
    """What a post with a key that nobody knows is answered."""
    return refuse(
        "unknown_key",
        "this apikey is not known here: check it, and that it is the one of this server",
        at="apikey",
    )


def invalid_http(info: str = "this is not HTTP, or not valid HTTP") -> Refusal:
    """What is answered where no request can be made out, or none that may be."""
    return refuse("invalid_http", info)


def overloaded() -> Refusal:
    """What a post is answered when too many others wait."""
    return not_now("overloaded", "too much is waiting to be written: send this again in a moment")


def defect() -> Refusal:
    """What is answered when the server did what it never should."""
    return refuse("defect", "the server has a defect: send this again later, and tell its operator")


def stopping() -> Refusal:
    """What a post is answered that comes while the server starts or stops."""
    return not_now("unavailable", "the server is starting or stopping: send this again in a moment")


def accepted(receipt: Receipt) -> Answer:
    """What a post is answered whose signals are all on disk."""
    body = b'{"accepted":%d,"duplicates":%d,"position":%d}' % (
        receipt.accepted,
        receipt.duplicates,
        receipt.position,
    )
    return 200, [JSON, length(body)], body


def refused(refusal: Refusal) -> Answer:
    """What a refusal is answered as."""
    body = refusal.body()
    headers = [JSON, length(body)]
    if refusal.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % refusal.retry_after_s))
    if refusal.type == "method_not_allowed":
        headers.append((b"allow", b"POST"))
    return refusal.status, headers, body


def nothing_here(path: str, advice: str = f"signals are posted to {ENDPOINT}") -> Answer:
    """What is answered at an address that is nobody's, by those who have no API beside the endpoint."""
    info = f"there is nothing at {wire.echo(path)}: {advice}"
    body = msgspec.json.encode({"error": {"type": "not_found", "info": info}})
    return 404, [JSON, length(body)], body


def length(body: bytes) -> Header:
    """The header that tells the length of a body."""
    return b"content-length", b"%d" % len(body)
